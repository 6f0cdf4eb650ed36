"""The README and the site's pages: their code runs as it stands, their commands are taken."""

import importlib
import re
import shlex
import sys
import types
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import jax
import keras
import numpy as np
import pytest
import torch
import typer
from support.backends import BACKENDS

import nearfar as nf
import nearfar.torch
from nearfar.cli.app import app

ROOT = Path(__file__).parents[1]
MADE = {"losses", "reference", "implementations", "commands"}  # by the build
PAGES = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.stem not in MADE),
]
ELSEWHERE = {"write-a-loss.md"}  # tests/test_write_a_loss.py
ALONE = {"index.md"}  # a block for each framework


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text("utf-8"), re.S | re.M)


def readme() -> dict[str, Any]:
    a, b = np.random.default_rng(0).normal(size=(2, 16, 8))
    return {"a": a, "b": b}


def training() -> dict[str, Any]:
    encoder, key_encoder = torch.nn.Linear(8, 16), torch.nn.Linear(8, 16)
    images, views = torch.randn(2, 64, 8)
    labels = np.arange(64) % 8
    return {
        "encoder": encoder, "key_encoder": key_encoder, "images": images, "views": views,
        "labels": labels, "data": torch.utils.data.TensorDataset(images, torch.as_tensor(labels)),
        "keras_model": keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(16)]),
        "query": encoder(images), "keys": key_encoder(views).detach(),
        "X": np.random.default_rng(0).normal(size=(64, 5)), "y": labels,
    }  # fmt: skip


def scaling() -> dict[str, Any]:
    images, texts = torch.randn(2, 64, 8)
    encoders = torch.nn.Linear(8, 16), torch.nn.Linear(8, 16)
    a, b = jax.random.normal(jax.random.key(0), (2, 8, 4))
    return {
        "nf": nf, "nearfar": nearfar, "images": images, "texts": texts,
        "ddp_images": encoders[0], "ddp_texts": encoders[1],
        "jax": jax, "P": jax.sharding.PartitionSpec,
        "mesh": jax.sharding.Mesh(jax.devices(), ("data",)),
        "a": a, "b": b,
    }  # fmt: skip


def another_library() -> dict[str, Any]:
    a, b, negative = np.random.default_rng(0).normal(size=(3, 6, 8))
    unit_a, unit_b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return {
        "a": a, "b": b, "negative": negative, "unit_a": unit_a, "unit_b": unit_b, "unit": unit_a,
        "features": np.stack([unit_a, unit_b], axis=1), "labels": np.arange(6) % 3,
        "keys_before": negative, "logit_scale": 10.0,
    }  # fmt: skip


def trainers() -> dict[str, Any]:
    x, y = torch.randn(2, 8, 16)
    scale, bias = torch.tensor(10.0, requires_grad=True), torch.tensor(-10.0)
    pytest.importorskip("pytorch_metric_learning.losses")
    pml = importlib.import_module("pytorch_metric_learning")
    miners = importlib.import_module("pytorch_metric_learning.miners")
    said = {"image_features": x, "text_features": y, "logit_scale": scale, "logit_bias": bias}
    return {"nf": nf, "nearfar": nearfar, "images": x, "texts": y, "model": lambda *_: said,
            "embeddings": x, "labels": torch.arange(8) % 3, "pytorch_metric_learning": pml,
            "miner": miners.PairMarginMiner(), "encoder": torch.nn.Linear(16, 16), "data": x,
            "arguments": None, "SentenceTransformerTrainer": Mock(), **retrieval()}  # fmt: skip


def retrieval() -> dict[str, Any]:
    """What a Keras model has at hand."""
    query, candidate, x = np.random.default_rng(0).normal(size=(3, 8, 4)).astype("float32")
    marks = np.arange(8) % 3
    return {"query": query, "candidate": candidate, "ids": np.arange(8) % 5, "x": x, "z": query,
            "probability": np.full(8, 0.125, "float32"), "weights": np.ones(8, "float32"),
            "y": marks, "marks": marks}  # fmt: skip


def my_package(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A user's module with a loss that is the paper's."""
    module = types.ModuleType("my_package.losses")
    module.ntxent = lambda a, b: nf.NTXent(temperature=0.5)(a, b)
    monkeypatch.setitem(sys.modules, "my_package", types.ModuleType("my_package"))
    monkeypatch.setitem(sys.modules, "my_package.losses", module)
    return {}


# What the reader has: arrays, encoders, modules.
READER = {
    "from-another-library": another_library,
    "README": readme,
    "training": training,
    "trainers": trainers,
    "scaling": scaling,
}


# The README's first block is said to run in every framework.
EVERYWHERE = {"README"}


def code() -> list[Any]:
    found = []
    for page in PAGES:
        if page.name in ELSEWHERE:
            continue
        parts = blocks(page) if page.name in ALONE else ["\n".join(blocks(page))]
        for k, part in enumerate(filter(None, parts)):
            name = f"{page.stem}-{k}" if page.name in ALONE else page.stem
            found.append(pytest.param(page.stem, part, id=name))
    return found


@pytest.fixture
def one_rank():
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)
@pytest.mark.parametrize("page", EVERYWHERE)
def test_code_runs_in_every_framework(page, backend):
    names = {key: backend.asarray(x, "float32") for key, x in READER[page]().items()}
    kinds = {type(x) for x in names.values()}
    exec(compile("\n".join(blocks(ROOT / f"{page}.md")), page, "exec"), names)
    value, gradients = names["loss"].value_and_grad(names["a"], names["b"])
    assert {type(x) for x in gradients} == kinds
    assert np.isfinite(float(value))


@pytest.mark.parametrize(("page", "text"), code())
def test_code_runs(page, text, one_rank, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = my_package(monkeypatch) if page == "check" else READER.get(page, dict)()
    names["__name__"] = "page"
    exec(compile(text, f"{page}.md", "exec"), names)
    for name, thing in list(names.items()):
        if name.startswith("test_"):
            thing()


def commands() -> list[Any]:
    lines = {
        line.split("&& ")[-1]
        for page in PAGES
        for block in re.findall(r"^```\n(.*?)^```$", page.read_text("utf-8"), re.S | re.M)
        for line in block.replace("\\\n", "").splitlines()
    }
    return sorted(line for line in lines if line.startswith("nearfar "))


@pytest.mark.parametrize("line", commands())
def test_a_command_is_one_that_the_program_takes(line):
    _, name, *arguments = shlex.split(line)
    command = typer.main.get_command(app).commands[name]
    assert command.make_context(name, arguments)


def test_files_that_are_named_are_there():
    for page in PAGES:
        text = page.read_text("utf-8")
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            made = page.parent.name == "docs" and link.split("/")[0].removesuffix(".md") in MADE
            assert made or (page.parent / link).exists(), f"{page.name} links to {link}"
        for file in re.findall(r"-r ([\w-]+\.txt)", text):
            assert (ROOT / file).exists()

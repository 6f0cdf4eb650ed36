"""Training on several processes is training on one with the whole batch."""

import pickle
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from support import ranks

HERE = Path(__file__).parent


def _run(folder: Path, count: int, mode: str) -> list[dict]:
    processes = ranks.start(HERE / "worker_training.py", count, folder, mode)
    try:
        ended = [(p, *p.communicate(timeout=600)) for p in processes]
    finally:
        for p in processes:
            p.kill()
    for rank, (p, _, errors) in enumerate(ended):
        assert p.returncode == (-signal.SIGKILL if rank == 1 else 0), errors.decode()
    return [pickle.loads((folder / f"rank{r}.pkl").read_bytes()) for r in range(count)]


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    return _run(tmp_path_factory.mktemp("ranks"), 3, "short")


def _check_training(found: list[dict]) -> None:
    known: dict = {}
    for each in found:
        for (name, dtype, *case), ours in each["trained"].items():
            if (name, dtype) not in known:
                known[name, dtype] = ranks.train(name, getattr(torch, dtype), False, "")
            tolerance = 1e-11 if dtype == "float64" else 1e-5
            one = known[name, dtype]
            told = f"{name}, {dtype}, scaling, DDP and chunk {case}"
            for x, y in zip(ours["parameters"], one["parameters"], strict=True):
                np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance, err_msg=told)
            np.testing.assert_allclose(ours["values"], one["values"], rtol=tolerance, err_msg=told)
    assert {name for name, *_ in known} == set(ranks.LOSSES)


def _check_bytes(found: list[dict]) -> None:
    page = (HERE.parents[1] / "docs" / "scaling.md").read_text()
    table = page.split("## What a rank sends")[1].split("##")[0]
    formulas = dict(re.findall(r"^\| ([a-z ]+) \|.*\| `(.*)` \|$", table, re.MULTILINE))
    assert len(formulas) == 6
    for rank, each in enumerate(found):
        for (name, step), counted in each["counted"].items():
            shards = ranks.SHARDS[len(found)][step]
            letters = {"W": len(found), "n": sum(shards), "m": max(shards), "b": shards[rank]}
            letters |= {"d": ranks.DIM, "s": 4} | ranks.COUNTED[name]
            wanted = {"sizes", "embeddings"}
            wanted |= {"partition sums"} if "V" in letters else {"gradients", "sums"}
            wanted |= {"parameters"} if letters["k"] else set()
            expected = {what: eval(formulas[what], {}, letters) for what in wanted}
            assert counted == pytest.approx(expected), f"{name}, rank {rank}"


def test_three_ranks_learn_what_one_learns(three):
    _check_training(three)


def test_bytes_are_those_of_the_page(three):
    assert {name for name, _ in three[0]["counted"]} == set(ranks.COUNTED)
    _check_bytes(three)


def test_rows_that_stand_on_different_ranks_are_refused_by_all(three):
    for each in three:
        assert len(each["shifted"]) == 3
        assert "on every rank; received on rank 0: a 3, b 4" in each["shifted"][0]
        assert "embeddings 3, labels 4" in each["shifted"][2]


def test_a_call_that_differs_on_one_rank_is_an_error_on_all(three):
    found = [each["disagreements"] for each in three]
    one = "ValueError: expected one loss with the same options, gradient=, parameters and proxies"
    alike = {
        "optional input": "ValueError: expected negatives of one shape and dtype on all ranks, the "
        "number of rows aside; received rank 0: none; rank 1: 4 features in 2 axes of "
        "torch.float32; rank 2: none;",
        "features": "received rank 0: 4 features in 2 axes of torch.float32; rank 1: 3 features",
        "dtype": "expected labels of one shape and dtype on all ranks",
        "words": "TypeError: expected labels to be numbers, which can be sent",
        "loss": "received others on rank 1 than on rank 0; here:",
        "options": "ValueError: expected one loss with the same options",
        "learned": one,
        "number": one,
        "scaling": one,
        "proxies": "proxies of shape (5, 4) and torch.float32, whose bits add up to ",
    }
    own = {
        "no tensor": "TypeError: expected embeddings to be a tensor; received list",
        "call": "TypeError: SupCon is called with (embeddings, labels, reference=None, ",
        "range": "ValueError: expected temperature to be a finite number above 0; received -1.0",
    }
    for rank, told in enumerate(found):
        assert set(told) == {*alike, *own}
        assert [name for name, words in alike.items() if words not in told[name]] == []
        for name, words in own.items():
            others = "RuntimeError: expected inputs that all 3 ranks accept; rank 1 has refused"
            assert (words if rank == 1 else others) in told[name]


def test_a_killed_rank_ends_the_others(three):
    assert "ended" not in three[1]
    for rank in (0, 2):
        message, seconds = three[rank]["ended"]
        assert f"expected 3 ranks to exchange partition sums; on rank {rank}" in message
        assert "another rank has ended or was late" in message
        assert 0 < seconds < ranks.TIMEOUT + 5


@pytest.mark.long
def test_every_dtype_and_scaling(tmp_path):
    found = _run(tmp_path, 3, "long")
    _check_training(found)
    _check_bytes(found)

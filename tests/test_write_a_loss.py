"""docs/write-a-loss.md, run as it is written: its losses pass what built-in ones pass."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import nearfar as nf
from nearfar.losses import LOSSES

PAGE = Path(__file__).parents[1] / "docs" / "write-a-loss.md"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page's code as a module, without the calls of check_loss at its end."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    path = tmp_path_factory.mktemp("page") / "write_a_loss.py"
    path.write_text(re.sub(r"^print\(.*\n", "", "\n".join(blocks), flags=re.MULTILINE))
    spec = importlib.util.spec_from_file_location("write_a_loss", path)
    module = sys.modules["write_a_loss"] = importlib.util.module_from_spec(spec)
    before = dict(LOSSES)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["write_a_loss"]
    LOSSES.clear()
    LOSSES.update(before)


def test_the_page_checks_its_losses(page):
    calls = re.findall(r"^print\(check_loss\((\w+)\(\), (\w+)\)\)", PAGE.read_text(), re.MULTILINE)
    assert calls == [("MyMultiSimilarity", "multi_similarity"), ("SoftTriplet", "soft_triplets")]


def cells():
    """By default the sums in NumPy alone: their programs take half a minute."""
    for framework in ("numpy", "torch", "tensorflow", "jax"):
        slow = [] if framework == "numpy" else [pytest.mark.long]
        yield pytest.param("MyMultiSimilarity", "multi_similarity", framework, marks=slow)
        yield "SoftTriplet", "soft_triplets", framework


@pytest.mark.parametrize(("loss", "reference", "framework"), list(cells()))
def test_what_the_page_says_holds(page, loss, reference, framework):
    if framework == "jax":
        pytest.importorskip("jax").config.update("jax_enable_x64", True)
    report = page.check_loss(
        getattr(page, loss)(), getattr(page, reference), frameworks=[framework]
    )
    assert not report.left_out
    assert "values and gradients" in str(report)


def test_the_same_class_under_a_taken_name_is_refused(page):
    loss = page.MyMultiSimilarity
    with pytest.raises(TypeError, match=r"received NTXent .*call it for instance MyNTXent"):
        type("NTXent", (page.LabelledRows,), dict(rule=loss.rule, __module__=__name__))
    assert nf.loss_from_dict({"loss": "NTXent"}) == nf.NTXent()


def test_a_rule_with_a_wrong_slope_does_not_pass(page):
    class Slipped(page.TwoSums):
        def finish(self, ns, anchors):
            losses, slopes = super().finish(ns, anchors)
            return losses, slopes._replace(logs=(slopes.logs[0], 1.001 * slopes.logs[1]))

    class Wrong(page.MyMultiSimilarity):
        def rule(self):
            return Slipped(self.alpha, self.beta, self.base)

    with pytest.raises(AssertionError, match=r"gradient of embeddings, .*off by"):
        page.check_loss(Wrong(), frameworks=["numpy"])


def test_a_wrong_value_does_not_pass(page):
    with pytest.raises(AssertionError, match=r"value, classes .*off by"):
        page.check_loss(page.MyMultiSimilarity(), lambda *inputs: 1.0, frameworks=["numpy"])


def test_a_reference_that_fails_says_on_which_batch(page):
    def reference(embeddings, labels):
        return float(labels[0] == 1)  # of labels (n,) only

    with pytest.raises(TypeError) as caught:
        page.check_loss(
            page.MyMultiSimilarity(),
            reference,
            frameworks=["numpy"],
            batches={"marks": (np.ones((3, 2)), np.eye(3, 4, dtype=int))},
        )
    (note,) = caught.value.__notes__
    assert "the batch 'marks', of shapes (3, 2), (3, 4); give batches=" in note


def test_torch_compile_computes_the_users_class(page):
    x, labels = torch.tensor(np.random.default_rng(0).normal(size=(9, 4))), torch.arange(9) % 3
    loss = page.MyMultiSimilarity(beta=10.0)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, labels), loss(x, labels))


@pytest.mark.long
@pytest.mark.parametrize(
    ("first", "left_out"), [("numpy", []), ("tensorflow", ["PyTorch, torch.compile"])]
)
def test_tensorflow_and_the_compiler_of_torch_in_one_process(first, left_out):
    """Triton, imported after TensorFlow, would end it."""
    pytest.importorskip("triton")
    code = f"""
import {first}
import nearfar as nf
from nearfar.testing import check_loss
print(check_loss(nf.CLIP(), frameworks=["torch", "tensorflow"]).left_out)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = [x.partition(":")[0] for x in ast.literal_eval(done.stdout.splitlines()[-1])]
    assert said == [*left_out, "values"]

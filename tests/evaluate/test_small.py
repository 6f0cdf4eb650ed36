"""A small batch in closed form says what tiles say."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import nearfar as nf
from nearfar.evaluate.partition.small import SmallBatch

RNG = np.random.default_rng(31)
X, Y = RNG.normal(size=(2, 11, 5)) * RNG.uniform(0.3, 3.0, size=(2, 11, 1))
LABELS = np.array([3, 0, 3, 1, 0, 3, 7, 1, 0, 3, 5])
UPSTREAM = RNG.normal(size=22)
LOSSES = {
    "views": (nf.NTXent(temperature=0.2), (X, Y)),
    "a pair of two": (nf.NTXent(), (X[:2], Y[:2])),
    "an anchor among its negatives": (nf.NTXent(include_self=True), (X, Y)),
    "negatives alone": (nf.NTXent(denominator="negatives", similarity="dot"), (X, Y)),
    "dcl": (nf.DCL(temperature=0.3), (X, Y)),
    "hcl": (nf.HCL(), (X, Y)),
    "hcl's weights as constants": (nf.HCL(beta=2.0, detach_weights=True), (X, Y)),
    "hardness": (nf.NTXent(hardness=1.0), (X, Y)),
    "sides": (nf.CLIP(temperature=0.1, scale=1.5), (X, Y)),
    "sides of sums": (nf.CLIP(reduction="sum", temperature=0.5), (X, Y)),
    "classes": (nf.SupCon(temperature=0.2), (X, LABELS)),
    "mean of pairs": (nf.SupCon(average="pairs", without_positives="zero"), (X, LABELS)),
    "logarithm of a sum": (nf.SupCon(positives="log_sum", include_self=True), (X, LABELS)),
    "negatives of classes": (nf.SupCon(denominator="negatives"), (X, LABELS)),
    "one class, logarithm of a sum": (nf.SupCon(positives="log_sum"), (X, 0 * LABELS)),
    "one class, mean of pairs": (nf.SupCon(average="pairs"), (X, 0 * LABELS)),
    "one class": (nf.SupCon(), (X, np.ones(11, int))),
    "queries": (nf.InfoNCE(temperature=0.3), (X, Y)),
    "queries' hardness": (nf.InfoNCE(hardness=1.0, reduction="sum"), (X, Y)),
    "n pairs": (nf.NPair(scale=0.5), (X, Y)),
    "views that want a shift": (nf.NTXent(temperature=0.002), (X, Y)),
    "an anchor far among its negatives": (nf.NTXent(temperature=0.002, include_self=True), (X, Y)),
    "sides that want a shift": (nf.CLIP(temperature=0.002), (X, Y)),
    "products that want a shift": (nf.NTXent(similarity="dot"), (40 * X, Y)),
    "queries that want a shift": (nf.InfoNCE(temperature=0.002, hardness=0.5), (X, Y)),
    "hcl with a shift": (nf.HCL(temperature=0.002, beta=0.5), (X, Y)),
    "dcl with a shift": (nf.DCL(temperature=0.002), (X, Y)),
}
CASES = [pytest.param(*case, id=name) for name, case in LOSSES.items()]


def _evaluated(loss, inputs, framework):
    """Value and gradients under an upstream of its own, the gradients twice."""
    if framework == "numpy":
        return [loss.value_and_grad(*inputs), loss.value_and_grad(*inputs)]
    given = [torch.tensor(x, requires_grad=x.dtype == float) for x in inputs]
    value = loss(*given)
    leaves = [x for x in given if x.requires_grad]
    upstream = torch.tensor(UPSTREAM[: value.numel()]).reshape(value.shape)
    found = [torch.autograd.grad(value, leaves, upstream, retain_graph=True) for _ in range(2)]
    return [(value, gradients) for gradients in found]


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("framework", ["numpy", "torch"])
@pytest.mark.parametrize(("loss", "inputs"), CASES)
def test_tiles_agree(loss, inputs, framework, reduction, monkeypatch):
    if reduction == "none":
        if framework == "numpy" or isinstance(loss, nf.InfoNCE | nf.NPair):
            return  # a vector has no single gradient; queries have theirs from rows
        loss = replace(loss, reduction="none")
    taken = []
    forward = SmallBatch.forward
    monkeypatch.setattr(SmallBatch, "forward", lambda self: taken.append(self) or forward(self))
    (value, gradients), (_, again) = _evaluated(loss, inputs, framework)
    assert taken
    count = len(taken)
    (tiled, expected), _ = _evaluated(loss.with_options(tile=4), inputs, framework)
    assert len(taken) == count
    assert type(value) is type(tiled)
    assert value.dtype == tiled.dtype
    value, tiled = (np.asarray(x.detach() if framework == "torch" else x) for x in (value, tiled))
    np.testing.assert_allclose(value, tiled, rtol=1e-12, atol=1e-14)
    for found, same, other in zip(gradients, again, expected, strict=True):
        assert type(found) is type(other)
        assert found.dtype == other.dtype
        assert np.array_equal(np.asarray(found), np.asarray(same))
        np.testing.assert_allclose(np.asarray(found), np.asarray(other), rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("name", ["sides", "views", "hcl", "queries", "products that want a shift"])
def test_a_temperature_is_learned(name):
    loss, inputs = LOSSES[name]
    found = []
    for one in (loss, loss.with_options(tile=4)):
        t = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
        given = [torch.tensor(x, requires_grad=True) for x in inputs]
        (1.7 * one(*given, temperature=t)).backward()
        found.append(float(t.grad))
    assert found[0] == pytest.approx(found[1], rel=1e-11)


@pytest.mark.parametrize(
    ("loss", "inputs"),
    [
        (nf.SupCon(temperature=0.001), (X, LABELS)),  # whose logits want a shift
        (nf.NPair(l2=0.1), (X, Y)),
        (nf.NTXent(similarity="neg_euclidean"), (X, Y)),
        (nf.SupCon(denominator="own_positive"), (X, LABELS)),
        (nf.NTXent(anchors="first"), (X, Y)),
        (nf.NTXent(), (RNG.normal(size=(200, 3)), RNG.normal(size=(200, 3)))),
    ],
)
def test_what_tiles_do(loss, inputs, monkeypatch):
    monkeypatch.setattr(SmallBatch, "forward", None)
    assert np.isfinite(loss.value_and_grad(*inputs)[0])

"""CLIP and SigLIP: two towers, both directions of one table of scores."""

from functools import cache

import numpy as np
import pytest
import torch
from oracles import conventions, differences
from support.agreement import Truth, assert_gradients, assert_value, check, check_learned, truth
from support.cases import LOSSES

import nearfar as nf

RNG = np.random.default_rng(15)
X = (RNG.normal(size=(4, 3)) * RNG.uniform(0.5, 2.0, size=(4, 1))).astype(np.float32)
Y = (X + 0.8 * RNG.normal(size=(4, 3))).astype(np.float32)
UPSTREAM = {"mean": 3.0, "sum": 3.0, "none": [3.0, -1.0, 0.5, 2.0]}
STATED = {
    "CLIP": {"temperature": 0.4, "scale": 1.25},
    "SigLIP": {"temperature": 0.4, "scale": 1.25, "bias": -1.5},
}
CASES = [
    *(("CLIP", fields) for fields in conventions.CLIP),
    *(("SigLIP", fields) for fields in conventions.SIGLIP),
]
EVERY = pytest.mark.parametrize(
    ("name", "fields"), CASES, ids=[f"{name}-{conventions.name(f)}" for name, f in CASES]
)
BOTH = pytest.mark.parametrize("name", ["CLIP", "SigLIP"])


@cache
def expected(name, reduction, **fields) -> Truth:
    fields = {**fields, **STATED[name], "reduction": reduction}
    value = LOSSES[name].loops(X.tolist(), Y.tolist(), **fields)
    return truth(name, [X, Y], upstream=UPSTREAM[reduction], value=value, **fields)


@pytest.mark.parametrize("reduction", conventions.REDUCTIONS)
@EVERY
def test_values_and_gradients(framework, dtype, name, fields, reduction):
    inputs = [framework.asarray(X, dtype), framework.asarray(Y, dtype)]
    loss = getattr(nf, name)(**fields, **STATED[name], reduction=reduction)
    want = expected(name, reduction, **fields)
    if not framework.differentiable:
        assert_value(framework, loss(*inputs), want, dtype)
        if reduction == "none":
            return
    value, gradients = framework.differentiate(loss, inputs, upstream=UPSTREAM[reduction])
    assert_value(framework, value, want, dtype)
    assert_gradients(framework, gradients, want, dtype)


@EVERY
def test_gradient_is_the_slope_of_the_loops(name, fields):
    inputs = [X.astype(np.float64), Y.astype(np.float64)]
    fields = {**fields, **STATED[name]}
    _, got = getattr(nf, name)(**fields).value_and_grad(*inputs)
    want = differences.gradient(lambda x, y: LOSSES[name].loops(x, y, **fields), inputs)
    for one, other in zip(got, want, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


def published(name, x, y, temperature, bias, reduction):
    """As the papers' code spells it: cross-entropy both ways, or a yes or no for every pair."""
    unit = [torch.nn.functional.normalize(z, dim=1) for z in (x, y)]
    logits = unit[0] @ unit[1].T / temperature
    if name == "CLIP":
        target = torch.arange(len(x))
        both = [
            torch.nn.functional.cross_entropy(z, target, reduction=reduction)
            for z in (logits, logits.T)
        ]
        return (both[0] + both[1]) / 2
    rows = torch.nn.functional.binary_cross_entropy_with_logits(
        logits + bias, torch.eye(len(x), dtype=x.dtype), reduction="none"
    ).sum(1)
    return {"mean": rows.mean, "sum": rows.sum, "none": lambda: rows}[reduction]()


@pytest.mark.parametrize("reduction", conventions.REDUCTIONS)
@BOTH
def test_torch_losses_of_the_logits(name, reduction):
    """torch's own losses, which share no line with the loops or with the library."""
    rng = np.random.default_rng(18)
    rows = [torch.tensor(rng.normal(size=(9, 5)), requires_grad=True) for _ in range(2)]
    fields = {"temperature": 0.3} | ({"bias": -2.0} if name == "SigLIP" else {})
    upstream = torch.tensor(rng.normal(size=9) if reduction == "none" else 3.0)
    want = published(name, *rows, 0.3, -2.0, reduction)
    got = getattr(nf, name)(**fields, reduction=reduction)(*rows)
    np.testing.assert_allclose(got.detach(), want.detach(), rtol=1e-13)
    pairs = zip(
        torch.autograd.grad(got, rows, upstream.to(got.dtype)),
        torch.autograd.grad(want, rows, upstream.to(got.dtype)),
        strict=True,
    )
    for one, other in pairs:
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13)


@BOTH
def test_defaults(framework, dtype, name):
    """Temperature 0.07; 0.1 with the bias -10."""
    value = LOSSES[name].loops(X.tolist(), Y.tolist())
    check(framework, name, [X, Y], dtype=dtype, want=truth(name, [X, Y], value=value))


@EVERY
def test_learned_scalars(framework, name, fields):
    learned = {"temperature": 0.7, "bias": -0.8}
    if name == "CLIP":
        del learned["bias"]
    check_learned(framework, name, [X, Y], learned=learned, scale=1.25, **fields)


def test_learned_bias_alone(framework):
    check_learned(framework, "SigLIP", [X, Y], learned={"bias": -0.8}, temperature=0.7)


def test_bias_at_the_call_as_a_number(framework):
    """It replaces the field and has no gradient entry."""
    x, y = framework.asarray(X), framework.asarray(Y)
    value, gradients = nf.SigLIP().value_and_grad(x, y, temperature=0.7, bias=-0.8)
    want, _ = nf.SigLIP(temperature=0.7, bias=-0.8).value_and_grad(x, y)
    assert float(value) == float(want)
    assert len(gradients) == 2


def test_only_siglip_has_a_bias(framework):
    x, y = framework.asarray(X), framework.asarray(Y)
    with pytest.raises(TypeError, match="bias"):
        nf.CLIP()(x, y, bias=-1.0)


@BOTH
@pytest.mark.parametrize("temperature", [0.01, 0.002, 50.0])
def test_extreme_temperatures(framework, dtype, name, temperature):
    check(framework, name, [X, Y], dtype=dtype, temperature=temperature)


@BOTH
def test_one_pair(framework, dtype, name):
    """CLIP has nothing to compare with; SigLIP still asks whether the pair is one."""
    value, gradients = check(framework, name, [X[:1], Y[:1]], dtype=dtype)
    if name == "CLIP":
        assert float(value) == 0
        assert all((framework.read(g) == 0).all() for g in gradients)
    else:
        assert float(value) > 0


@BOTH
def test_the_same_array_as_both_inputs(framework, dtype, name):
    check(framework, name, [X, X], dtype=dtype, temperature=0.5)


@BOTH
def test_small_losses_keep_their_digits(framework, dtype, name):
    """Matching rows 20 above and the others 20 below: 1e-8 to 1e-17, relative 1e-5 in float32."""
    rng = np.random.default_rng(8)
    fields = {"similarity": "dot", "temperature": 1.0}
    if name == "SigLIP":
        fields["bias"] = -20.0
    x, y = (
        (6.32 * np.eye(6, 7) + 0.02 * rng.normal(size=(6, 7))).astype(np.float32) for _ in range(2)
    )
    want = LOSSES[name].loops(x.tolist(), y.tolist(), **fields)
    assert 0 < want < 1e-7
    exact = truth(name, [x, y], **fields)
    arrays = [framework.asarray(z, dtype) for z in (x, y)]
    value, gradients = framework.differentiate(getattr(nf, name)(**fields), arrays)
    relative = {"float32": 1e-5, "float64": 1e-11}[dtype]
    assert abs(float(value) / want - 1) < relative
    largest = max(np.abs(g).max() for g in exact.gradients)
    for got, other in zip(gradients, exact.gradients, strict=True):
        assert np.abs(framework.read(got) - other).max() < relative * largest

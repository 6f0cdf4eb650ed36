"""InfoNCE with the batch, a queue or own rows as negatives; MoCo's two ways of writing it."""

from functools import cache

import numpy as np
import pytest
import torch
from oracles import conventions, differences, infonce
from support.agreement import Truth, assert_gradients, assert_value, truth
from support.backends import FLOAT_DTYPES, FRAMEWORKS
from support.covering import sampled

import nearfar as nf

RNG = np.random.default_rng(13)
QUERY = (RNG.normal(size=(4, 3)) * RNG.uniform(0.5, 2.0, size=(4, 1))).astype(np.float32)
POSITIVE = (QUERY + 0.8 * RNG.normal(size=(4, 3))).astype(np.float32)
NEGATIVES = {
    "batch": (),
    "queue": (RNG.normal(size=(6, 3)).astype(np.float32),),
    "own": (RNG.normal(size=(4, 2, 3)).astype(np.float32),),
}
UPSTREAM = {"mean": 3.0, "sum": 3.0, "none": [3.0, -1.0, 0.5, 2.0]}
STATED = {"temperature": 0.4, "scale": 1.25}


def lists(arrays):
    return [x.tolist() for x in arrays]


@cache
def expected(kind, reduction, **fields) -> Truth:
    fields = {**fields, **STATED, "reduction": reduction}
    inputs = [QUERY, POSITIVE, *NEGATIVES[kind]]
    value = infonce.infonce(*lists(inputs), **fields)
    return truth("InfoNCE", inputs, upstream=UPSTREAM[reduction], value=value, **fields)


@sampled(
    "framework, dtype, fields, reduction, kind",
    FRAMEWORKS.values(),
    FLOAT_DTYPES,
    conventions.INFONCE,
    conventions.REDUCTIONS,
    NEGATIVES,
)
def test_values_and_gradients(framework, dtype, fields, reduction, kind):
    inputs = [framework.asarray(x, dtype) for x in (QUERY, POSITIVE, *NEGATIVES[kind])]
    loss = nf.InfoNCE(**fields, **STATED, reduction=reduction)
    want = expected(kind, reduction, **fields)
    if not framework.differentiable:
        assert_value(framework, loss(*inputs), want, dtype)
        if reduction == "none":
            return
    value, gradients = framework.differentiate(loss, inputs, upstream=UPSTREAM[reduction])
    assert_value(framework, value, want, dtype)
    assert_gradients(framework, gradients, want, dtype)


@pytest.mark.parametrize("kind", NEGATIVES)
@pytest.mark.parametrize("fields", conventions.INFONCE, ids=conventions.name)
def test_gradient_is_the_slope_of_the_loops(fields, kind):
    inputs = [x.astype(np.float64) for x in (QUERY, POSITIVE, *NEGATIVES[kind])]
    _, got = nf.InfoNCE(**fields, temperature=0.6).value_and_grad(*inputs)
    want = differences.gradient(
        lambda *rows: infonce.infonce(*rows, **fields, temperature=0.6), inputs
    )
    for one, other in zip(got, want, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", ["queue", "own"])
def test_negatives_by_name(framework, kind):
    arrays = [framework.asarray(x) for x in (QUERY, POSITIVE, *NEGATIVES[kind])]
    loss = nf.InfoNCE()
    query, positive, negatives = arrays
    assert float(loss(query, positive, negatives=negatives)) == float(loss(*arrays))
    assert float(loss(query, positive, negatives=None)) == float(loss(query, positive))


@pytest.mark.parametrize("spell", ["cross_entropy", "ratio"])
def test_moco(framework, spell):
    """One positive and K queue columns: cross-entropy with class 0, or the ratio written out."""
    rng = np.random.default_rng(4)
    query, key, queue = rng.normal(size=(5, 8)), rng.normal(size=(5, 8)), rng.normal(size=(30, 8))
    q, k, m = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (query, key, queue))
    logits = np.concatenate([(q * k).sum(1, keepdims=True), q @ m.T], 1) / 0.07
    if spell == "cross_entropy":
        target = torch.zeros(5, dtype=torch.long)
        want = float(torch.nn.functional.cross_entropy(torch.tensor(logits), target))
    else:
        own, others = np.exp(logits[:, 0]), np.exp(logits[:, 1:]).sum(1)
        want = -np.log(own / (own + others)).mean()
    arrays = [framework.asarray(x) for x in (query, key, queue)]
    assert abs(float(nf.InfoNCE(temperature=0.07)(*arrays)) - want) < 1e-13 * 30


def test_a_queue_without_gradient(framework):
    """Only what is asked for is differentiated."""
    inputs = [framework.asarray(x) for x in (QUERY, POSITIVE, *NEGATIVES["queue"])]
    want = truth("InfoNCE", [QUERY, POSITIVE, *NEGATIVES["queue"]])
    if framework.differentiable:
        value, gradients = framework.differentiate(
            lambda query: nf.InfoNCE()(query, *inputs[1:]), inputs[:1]
        )
    else:
        value, gradients = nf.InfoNCE().value_and_grad(*inputs, wrt=(0,))
    assert_value(framework, value, want, "float64")
    first = Truth(want.value, want.gradients[:1], want.largest_logit, want.softmax_gradient)
    assert_gradients(framework, gradients[:1], first, "float64")
    assert all(g is None for g in gradients[1:])

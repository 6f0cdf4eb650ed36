"""Triplet loss of matched rows, under every distance."""

from functools import cache

import numpy as np
import optax
import pytest
import torch
from oracles import conventions, differences, triplet
from support.agreement import Truth, assert_gradients, assert_value, check, truth

import nearfar as nf

RNG = np.random.default_rng(17)
ANCHOR = (RNG.normal(size=(6, 3)) * RNG.uniform(0.5, 2.0, size=(6, 1))).astype(np.float32)
POSITIVE = (ANCHOR + 0.8 * RNG.normal(size=(6, 3))).astype(np.float32)
NEGATIVE = RNG.normal(size=(6, 3)).astype(np.float32)
ROWS = [ANCHOR, POSITIVE, NEGATIVE]
UPSTREAM = {"mean": 3.0, "sum": 3.0, "none": [3.0, -1.0, 0.5, 2.0, 1.5, -2.5]}
STATED = {"margin": 0.3, "scale": 1.25}
DISTANCES = pytest.mark.parametrize("fields", conventions.TRIPLET, ids=conventions.name)


def lists(arrays):
    return [x.tolist() for x in arrays]


@cache
def expected(reduction, **fields) -> Truth:
    fields = {**fields, **STATED, "reduction": reduction}
    value = triplet.triplet(*lists(ROWS), **fields)
    return truth("Triplet", ROWS, upstream=UPSTREAM[reduction], value=value, **fields)


@pytest.mark.parametrize("reduction", conventions.REDUCTIONS)
@DISTANCES
def test_values_and_gradients(framework, dtype, fields, reduction):
    rows = [framework.asarray(x, dtype) for x in ROWS]
    loss = nf.Triplet(**fields, **STATED, reduction=reduction)
    want = expected(reduction, **fields)
    if not framework.differentiable:
        assert_value(framework, loss(*rows), want, dtype)
        if reduction == "none":
            return
    value, gradients = framework.differentiate(loss, rows, upstream=UPSTREAM[reduction])
    assert_value(framework, value, want, dtype)
    assert_gradients(framework, gradients, want, dtype)


@DISTANCES
def test_gradient_is_the_slope_of_the_loops(fields):
    """Some triplets have a loss and some have none."""
    losses = triplet.triplet(*lists(ROWS), **fields, margin=0.3, reduction="none")
    assert 0 < losses.count(0) < 6
    rows = [x.astype(np.float64) for x in ROWS]
    _, got = nf.Triplet(**fields, margin=0.3).value_and_grad(*rows)
    want = differences.gradient(lambda *x: triplet.triplet(*x, **fields, margin=0.3), rows)
    for one, other in zip(got, want, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


def test_by_hand(framework, dtype):
    """Squared Euclid and margin 0.2 by default: 1 - 4 + 0.2 < 0, 1 - 0.25 + 0.2, 4 - 1 + 0.2."""
    anchor = framework.asarray([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0]], dtype)
    positive = framework.asarray([[1.0, 0.0], [1.0, 2.0], [0.0, 0.0]], dtype)
    negative = framework.asarray([[0.0, 2.0], [1.5, 1.0], [2.0, 1.0]], dtype)
    value = nf.Triplet(margin=0.2)(anchor, positive, negative)
    assert framework.dtype(value) == dtype
    assert abs(float(value) - (0.95 + 3.2) / 3) < 1e-6
    assert nf.Triplet() == nf.Triplet(margin=0.2, distance="sqeuclidean")
    losses = framework.read(nf.Triplet(reduction="none")(anchor, positive, negative))
    np.testing.assert_allclose(losses, [0, 0.95, 3.2], rtol=1e-6)


def test_optax_triplet_margin_loss():
    """In float32, JAX's default outside tests/modes."""
    rows = [x.astype(np.float32) for x in ROWS]
    want = optax.losses.triplet_margin_loss(*rows, margin=0.3, eps=0)
    got = nf.Triplet(distance="euclidean", margin=0.3, reduction="none")(*rows)
    assert 0 < int((np.asarray(want) == 0).sum()) < 6
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def published(distance, margin, reduction):
    """torch's, with distances that torch can compute itself."""
    functions = {
        "sqeuclidean": lambda x, y: ((x - y) ** 2).sum(1),
        "cityblock": lambda x, y: torch.nn.functional.pairwise_distance(x, y, p=1, eps=0),
        "chebyshev": lambda x, y: torch.linalg.vector_norm(x - y, ord=float("inf"), dim=1),
        "cosine": lambda x, y: 1 - torch.nn.functional.cosine_similarity(x, y),
    }
    if distance == "euclidean":
        return torch.nn.TripletMarginLoss(margin=margin, eps=0, reduction=reduction)
    return torch.nn.TripletMarginWithDistanceLoss(
        distance_function=functions[distance], margin=margin, reduction=reduction
    )


@pytest.mark.parametrize("reduction", conventions.REDUCTIONS)
@pytest.mark.parametrize(
    "distance", ["euclidean", "sqeuclidean", "cityblock", "chebyshev", "cosine"]
)
def test_torch_triplet_margin_loss(distance, reduction):
    rng = np.random.default_rng(19)
    rows = [torch.tensor(rng.normal(size=(9, 5)), requires_grad=True) for _ in range(3)]
    want = published(distance, 0.3, reduction)(*rows)
    got = nf.Triplet(distance=distance, margin=0.3, reduction=reduction)(*rows)
    assert reduction != "none" or 0 < int((want == 0).sum()) < 9
    np.testing.assert_allclose(got.detach(), want.detach(), rtol=1e-13)
    upstream = torch.tensor(rng.normal(size=9) if reduction == "none" else 3.0, dtype=got.dtype)
    pairs = zip(
        torch.autograd.grad(got, rows, upstream),
        torch.autograd.grad(want, rows, upstream),
        strict=True,
    )
    for one, other in pairs:
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13)


def test_hamming_counts_and_does_not_pull(framework, dtype):
    rows = np.random.default_rng(2).integers(0, 3, size=(3, 6, 4)).astype(float)
    fields = {"distance": "hamming", "margin": 0.3}
    arrays = [framework.asarray(x, dtype) for x in rows]
    losses = triplet.triplet(*rows.tolist(), **fields, reduction="none")
    assert 0 < losses.count(0) < 6
    flat = [np.zeros((6, 4))] * 3
    for reduction in conventions.REDUCTIONS:
        loss = nf.Triplet(**fields, reduction=reduction)
        value = np.asarray(triplet.triplet(*rows.tolist(), **fields, reduction=reduction))
        want = Truth(value, flat, 1.0, 0.0)
        assert_value(framework, loss(*arrays), want, dtype)
        if reduction != "none":
            value, gradients = loss.value_and_grad(*arrays)
            assert_value(framework, value, want, dtype)
            assert_gradients(framework, gradients, want, dtype)


@pytest.mark.parametrize("distance", ["euclidean", "sqeuclidean", "cityblock", "chebyshev"])
def test_exactly_at_the_margin(framework, dtype, distance):
    """1 - 1.5 + 0.5 (or 1 - 2.25 + 1.25) is 0: no loss, no gradient."""
    margin = 1.25 if distance == "sqeuclidean" else 0.5
    rows = [[[0.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.5]]]
    arrays = [framework.asarray(x, dtype) for x in rows]
    value, gradients = nf.Triplet(distance=distance, margin=margin).value_and_grad(*arrays)
    assert float(value) == 0
    assert all((framework.read(g) == 0).all() for g in gradients)


@pytest.mark.parametrize("distance", ["euclidean", "sqeuclidean", "cityblock", "minkowski"])
@pytest.mark.parametrize("equal", ["positive", "negative", "both"])
def test_equal_rows(framework, dtype, distance, equal):
    """A distance of 0 is 0 and has no gradient; the other distance keeps its own."""
    rows = [x.copy() for x in ROWS]
    if equal != "negative":
        rows[1][2:4] = rows[0][2:4]
    if equal != "positive":
        rows[2][2:4] = rows[0][2:4]
    check(framework, "Triplet", rows, dtype=dtype, distance=distance, margin=4.0)


def test_no_triplet_with_a_loss(framework, dtype):
    """The mean is over all triplets: 0, and nobody is warned."""
    rows = [framework.asarray(x, dtype) for x in (ANCHOR, ANCHOR, ANCHOR + 10)]
    value, gradients = nf.Triplet().value_and_grad(*rows)
    assert float(value) == 0
    assert all((framework.read(g) == 0).all() for g in gradients)


def test_a_row_without_direction(framework, dtype):
    """Its cosine distance is 1 from everything, and it is pulled nowhere."""
    rows = [x.copy() for x in ROWS]
    rows[0][1] = rows[2][3] = 0
    check(framework, "Triplet", rows, dtype=dtype, distance="cosine", margin=2.0)


def test_no_margin(framework, dtype):
    check(framework, "Triplet", ROWS, dtype=dtype, margin=0.0, distance="euclidean")


def test_several_feature_axes(framework, dtype):
    rows = [np.concatenate([x, x[:, ::-1]], 1) for x in ROWS]
    want = truth("Triplet", rows, margin=0.3)
    arrays = [framework.asarray(x.reshape(6, 2, 3), dtype) for x in rows]
    value, gradients = nf.Triplet(margin=0.3).value_and_grad(*arrays)
    assert_value(framework, value, want, dtype)
    assert [tuple(g.shape) for g in gradients] == [(6, 2, 3)] * 3
    flat = [g.reshape(6, 6) for g in gradients]
    assert_gradients(framework, flat, want, dtype)

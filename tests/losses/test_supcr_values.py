"""SupCR: which rows are in a denominator is decided by target distances, ties included."""

import math
import warnings
from functools import cache

import numpy as np
import pytest
from oracles import conventions, differences, supcr
from oracles.figures import RANKED
from support.agreement import Truth, assert_gradients, assert_value, check, check_learned, truth
from support.backends import FLOAT_DTYPES, FRAMEWORKS
from support.covering import sampled

import nearfar as nf

RNG = np.random.default_rng(16)
X = (RNG.normal(size=(7, 3)) * RNG.uniform(0.5, 2.0, size=(7, 1))).astype(np.float32)
# Exact in every dtype, so that what ties in one ties in all: equal targets, targets equally far
# on both sides, and rows whose distances tie under one label distance only.
TARGETS = {
    "numbers": [0.25, 1.0, 0.5, 0.75, 1.0, -0.25, 2.5],
    "integers": [3, 1, 4, 1, 5, 9, 2],
    "rows": [[0.0, 0], [0.75, 1], [1.25, 0], [0, 1.25], [1, 0.75], [0, 0], [-0.5, 1.25]],
    "integer rows": [[0, 0], [3, 4], [5, 0], [7, 0], [4, 3], [0, 1], [-2, 5]],
}
UPSTREAM = {"mean": 3.0, "sum": 3.0, "none": [3.0, -1.0, 0.5, 2.0, 1.5, -2.5, 4.0]}
STATED = {"temperature": 0.6, "scale": 1.25}
CONVENTIONS = pytest.mark.parametrize("fields", conventions.SUPCR, ids=conventions.name)
EVERY = sampled(
    "framework, dtype, fields, kind",
    FRAMEWORKS.values(),
    FLOAT_DTYPES,
    conventions.SUPCR,
    TARGETS,
)
KINDS = pytest.mark.parametrize("kind", TARGETS)


@cache
def expected(kind, reduction, **fields) -> Truth:
    fields = {**fields, **STATED, "reduction": reduction}
    value = supcr.supcr(X.tolist(), TARGETS[kind], **fields)
    return truth("SupCR", [X], TARGETS[kind], upstream=UPSTREAM[reduction], value=value, **fields)


@EVERY
def test_values_and_gradients(framework, dtype, fields, kind):
    x, targets = framework.asarray(X, dtype), framework.labels(TARGETS[kind])
    for reduction in conventions.REDUCTIONS:
        loss = nf.SupCR(**fields, **STATED, reduction=reduction)
        want = expected(kind, reduction, **fields)
        if not framework.differentiable:
            assert_value(framework, loss(x, targets), want, dtype, reduction)
            if reduction == "none":
                continue
        value, gradients = framework.differentiate(loss, [x], targets, upstream=UPSTREAM[reduction])
        assert_value(framework, value, want, dtype, reduction)
        assert_gradients(framework, gradients, want, dtype, reduction)


@KINDS
@CONVENTIONS
def test_gradient_is_the_slope_of_the_loops(fields, kind):
    x, targets = X[:5].astype(np.float64), TARGETS[kind][:5]
    _, (got,) = nf.SupCR(**fields, temperature=0.6).value_and_grad(x, targets)
    (want,) = differences.gradient(
        lambda rows: supcr.supcr(rows, targets, **fields, temperature=0.6), [x]
    )
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)


@KINDS
def test_no_convention_is_another(kind):
    """With one column both label distances are one."""
    values = {
        supcr.supcr(X.tolist(), TARGETS[kind], order=order, label_distance=label_distance)
        for order in supcr.ORDERS
        for label_distance in ("l1", "l2")
    }
    assert len(values) == (4 if "rows" in kind else 2)


def test_defaults(framework, dtype):
    value = supcr.supcr(X.tolist(), TARGETS["numbers"])
    want = truth("SupCR", [X], TARGETS["numbers"], value=value)
    check(framework, "SupCR", [X], TARGETS["numbers"], dtype=dtype, want=want)
    assert nf.RankNContrast is nf.SupCR


def test_one_column_is_no_column(framework):
    x, targets = framework.asarray(X), np.array(TARGETS["numbers"])
    loss = nf.SupCR()
    column = float(loss(x, framework.labels(targets[:, None])))
    assert column == float(loss(x, framework.labels(targets)))


@EVERY
def test_equal_rows(framework, dtype, fields, kind):
    """Distance 0 between embeddings has the gradient 0, whether or not the targets are equal."""
    x = X.copy()
    x[4], x[5] = x[1], x[0]
    check(framework, "SupCR", [x], TARGETS[kind], dtype=dtype, temperature=0.6, **fields)


@pytest.mark.parametrize("order", ["farther", "nearer"])
def test_every_target_equal(framework, dtype, order):
    """All rows are in every denominator; distances of 400 leave float32 under exp."""
    x = (400 / math.sqrt(2) * np.eye(10)).astype(np.float32)
    for targets in ([3] * 10, [0.5] * 10, [[1, 2]] * 10):
        value, _ = check(framework, "SupCR", [x], targets, dtype=dtype, order=order)
        assert abs(float(value) - math.log(9)) < 1e-4


@pytest.mark.parametrize("order", ["farther", "nearer"])
@pytest.mark.parametrize("similarity", ["neg_euclidean", "dot"])
@pytest.mark.parametrize("size", [100.0, 600.0, 3000.0])
def test_wide_logits(framework, dtype, similarity, size, order):
    """Sums of which whole parts underflow against the row's largest term."""
    rows = (X * math.sqrt(size) if similarity == "dot" else X * size).astype(np.float32)
    for kind in ("numbers", "rows"):
        fields = {"similarity": similarity, "order": order, "temperature": 1.0}
        want = supcr.supcr(rows.tolist(), TARGETS[kind], **fields)
        assert math.isfinite(want)
        exact = truth("SupCR", [rows], TARGETS[kind], value=want, **fields)
        check(framework, "SupCR", [rows], TARGETS[kind], dtype=dtype, want=exact, **fields)


# From 64, 0.01 and -0.01 are equally far in float16, 1e-6 and -1e-6 in float32 as well.
UNEVEN = [64.0, 0.01, -0.01, 30.0, 1e-6, -1e-6, 5.0]


def test_logits_that_differ_by_rounding(framework, dtype):
    """Copies far from another group: sums of equal logits, without a logarithm of nothing."""
    targets = [1.0, 2, 2, 5, 3, 1, 9, 4]
    for seed in range(6):
        x = np.repeat(np.random.default_rng(seed).normal(size=(2, 4)), 4, axis=0).astype(np.float32)
        for temperature in (0.01, 0.1):
            fields = {"similarity": "neg_sqeuclidean", "temperature": temperature}
            want = truth("SupCR", [x], targets, **fields)
            value, gradients = framework.differentiate(
                nf.SupCR(**fields), [framework.asarray(x, dtype)], framework.labels(targets)
            )
            assert_value(framework, value, want, dtype)
            assert_gradients(framework, gradients, want, dtype)


def test_ties_are_those_of_the_targets_dtype(framework):
    """Whatever the dtype of the embeddings."""
    x, values = framework.asarray(X), set()
    for order in supcr.ORDERS:
        for dtype in ("float16", "float32", "float64"):
            targets = np.array(UNEVEN, dtype=dtype)
            loss = nf.SupCR(order=order, temperature=0.6)
            want = supcr.supcr(X.tolist(), targets, order=order, temperature=0.6)
            assert abs(float(loss(x, framework.labels(targets))) - want) < 1e-13
            values.add(want)
    assert len(values) == 6


GREAT = 2**27
EXACT = {
    "int64-l1": [2**53, -(2**53), 1 - 2**53, 2**53 + 2, 5, 3, 2**53 - 1],
    # Squares of 2**54, where float64 has lost the ones.
    "int64-l2": [[0, 0], [GREAT, 0], [GREAT, 1], [0, GREAT], [1, -GREAT], [GREAT, GREAT], [2, 1]],
    "uint8-l1": [250, 0, 1, 252, 5, 3, 249],
    "uint8-l2": [250, 0, 1, 252, 5, 3, 249],
    "int8-l1": [100, -100, -99, 102, 5, 3, 99],
    "int8-l2": [100, -100, -99, 102, 5, 3, 99],
}


@pytest.mark.parametrize("case", EXACT)
def test_integer_targets_are_exact(framework, case):
    """Neither rounded to float64 nor wrapped around the ends of their dtype."""
    dtype, label_distance = case.split("-")
    targets = np.array(EXACT[case], dtype=dtype)
    fields = {"label_distance": label_distance, "temperature": 0.6}
    want = supcr.supcr(X.tolist(), targets, **fields)
    got = nf.SupCR(**fields)(framework.asarray(X), framework.labels(targets))
    assert abs(float(got) - want) < 1e-13


def test_numpy_integers_as_embeddings():
    value, (gradient,) = nf.SupCR(similarity="dot", temperature=0.5).value_and_grad(RANKED, RANKED)
    assert type(value) is np.float64
    assert gradient.dtype == np.float64
    assert abs(value - 1.51057736) < 6e-9


def test_one_row_alone(framework, dtype):
    """There is no pair at all; whether that is worth a warning is not this test's matter."""
    x = framework.asarray(X[:1], dtype)
    for targets in ([1], [0.5], [[1.0, 2.0]]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value, (gradient,) = nf.SupCR().value_and_grad(x, framework.labels(targets))
        assert float(value) == 0
        assert framework.dtype(value) == dtype
        assert (framework.read(gradient) == 0).all()


def test_two_rows(framework, dtype):
    """Each is the other's whole denominator: 0, and no gradient."""
    x = framework.asarray(X[:2], dtype)
    value, (gradient,) = nf.SupCR().value_and_grad(x, framework.labels([0.5, 1.5]))
    assert abs(float(value)) < 1e-6
    assert (np.abs(framework.read(gradient)) < 1e-6).all()


@CONVENTIONS
def test_learned_temperature(framework, fields):
    check_learned(
        *(framework, "SupCR", [X], TARGETS["rows"]),
        learned={"temperature": 0.7},
        scale=1.25,
        **fields,
    )


def test_targets_that_cannot_be_written_to(framework):
    """As the columns of a table come from pandas."""
    x, targets = framework.asarray(np.arange(12.0).reshape(6, 2) ** 1.5), np.arange(6.0)
    want = float(nf.SupCR()(x, targets))
    targets.flags.writeable = False
    assert float(nf.SupCR()(x, targets)) == want

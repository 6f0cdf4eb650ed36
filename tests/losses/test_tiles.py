"""How a loss is evaluated never changes what it says."""

import numpy as np
import pytest
from agreement import assert_gradients, assert_value, truth

import nearfar as nf

RNG = np.random.default_rng(21)
# Classes larger than most of the tiles, of one row, and of every size between; out of order.
LABELS = RNG.permutation(np.repeat(np.arange(9), [11, 7, 5, 5, 3, 2, 2, 1, 1]))
X = RNG.normal(size=(37, 4)) * RNG.uniform(0.5, 2.0, size=(37, 1))
Y = X + RNG.normal(size=X.shape)
MULTI_HOT = RNG.integers(0, 2, size=(37, 3))
NEGATIVES = {"queue": RNG.normal(size=(21, 4)), "own": RNG.normal(size=(37, 6, 4))}
ORDER = RNG.permutation(37)
UPSTREAM = RNG.normal(size=37)
TILES = (2, 3, 5, 64)
CONVENTIONS = [
    {},
    {"denominator": "own_positive"},
    {"denominator": "negatives"},
    {"denominator": "own_positive", "average": "pairs", "include_self": True},
    {"denominator": "own_positive", "positives": "log_mean"},
    {"denominator": "negatives", "positives": "sum_log", "similarity": "neg_euclidean"},
    {"positives": "log_sum", "similarity": "dot", "temperature": 2.0},
    {"positives": "log_mean", "similarity": "neg_sqeuclidean", "without_positives": "zero"},
]


def ids(fields):
    return "-".join(str(value) for value in fields.values()) or "default"


def agree_for_every_tile(framework, dtype, name, inputs, *labels, **fields):
    inputs = [framework.asarray(x, dtype) for x in inputs]
    exact = [framework.to_numpy(x) for x in inputs]
    want = truth(name, exact, *labels, cancels=False, **fields)
    loss = getattr(nf, name)(**fields)
    labels = [framework.labels(x) for x in labels]
    for tile in TILES:
        tiled = loss.with_options(tile=tile)
        value, gradients = framework.differentiate(tiled, inputs, *labels)
        assert_value(framework, value, want, dtype, f"tile {tile}")
        assert_gradients(framework, gradients, want, dtype, f"tile {tile}")


@pytest.mark.parametrize("fields", CONVENTIONS, ids=ids)
def test_supcon(framework, fields):
    agree_for_every_tile(framework, "float64", "SupCon", [X], LABELS, **fields)


@pytest.mark.parametrize("fields", CONVENTIONS[:2], ids=ids)
def test_supcon_in_float32(framework, fields):
    agree_for_every_tile(framework, "float32", "SupCon", [X], LABELS, **fields)


@pytest.mark.parametrize("fields", CONVENTIONS[:3], ids=ids)
def test_multi_hot(framework, fields):
    agree_for_every_tile(framework, "float64", "SupCon", [X], MULTI_HOT, **fields)


@pytest.mark.parametrize(
    "fields", [{}, {"denominator": "negatives"}, {"similarity": "neg_euclidean"}], ids=ids
)
def test_ntxent(framework, fields):
    agree_for_every_tile(framework, "float64", "NTXent", [X, Y], **fields)


@pytest.mark.parametrize("fields", [{}, {"similarity": "neg_euclidean"}], ids=ids)
@pytest.mark.parametrize("negatives", [None, "queue", "own"], ids=str)
def test_infonce(framework, fields, negatives):
    more = [] if negatives is None else [NEGATIVES[negatives]]
    agree_for_every_tile(framework, "float64", "InfoNCE", [X, Y, *more], temperature=0.3, **fields)


@pytest.mark.parametrize("option", [{"memory": 4096}, {"workers": 2}], ids=str)
def test_other_options(framework, option):
    x, labels = framework.asarray(X), framework.labels(LABELS)
    want = truth("SupCon", [X], LABELS)
    loss = nf.SupCon().with_options(**option)
    value, gradients = framework.differentiate(loss, [x], labels)
    assert_value(framework, value, want, "float64")
    assert_gradients(framework, gradients, want, "float64")


def test_order_of_the_rows(framework):
    """Shuffled rows give the shuffled gradient."""
    loss = nf.SupCon(denominator="own_positive").with_options(tile=5)
    want = truth("SupCon", [X], LABELS, denominator="own_positive")
    value, (gradient,) = framework.differentiate(
        loss, [framework.asarray(X[ORDER])], framework.labels(LABELS[ORDER])
    )
    assert_value(framework, value, want, "float64")
    back = framework.asarray(framework.to_numpy(gradient)[np.argsort(ORDER)])
    assert_gradients(framework, [back], want, "float64")


def test_vector_upstream(framework):
    """Weights of the anchors reach the right rows, whichever tile these are in."""
    if not framework.differentiable:
        pytest.skip("NumPy takes no upstream vector")
    fields = {"reduction": "none", "positives": "log_mean", "denominator": "own_positive"}
    want = truth("SupCon", [X], LABELS, upstream=UPSTREAM, **fields)
    for tile in TILES:
        loss = nf.SupCon(**fields).with_options(tile=tile)
        _, gradients = framework.differentiate(
            loss, [framework.asarray(X)], framework.labels(LABELS), upstream=UPSTREAM
        )
        assert_gradients(framework, gradients, want, "float64", f"tile {tile}")

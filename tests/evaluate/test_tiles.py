"""How a loss is evaluated never changes what it says."""

import numpy as np
import pytest
from support.agreement import assert_gradients, assert_value, truth

import nearfar as nf

RNG = np.random.default_rng(21)
# Classes larger than most of the tiles, of one row, and of every size between; out of order.
LABELS = RNG.permutation(np.repeat(np.arange(9), [11, 7, 5, 5, 3, 2, 2, 1, 1]))
X = RNG.normal(size=(37, 4)) * RNG.uniform(0.5, 2.0, size=(37, 1))
Y = X + RNG.normal(size=X.shape)
Z = np.random.default_rng(22).normal(size=X.shape)
TARGETS = np.random.default_rng(23).integers(0, 9, size=37) / 4  # many tie
MULTI_HOT = RNG.integers(0, 2, size=(37, 3))
NEGATIVES = {"queue": RNG.normal(size=(21, 4)), "own": RNG.normal(size=(37, 6, 4))}
ORDER = RNG.permutation(37)
UPSTREAM = RNG.normal(size=37)
TILES = (2, 3, 5, 64)
# Each loss once: name, inputs, and labels or targets.
EVERY = {
    "SupCon": ([X], LABELS),
    "NTXent": ([X, Y],),
    "InfoNCE": ([X, Y],),
    "HCL": ([X, Y],),
    "DCL": ([X, Y],),
    "CLIP": ([X, Y],),
    "SigLIP": ([X, Y],),
    "SupCR": ([X], TARGETS),
    "Triplet": ([X, Y, Z],),
}
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
    exact = [framework.read(x) for x in inputs]
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


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("HCL", {}),
        ("HCL", {"similarity": "neg_euclidean", "tau_plus": 0.0, "detach_weights": True}),
        ("CLIP", {}),
        ("CLIP", {"similarity": "neg_euclidean", "temperature": 0.5}),
        ("SigLIP", {}),
        ("SigLIP", {"similarity": "neg_sqeuclidean", "bias": 3.0}),
        ("SupCR", {}),
        ("SupCR", {"similarity": "cosine", "order": "nearer", "temperature": 0.1}),
        ("Triplet", {}),
        ("Triplet", {"distance": "chebyshev", "margin": 1.0}),
    ],
    ids=lambda word: word if isinstance(word, str) else ids(word),
)
def test_other_losses(framework, name, fields):
    agree_for_every_tile(framework, "float64", name, *EVERY[name], **fields)


@pytest.mark.parametrize("name", ["HCL", "CLIP", "SupCR"])
def test_other_losses_in_float32(framework, name):
    agree_for_every_tile(framework, "float32", name, *EVERY[name])


@pytest.mark.parametrize("option", [{"memory": 4096}, {"workers": 2}], ids=str)
@pytest.mark.parametrize("name", EVERY)
def test_other_options(framework, name, option):
    inputs, *labels = EVERY[name]
    want = truth(name, inputs, *labels)
    loss = getattr(nf, name)().with_options(**option)
    value, gradients = framework.differentiate(
        loss, [framework.asarray(x) for x in inputs], *(framework.labels(x) for x in labels)
    )
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
    back = framework.asarray(framework.read(gradient)[np.argsort(ORDER)])
    assert_gradients(framework, [back], want, "float64")


@pytest.mark.parametrize("name", ["SupCon", "HCL", "CLIP", "SigLIP", "SupCR", "Triplet"])
def test_vector_upstream(framework, name):
    """Weights of the anchors reach the right rows, whichever tile these are in."""
    if not framework.differentiable:
        pytest.skip("NumPy takes no upstream vector")
    fields = {"positives": "log_mean", "denominator": "own_positive"} if name == "SupCon" else {}
    fields["reduction"] = "none"
    inputs, *labels = EVERY[name]
    # Both views are anchors.
    upstream = np.concatenate([UPSTREAM, 2 - UPSTREAM]) if name == "HCL" else UPSTREAM
    want = truth(name, inputs, *labels, upstream=upstream, **fields)
    for tile in TILES:
        loss = getattr(nf, name)(**fields).with_options(tile=tile)
        _, gradients = framework.differentiate(
            loss,
            [framework.asarray(x) for x in inputs],
            *(framework.labels(x) for x in labels),
            upstream=upstream,
        )
        assert_gradients(framework, gradients, want, "float64", f"tile {tile}")

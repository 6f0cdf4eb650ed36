"""Logits from 1 to 1e9 in float32, where their own rounding may be larger than 1.

A gradient is then a gradient of something only if each anchor's share of a pair is made of the same
number as its sum, and a value has digits only if a logit cancels with the largest of its sum.
"""

import numpy as np
import pytest
import torch
from support.agreement import TWO_VIEWS, truth
from support.backends import FRAMEWORKS
from support.cases import LOSSES as REGISTERED
from support.covering import sampled

import nearfar as nf

SIMILARITIES = ("cosine", "dot", "neg_euclidean", "neg_sqeuclidean")
TILES = (None, 32, 64, 128)
LOSSES = {
    "NTXent": [{}, {"denominator": "negatives"}, {"include_self": True}, {"anchors": "first"}],
    "DCL": [{}],
    "HCL": [{}, {"beta": 0.5}],
    "CLIP": [{}],
    "InfoNCE": [{}],
    "SigLIP": [{}],
    "SupCon": [
        {"denominator": denominator, "positives": positives}
        for denominator in ("all", "own_positive", "negatives")
        for positives in ("mean_log", "log_mean")
    ]
    + [{"include_self": "positive"}],
    "SupCR": [{}],
}
STATED = [(name, fields) for name, several in LOSSES.items() for fields in several]
ROWS, FEATURES, CLASSES = 66, 24, 5


def ids(value):
    """Of a statement, its loss and what its fields are."""
    if isinstance(value, tuple):
        name, fields = value
        return "-".join(map(str, (name, *fields.values())))
    return getattr(value, "name", str(value))


def unit(rng, n, d):
    x = rng.normal(size=(n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def _logits_of(size):
    """Rows whose own inner product is about so large."""
    return lambda rng, n: unit(rng, n, FEATURES) * size**0.5


def _mixed_norms(rng, n):
    return unit(rng, n, FEATURES) * 10 ** rng.uniform(-3, 3, size=(n, 1))


def _pixels(rng, n):
    return rng.integers(0, 256, size=(n, 196)).astype(float)


ROWS_OF = {
    "1": _logits_of(1.0),
    "1e2": _logits_of(1e2),
    "1e4": _logits_of(1e4),
    "1e6": _logits_of(1e6),
    "1e9": _logits_of(1e9),
    "mixed norms": _mixed_norms,
    "pixels": _pixels,
}


def possible(_, similarity, rows, *others):
    """A cosine knows no length."""
    return similarity != "cosine" or rows in ("1", "mixed norms", "pixels")


def batch(name, rows, n=ROWS):
    """The inputs of a loss, rounded to float32, and its labels or targets."""
    rng = np.random.default_rng(31)
    x = rows(rng, n).astype(np.float32)
    if name == "SupCon":
        return [x], [rng.integers(0, CLASSES, size=n)]
    if name == "SupCR":
        return [x[:36]], [rng.integers(0, 20, size=36) / 4]
    return [x, rows(rng, n).astype(np.float32)], []


def in_float32(name, inputs, labels, fields):
    """The dense formula, whose own error tells what the rounding of logits costs here."""
    leaves = [torch.tensor(x, requires_grad=True) for x in inputs]
    value = REGISTERED[name].dense(*leaves, *[y.tolist() for y in labels], **fields)
    gradients = torch.autograd.grad(value, leaves)
    return value.item(), [g.double().numpy() for g in gradients]


def off(found, gradients):
    return max(np.abs(a - b).max() for a, b in zip(found, gradients, strict=True))


def differentiated(framework, name, fields, inputs, labels, tile):
    loss = getattr(nf, name)(**fields).with_options(tile=tile)
    arrays = [framework.asarray(x, "float32") for x in inputs]
    value, gradients = framework.differentiate(loss, arrays, *map(framework.labels, labels))
    assert framework.dtype(value) == "float32"
    assert all(framework.dtype(g) == "float32" for g in gradients)
    return float(value), [framework.read(g) for g in gradients]


@sampled(
    "stated, similarity, rows, framework",
    STATED,
    SIMILARITIES,
    ROWS_OF,
    FRAMEWORKS.values(),
    meets=possible,
    ids=ids,
)
def test_gradients_are_as_good_as_the_logits_for_every_tile(stated, similarity, rows, framework):
    name, fields = stated
    fields = {"temperature": 0.5, "similarity": similarity, **fields}
    inputs, labels = batch(name, ROWS_OF[rows])
    want = truth(name, inputs, *labels, **fields)
    value32, dense = in_float32(name, inputs, labels, fields)
    unit = max(*(np.abs(g).max() for g in want.gradients), want.softmax_gradient)
    allowed = 10 * max(off(dense, want.gradients), 1e-6 * unit)
    apart = 10 * max(abs(value32 - want.value), 1e-6 * (abs(want.value) + 1))
    for tile in TILES:
        value, gradients = differentiated(framework, name, fields, inputs, labels, tile)
        assert abs(value - want.value) <= apart, (tile, value, float(want.value))
        error = off(gradients, want.gradients)
        assert error <= allowed, f"tile {tile}: off by {error:.2e}, allowed {allowed:.2e}"


@sampled(
    "stated, similarity, size, framework",
    # The logits of SigLIP are not compared with each other.
    [case for case in STATED if case[0] != "SigLIP"],
    ["dot", "neg_euclidean"],
    [1.0, 1e2, 1e4, 3e5, 3e7, 3e9],
    FRAMEWORKS.values(),
    ids=ids,
)
def test_collapsed_rows_are_at_chance(stated, similarity, size, framework):
    """All logits of an anchor are equal, and what they are must not show."""
    name, fields = stated
    fields = {"temperature": 0.5, "similarity": similarity, **fields}
    row = unit(np.random.default_rng(5), 1, FEATURES) * (0.5 * size) ** 0.5
    if name == "HCL":
        # The bound of a false negative's share is no difference of logits: it takes unit rows.
        fields["tau_plus"] = 0.0
    inputs, labels = batch(name, lambda rng, n: np.repeat(row, n, 0))
    want = truth(name, inputs, *labels, **fields)
    # An anchor's gradient is a difference of such terms.
    term = np.abs(row).max() / 0.5 / (ROWS * (2 if name in TWO_VIEWS else 1))
    for tile in TILES:
        value, gradients = differentiated(framework, name, fields, inputs, labels, tile)
        assert value == pytest.approx(float(want.value), rel=1e-5, abs=1e-6), tile
        assert off(gradients, want.gradients) <= 1e-5 * term * ROWS**0.5, tile


@pytest.mark.parametrize("stated", STATED, ids=ids)
def test_whole_numbers_lose_nothing(framework, stated):
    """Inner products of whole numbers are exact however they are added up, so that differences of
    1 among logits of 1e6 must be seen exactly."""

    def rows(rng, n):
        x = rng.integers(-1, 2, size=(n, FEATURES)).astype(float)
        x[:, 0] = 1024
        return x

    name, fields = stated
    # A temperature whose root is exact too.
    fields = {"temperature": 1.0, "similarity": "dot", **fields}
    inputs, labels = batch(name, rows)
    want = truth(name, inputs, *labels, **fields)
    for tile in TILES:
        value, gradients = differentiated(framework, name, fields, inputs, labels, tile)
        assert value == pytest.approx(float(want.value), rel=1e-5, abs=1e-5), tile
        # Rows differ little from each other, so that gradients are small differences of 1024.
        error = off(gradients, want.gradients)
        assert error <= 1e-5 * 1024, f"tile {tile}: off by {error:.2e}"

"""PairMargin: every pair of rows, pulled together or pushed apart up to the margin."""

import warnings

import numpy as np
import pytest
import torch
from oracles import conventions, dense, differences, pairmargin
from support.agreement import TOLERANCE, Truth, check_weighted, truth

import nearfar as nf


def exact(x, labels, **how):
    return truth("PairMargin", [x], labels, **how)


RNG = np.random.default_rng(19)
X = (RNG.normal(size=(7, 3)) * RNG.uniform(0.5, 2.0, size=(7, 1))).astype(np.float32)
# Classes of three, two and one, out of order; a row that shares with all others but one that has
# no label at all.
LABELS = {
    "classes": [2, 0, 5, 0, 2, 0, 9],
    "multi-hot": [[1, 0, 0], [1, 1, 1], [0, 0, 0], [0, 1, 0], [1, 0, 1], [0, 0, 1], [0, 1, 0]],
}
UPSTREAM = {"mean": 3.0, "sum": 3.0, "none": [3.0, -1.0, 0.5, 2.0, 1.5, -2.5, 4.0]}
# Some pairs of different classes are within, and some are not.
MARGINS = {**dict.fromkeys(conventions.DISTANCES, 1.9), "sqeuclidean": 3.5, "cosine": 0.9}
DISTANCES = pytest.mark.parametrize("fields", conventions.PAIRMARGIN, ids=conventions.name)
KINDS = pytest.mark.parametrize("kind", LABELS)


@KINDS
@DISTANCES
def test_values_and_gradients(framework, dtype, fields, kind):
    fields = {**fields, "margin": MARGINS[fields["distance"]], "scale": 1.25}
    for reduction in conventions.REDUCTIONS:
        stated, upstream = {**fields, "reduction": reduction}, UPSTREAM[reduction]
        want = exact(X, LABELS[kind], upstream=upstream, by_loops=True, **stated)
        loss = nf.PairMargin(**stated)
        check_weighted(framework, loss, X, LABELS[kind], want, dtype, upstream, reduction)


@KINDS
@DISTANCES
def test_gradient_is_the_slope_of_the_loops(fields, kind):
    x, labels = X.astype(np.float64), LABELS[kind]
    fields = {**fields, "margin": MARGINS[fields["distance"]]}
    apart = dense.distances(*[torch.tensor(x)] * 2, fields["distance"])
    assert float(apart[~torch.eye(7, dtype=torch.bool)].min()) < fields["margin"]
    assert fields["margin"] < float(apart.max())
    _, (got,) = nf.PairMargin(**fields).value_and_grad(x, labels)
    (want,) = differences.gradient(lambda rows: pairmargin.pairmargin(rows, labels, **fields), [x])
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)


def test_by_hand(framework, dtype):
    """Distances 1 (one class), 3 and 2 (two classes); margin 2.5."""
    x, labels = framework.asarray([[0.0], [1.0], [3.0]], dtype), framework.labels([0, 0, 1])
    value, (gradient,) = nf.PairMargin(margin=2.5).value_and_grad(x, labels)
    assert abs(float(value) - (1 + 0 + 0.25) / 2 / 3) < 1e-7
    want = np.array([[-1], [1 + 0.5], [-0.5]]) / 3
    np.testing.assert_allclose(framework.read(gradient), want, rtol=1e-6)
    each = nf.PairMargin(margin=2.5, reduction="none")(x, labels)
    np.testing.assert_allclose(framework.read(each), [1 / 4, (1 + 0.25) / 4, 0.25 / 4], rtol=1e-6)
    # Every row's mean over its pairs, so twice the sum over the pairs, by n - 1.
    total = float(nf.PairMargin(margin=2.5, reduction="sum")(x, labels))
    assert abs(total - 2 * (1 + 0.25) / 2 / 2) < 1e-7
    assert nf.PairMargin() == nf.PairMargin(margin=1.0, distance="euclidean")


def test_text_as_labels(framework):
    names = {0: "ant", 2: "cat", 5: "eel", 9: "yak"}
    want = exact(X, LABELS["classes"])
    labels = [names[label] for label in LABELS["classes"]]
    check_weighted(framework, nf.PairMargin(), X, labels, want, "float64")


@pytest.mark.parametrize("distance", ["euclidean", "sqeuclidean", "cityblock", "chebyshev"])
def test_exactly_at_the_margin(framework, dtype, distance):
    """No loss and no gradient; a little more of margin has both."""
    x, labels = framework.asarray([[0.5, 0], [0.5, 0], [0.5, 1.5]], dtype), [0, 0, 1]
    margin = 2.25 if distance == "sqeuclidean" else 1.5
    labels = framework.labels(labels)
    loss = nf.PairMargin(distance=distance, margin=margin)
    value, (gradient,) = loss.value_and_grad(x, labels)
    assert float(value) == 0
    assert (framework.read(gradient) == 0).all()
    loss = nf.PairMargin(distance=distance, margin=margin + 0.25)
    value, (gradient,) = loss.value_and_grad(x, labels)
    assert abs(float(value) - 2 * 0.25**2 / 2 / 3) < 1e-7
    assert framework.read(gradient)[2, 1] < 0


@pytest.mark.parametrize("distance", ["euclidean", "sqeuclidean", "cityblock", "chebyshev"])
def test_equal_rows(framework, dtype, distance):
    """Of one class and of two: at distance 0 the loss is known and the way apart is not."""
    x = np.concatenate([X[:5], X[:3]])
    labels = [0, 1, 2, 0, 1, 0, 0, 2]
    fields = {"distance": distance, "margin": MARGINS[distance]}
    for reduction, upstream in (("mean", 1.0), ("none", [*UPSTREAM["none"], 0.25])):
        stated = {**fields, "reduction": reduction}
        want = exact(x, labels, upstream=upstream, by_loops=True, **stated)
        check_weighted(
            framework, nf.PairMargin(**stated), x, labels, want, dtype, upstream, reduction
        )


@DISTANCES
def test_no_margin(framework, dtype, fields):
    """Nothing is pushed."""
    want = exact(X, LABELS["classes"], **fields, margin=0.0)
    loss = nf.PairMargin(**fields, margin=0.0)
    check_weighted(framework, loss, X, LABELS["classes"], want, dtype)


def test_hamming_counts_and_does_not_pull(framework, dtype):
    rows = np.random.default_rng(2).integers(0, 3, size=(7, 4)).astype(float)
    fields = {"distance": "hamming", "margin": 0.8}
    for reduction in conventions.REDUCTIONS:
        stated = {**fields, "reduction": reduction}
        value = pairmargin.pairmargin(rows.tolist(), LABELS["classes"], **stated)
        want = Truth(np.asarray(value), [np.zeros((7, 4))], 1.0, 0.0)
        upstream = 1.0 if reduction != "none" else UPSTREAM["none"]
        check_weighted(
            framework, nf.PairMargin(**stated), rows, LABELS["classes"], want, dtype, upstream
        )


MANY = np.random.default_rng(6).permutation(np.repeat(np.arange(5), [5, 3, 2, 1, 1])).tolist()
MANY_HOT = np.random.default_rng(7).integers(0, 2, size=(12, 3)).tolist()
ROWS = {d: np.random.default_rng(8).normal(size=(12, d)).astype(np.float32) for d in (3, 12)}
WEIGHTS = np.random.default_rng(9).normal(size=12).tolist()
OPTIONS = [{"tile": 1}, {"tile": 2}, {"tile": 3}, {"tile": 64}, {"memory": 1}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("features", ROWS)
def test_tiles(framework, dtype, features, options):
    """By differences and by products; classes larger than a block and smaller."""
    x, margin = ROWS[features], 4.0
    for labels in (MANY, MANY_HOT):
        for reduction, upstream in (("mean", 1.0), ("none", WEIGHTS)):
            fields = {"margin": margin, "reduction": reduction}
            want = exact(x, labels, upstream=upstream, **fields)
            loss = nf.PairMargin(**fields).with_options(**options)
            check_weighted(framework, loss, x, labels, want, dtype, upstream, reduction)


def test_permuted_rows(framework):
    order = np.random.default_rng(10).permutation(12)
    loss, each = nf.PairMargin(margin=4.0), nf.PairMargin(margin=4.0, reduction="none")
    for labels in (np.array(MANY), np.array(MANY_HOT)):
        found = []
        for rows in (np.arange(12), order):
            x, y = framework.asarray(ROWS[12][rows]), framework.labels(labels[rows])
            value, (gradient,) = loss.value_and_grad(x, y)
            losses = framework.read(each(x, y))
            found.append((float(value), losses, framework.read(gradient)))
        (value, losses, gradient), moved = found
        assert len(np.unique(losses)) > 5
        np.testing.assert_allclose(moved[0], value, rtol=1e-12)
        np.testing.assert_allclose(moved[1], losses[order], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(moved[2], gradient[order], rtol=1e-12, atol=1e-12)


def test_one_class(framework, dtype):
    """Every pair is pulled, and nobody is warned."""
    want = exact(X, [4] * 7, by_loops=True)
    check_weighted(framework, nf.PairMargin(), X, [4] * 7, want, dtype)


@pytest.mark.parametrize("labels", [[*range(7)], [[0, 0]] * 7], ids=["1-D", "no labels"])
def test_all_labels_different(framework, dtype, labels):
    """Every pair within the margin is pushed: that is a loss, and nothing to warn of."""
    want = exact(X, labels, margin=1.9, by_loops=True)
    assert want.value > 0
    check_weighted(framework, nf.PairMargin(margin=1.9), X, labels, want, dtype)


def test_one_row(framework, dtype):
    """No pair: 0 without a gradient, and NumPy says so, once."""
    x, labels = framework.asarray(X[:1], dtype), framework.labels([3])
    for reduction in conventions.REDUCTIONS:
        loss = nf.PairMargin(reduction=reduction)
        calls = [lambda f=loss: (f(x, labels), ())]
        if reduction != "none":
            calls.append(lambda f=loss: f.value_and_grad(x, labels))
        for call in calls:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                value, gradients = call()
            assert len(caught) == (framework.name == "numpy")
            assert framework.dtype(value) == dtype
            assert (framework.read(value) == 0).all()
            assert all((framework.read(g) == 0).all() for g in gradients)


def test_far_from_the_origin(framework):
    """In float32 at 1e4 rows are known to 1e-3, and exactly as they were rounded."""
    for features, x in ROWS.items():
        x = (x + 1e4).astype(np.float32)
        for distance in ("euclidean", "sqeuclidean", "cityblock", "chebyshev"):
            fields = {"distance": distance, "margin": 3.7123}
            want = exact(x, MANY, **fields)
            about = f"{distance}, {features}"
            check_weighted(
                framework, nf.PairMargin(**fields), x, MANY, want, "float32", about=about
            )


@pytest.mark.parametrize("size", [1e-3, 1e3])
def test_scales(framework, dtype, size):
    """With the margin as it is, and with one that goes with the rows."""
    for features, x in ROWS.items():
        x = (x * size).astype(np.float32)
        for margin in (1.0, 4.0 * size):
            want = exact(x, MANY, margin=margin)
            about = f"{features}, {margin}"
            check_weighted(
                framework, nf.PairMargin(margin=margin), x, MANY, want, dtype, about=about
            )


@pytest.mark.parametrize(("features", "margin"), [(3, 1.0), (16, 5.0)])
def test_three_hundred_rows(framework, dtype, features, margin):
    rng = np.random.default_rng(11)
    labels = rng.integers(0, 5, size=300).tolist()
    x = rng.normal(size=(300, features)).astype(np.float32)
    want = exact(x, labels, margin=margin)
    value, (gradient,) = nf.PairMargin(margin=margin).value_and_grad(
        framework.asarray(x, dtype), framework.labels(labels)
    )
    assert abs(float(value) - want.value) <= TOLERANCE[dtype] * want.value
    error = np.abs(framework.read(gradient) - want.gradients[0]).max()
    assert error <= TOLERANCE[dtype] * np.abs(want.gradients[0]).max()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_torch_lets_them_through(value):
    """To the value and to the gradient, where a mixed-precision scaler looks for them."""
    for row in (0, 4):
        x = X.copy()
        x[row, 1] = value
        leaf = torch.tensor(x, requires_grad=True)
        result = nf.PairMargin()(leaf, torch.tensor(LABELS["classes"]))
        (gradient,) = torch.autograd.grad(result, leaf)
        assert not result.isfinite()
        assert not gradient.isfinite().all()


@pytest.mark.parametrize("distance", ["cityblock", "chebyshev", "cosine"])
def test_torch_lets_nan_through_other_distances(distance):
    for rows in (X, X[:2]):
        x = rows.copy()
        x[1, 1] = np.nan
        leaf = torch.tensor(x, requires_grad=True)
        result = nf.PairMargin(distance=distance)(leaf, torch.tensor(LABELS["classes"][: len(x)]))
        (gradient,) = torch.autograd.grad(result, leaf)
        assert result.isnan()
        assert gradient[1].isnan().any()


def test_numpy_names_the_row():
    x = X.copy()
    x[4, 1] = np.nan
    with pytest.raises(ValueError, match=r"expected embeddings to be finite.*row 4"):
        nf.PairMargin()(x, LABELS["classes"])

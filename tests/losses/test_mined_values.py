"""BatchTriplet: which triplets are mined, what they add up to, and how many the mean is over."""

import warnings
from functools import cache
from itertools import product

import numpy as np
import pytest
import torch
from oracles import batchtriplet, conventions, dense, differences
from support.agreement import TOLERANCE, Truth, assert_value, check_weighted, truth
from support.backends import FLOAT_DTYPES, FRAMEWORKS
from support.covering import sampled

import nearfar as nf


def exact(x, labels, **how):
    return truth("BatchTriplet", [x], labels, **how)


RNG = np.random.default_rng(18)
X = (RNG.normal(size=(9, 3)) * RNG.uniform(0.5, 2.0, size=(9, 1))).astype(np.float32)
# Classes of four, three and one, out of order; rows that share with some, with all and with none.
LABELS = {
    "classes": [2, 0, 5, 0, 2, 0, 9, 2, 0],
    "multi-hot": [
        *([1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 1, 0], [0, 0, 1]),
        *([0, 1, 1], [1, 0, 0], [0, 0, 1], [0, 1, 0]),
    ],
}
UPSTREAM = {
    "mean": 3.0,
    "sum": 3.0,
    "none": [3.0, -1.0, 0.5, 2.0, 1.5, -2.5, 4.0, 0.25, -0.75],
}
MARGINS = {**dict.fromkeys(conventions.DISTANCES, 0.9), "sqeuclidean": 1.9, "cosine": 0.4}
REDUCTIONS = [("skip", "mean"), ("zero", "mean"), ("zero", "sum"), ("skip", "none")]
MINING = ("all", "hard", "semihard", "all_semihard")
MINED = pytest.mark.parametrize("mining", MINING)
COUNTED = pytest.mark.parametrize(("mining", "count"), conventions.MINING)


@sampled(
    "framework, dtype, distance, counted",
    FRAMEWORKS.values(),
    FLOAT_DTYPES,
    conventions.DISTANCES,
    conventions.MINING,
)
def test_values_and_gradients(framework, dtype, distance, counted):
    """Anchors without triplets change the mean alone."""
    mining, count = counted
    fields = {"mining": mining, "count": count, "distance": distance}
    fields |= {"margin": MARGINS[distance], "scale": 1.25}
    halves = (("classes", REDUCTIONS), ("multi-hot", REDUCTIONS[1::2]))
    for kind, without_positives, reduction in [(k, *pair) for k, some in halves for pair in some]:
        stated = {**fields, "without_positives": without_positives, "reduction": reduction}
        upstream = UPSTREAM[reduction]
        want = exact(X, LABELS[kind], upstream=upstream, by_loops=True, **stated)
        about = f"{kind}, {without_positives}, {reduction}"
        check_weighted(
            framework, nf.BatchTriplet(**stated), X, LABELS[kind], want, dtype, upstream, about
        )


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("distance", conventions.DISTANCES)
def test_no_way_of_mining_is_another(distance, kind):
    """Nor of counting; a semihard triplet without a loss is a tie."""
    values = {
        float(exact(X, LABELS[kind], by_loops=True, margin=MARGINS[distance], **fields).value)
        for fields in conventions.BATCHTRIPLET
        if fields["distance"] == distance
    }
    assert 0 not in values
    assert len(values) == 2 * (len(conventions.MINING) - 1)


@pytest.mark.parametrize("distance", conventions.DISTANCES)
@COUNTED
def test_gradient_is_the_slope_of_the_loops(mining, count, distance):
    x, labels = X[:6].astype(np.float64), LABELS["classes"][:6]
    fields = {"mining": mining, "count": count, "distance": distance, "margin": MARGINS[distance]}
    _, (got,) = nf.BatchTriplet(**fields).value_and_grad(x, labels)
    (want,) = differences.gradient(
        lambda rows: batchtriplet.batchtriplet(rows, labels, **fields), [x]
    )
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)


def test_defaults(framework, dtype):
    want = exact(X, LABELS["classes"], by_loops=True)
    check_weighted(framework, nf.BatchTriplet(), X, LABELS["classes"], want, dtype)


@MINED
def test_text_as_labels(framework, mining):
    """And whatever else is equal or not."""
    animals = {0: "ant", 2: "cat", 5: "eel", 9: "yak"}
    want = exact(X, LABELS["classes"], mining=mining)
    for names in (animals, {0: 0.25, 2: -3.5, 5: 1e9, 9: 7.0}):
        labels = [names[label] for label in LABELS["classes"]]
        loss = nf.BatchTriplet(mining=mining)
        check_weighted(framework, loss, X, labels, want, "float64")


# -- counts, the margin, ties --------------------------------------------------------------------

# On a line. Anchor 0 has positives at 1 and 3 and negatives at 1, 2, 3.5 and 4.
LINE = [[0.0], [1.0], [3.0], [-1.0], [2.0], [-3.5], [4.0]]
LINE_LABELS = [0, 0, 0, 1, 2, 3, 4]


@sampled(
    "framework, dtype, distance, mined",
    FRAMEWORKS.values(),
    FLOAT_DTYPES,
    ["euclidean", "cityblock", "chebyshev", "minkowski"],
    [("all", 6.5), ("hard", 3.0), ("semihard", 0.5), ("all_semihard", 0.5)],
)
def test_by_hand(framework, dtype, distance, mined):
    """With margin 1: (1 + 0) + (3 + 2 + 0.5 + 0), 3 - 1 + 1, 0 + 0.5, 0 + 0.5 + 0."""
    mining, first = mined
    loss = nf.BatchTriplet(margin=1.0, mining=mining, distance=distance, reduction="none")
    got = framework.read(loss(framework.asarray(LINE, dtype), framework.labels(LINE_LABELS)))
    assert got[0] == first
    assert (got[3:] == 0).all()


@pytest.mark.parametrize(
    ("mining", "count", "triplets"),
    [
        ("all", "active", 1),
        ("all", "all", 4),
        ("hard", "active", 2),
        ("semihard", "active", 2),
        ("all_semihard", "active", 1),
        ("all_semihard", "all", 2),
    ],
)
@pytest.mark.parametrize(("without_positives", "more"), [("skip", 0), ("zero", 2)])
def test_counts(framework, dtype, mining, count, triplets, without_positives, more):
    """Anchor 0 with losses of 0.5 and, at the margin, 0; anchor 1 without; two singletons."""
    x = framework.asarray([[0.0], [1.0], [-1.5], [-2.0]], dtype)
    loss = nf.BatchTriplet(
        margin=1.0, mining=mining, count=count, without_positives=without_positives
    )
    value, (gradient,) = loss.value_and_grad(x, framework.labels([0, 0, 1, 2]))
    share = 1 / (triplets + more)
    assert abs(float(value) - 0.5 * share) < 1e-7
    # Away from the positive and towards the negative at -1.5; not from the one at the margin.
    want = np.array([[-2.0], [1.0], [1.0], [0.0]]) * share
    np.testing.assert_allclose(framework.read(gradient), want, atol=1e-7)


@COUNTED
def test_nothing_but_the_margin(framework, dtype, mining, count):
    """Every triplet is exactly at the margin, or beyond: none is active, none has a gradient."""
    x = framework.asarray([[0.0, 0], [1, 0], [2.5, 0], [-1.5, 0]], dtype)
    labels = framework.labels([0, 0, 1, 2])
    for distance in ("euclidean", "sqeuclidean", "cityblock", "chebyshev"):
        margin = 1.25 if distance == "sqeuclidean" else 0.5
        loss = nf.BatchTriplet(margin=margin, mining=mining, count=count, distance=distance)
        value, (gradient,) = loss.value_and_grad(x, labels)
        assert float(value) == 0
        assert (framework.read(gradient) == 0).all()


GRID = np.random.default_rng(3).integers(0, 4, size=(16, 2)) / 2
GRID_LABELS = np.random.default_rng(4).integers(0, 5, size=16).tolist()


def test_the_grid_has_ties():
    d = dense.distances(*[torch.tensor(GRID)] * 2, "cityblock").numpy()
    at_margin = d[:, :, None] - d[:, None, :] == -0.5
    assert at_margin.sum() > 100
    assert len(np.unique(GRID, axis=0)) < 16


@sampled(
    "framework, dtype, measured, counted",
    FRAMEWORKS.values(),
    FLOAT_DTYPES,
    [("sqeuclidean", 0.5), ("cityblock", 0.0), ("cityblock", 2.0), ("chebyshev", 0.5)],
    conventions.MINING,
)
def test_ties_on_a_grid(framework, dtype, measured, counted):
    """Equal rows, equal distances, and triplets at the margin: counts are exact."""
    (distance, margin), (mining, count) = measured, counted
    fields = {"mining": mining, "count": count, "distance": distance, "margin": margin}
    for reduction in ("mean", "none"):
        stated = {**fields, "reduction": reduction}
        want = exact(GRID, GRID_LABELS, by_loops=True, **stated)
        loss = nf.BatchTriplet(**stated)
        if mining in ("all", "all_semihard") and reduction != "none":
            check_weighted(framework, loss, GRID, GRID_LABELS, want, dtype, about=reduction)
        else:
            # Of the negatives that are as near, one is taken: the gradient is any of theirs.
            x, labels = framework.asarray(GRID, dtype), framework.labels(GRID_LABELS)
            assert_value(framework, loss(x, labels), want, dtype, reduction)


@pytest.mark.parametrize("distance", ["euclidean", "sqeuclidean", "cityblock"])
@MINED
def test_equal_rows(framework, dtype, distance, mining):
    """Some of one class and some not: which of two equal rows is taken is all that is open."""
    x = np.concatenate([X[:6], X[:5], X[:1]])
    equal = [[0, 6, 11], [1, 7], [2, 8], [3, 9], [4, 10], [5]]
    labels = [0, 1, 2, 0, 1, 0, 0, 2, 0, 1, 1, 2]
    fields = {"mining": mining, "distance": distance, "margin": MARGINS[distance]}
    want = exact(x, labels, by_loops=True, **fields)
    value, (gradient,) = nf.BatchTriplet(**fields).value_and_grad(
        framework.asarray(x, dtype), framework.labels(labels)
    )
    assert_value(framework, value, want, dtype)
    got, other = (
        np.stack([g[rows].sum(0) for rows in equal])
        for g in (framework.read(gradient), want.gradients[0])
    )
    allowed = TOLERANCE[dtype] * (1 + want.largest_logit) * np.abs(other).max()
    assert (np.abs(got - other) <= allowed).all()


@MINED
def test_all_rows_equal(framework, dtype, mining):
    """Every loss is the margin, nothing is beyond anything, and nothing is pulled."""
    x, labels = framework.asarray(np.ones((9, 3)), dtype), framework.labels(LABELS["classes"])
    for distance in ("euclidean", "chebyshev", "cosine"):
        loss = nf.BatchTriplet(mining=mining, distance=distance)
        value, (gradient,) = loss.value_and_grad(x, labels)
        assert abs(float(value) - (0 if mining == "all_semihard" else 0.2)) < 1e-6
        assert (np.abs(framework.read(gradient)) < 1e-6).all()


@MINED
def test_no_margin(framework, dtype, mining):
    for distance in conventions.DISTANCES:
        fields = {"mining": mining, "distance": distance, "margin": 0.0}
        want = exact(X, LABELS["classes"], **fields)
        loss = nf.BatchTriplet(**fields)
        check_weighted(framework, loss, X, LABELS["classes"], want, dtype, about=distance)


@pytest.mark.parametrize("margin", [1e-3, 100.0])
@COUNTED
def test_small_and_wide_margins(framework, dtype, mining, count, margin):
    """Almost none and all of the triplets have a loss."""
    fields = {"mining": mining, "count": count, "margin": margin}
    want = exact(X, LABELS["classes"], **fields)
    check_weighted(framework, nf.BatchTriplet(**fields), X, LABELS["classes"], want, dtype)


@MINED
def test_hamming_counts_and_does_not_pull(framework, dtype, mining):
    rows = np.random.default_rng(2).integers(0, 3, size=(9, 4)).astype(float)
    fields = {"distance": "hamming", "margin": 0.3, "mining": mining}
    for reduction in conventions.REDUCTIONS:
        value = batchtriplet.batchtriplet(
            rows.tolist(), LABELS["classes"], **fields, reduction=reduction
        )
        assert np.any(value)
        want = Truth(np.asarray(value), [np.zeros((9, 4))], 1.0, 0.0)
        loss = nf.BatchTriplet(**fields, reduction=reduction)
        upstream = 1.0 if reduction != "none" else UPSTREAM["none"]
        check_weighted(framework, loss, rows, LABELS["classes"], want, dtype, upstream, reduction)


# -- blocks --------------------------------------------------------------------------------------

MANY = [2, 0, 0, 1, 0, 1, 0]
MANY_HOT = np.random.default_rng(7).integers(0, 2, size=(7, 3)).tolist()
ROWS = {d: np.random.default_rng(8).normal(size=(7, d)).astype(np.float32) for d in (3, 12)}
WEIGHTS = UPSTREAM["none"][:7]
OPTIONS = [{"tile": 1}, {"tile": 2}, {"tile": 3}, {"tile": 64}, {"memory": 1}]


@pytest.mark.parametrize(("features", "labels"), [(3, MANY), (12, MANY_HOT)], ids=["3", "12"])
@COUNTED
def test_tiles(framework, dtype, mining, count, features, labels):
    """Classes larger than a block, blocks of several classes; by differences and by products."""
    fields = {"mining": mining, "count": count, "margin": 0.7}
    x = ROWS[features]
    mean = exact(x, labels, **fields)
    each = exact(x, labels, upstream=WEIGHTS, **fields, reduction="none")
    for options in OPTIONS:
        loss = nf.BatchTriplet(**fields, reduction="none").with_options(**options)
        check_weighted(framework, loss, x, labels, each, dtype, WEIGHTS, about=options)
        if options == {"tile": 3}:
            loss = nf.BatchTriplet(**fields).with_options(**options)
            check_weighted(framework, loss, x, labels, mean, dtype, about=options)


@MINED
def test_permuted_rows(framework, mining):
    """Every anchor keeps its sum and every row its gradient."""
    loss = nf.BatchTriplet(mining=mining, margin=0.7)
    each = nf.BatchTriplet(mining=mining, margin=0.7, reduction="none")
    order = np.random.default_rng(10).permutation(7)
    for labels in (np.array(MANY), np.array(MANY_HOT)):
        found = []
        for rows in (np.arange(7), order):
            x, y = framework.asarray(ROWS[12][rows]), framework.labels(labels[rows])
            value, (gradient,) = loss.value_and_grad(x, y)
            losses = framework.read(each(x, y))
            found.append((float(value), losses, framework.read(gradient)))
        (value, losses, gradient), moved = found
        assert len(np.unique(losses)) > 3
        np.testing.assert_allclose(moved[0], value, rtol=1e-12)
        np.testing.assert_allclose(moved[1], losses[order], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(moved[2], gradient[order], rtol=1e-12, atol=1e-12)


# -- nothing to mine -----------------------------------------------------------------------------

NOTHING = {
    "one class": [3] * 9,
    "all different": [*range(9)],
    "one row": [0],
    "no labels": [[0, 0]] * 9,
    "multi-hot, one class": [[1, 0], [1, 1], [1, 0]],
}


@sampled("framework, dtype, mining, case", FRAMEWORKS.values(), FLOAT_DTYPES, MINING, NOTHING)
def test_no_triplet(framework, dtype, mining, case):
    """0 without a gradient."""
    labels = NOTHING[case]
    x, labels = framework.asarray(X[: len(labels)], dtype), framework.labels(labels)
    for count, without_positives in product(("active", "all"), ("skip", "zero")):
        fields = {"mining": mining, "count": count, "without_positives": without_positives}
        with warnings.catch_warnings():
            # NumPy warns, see below; no other framework may.
            warnings.simplefilter("ignore" if framework.name == "numpy" else "error")
            value, (gradient,) = nf.BatchTriplet(**fields).value_and_grad(x, labels)
            each = nf.BatchTriplet(**fields, reduction="none")(x, labels)
        assert framework.dtype(value) == framework.dtype(each) == dtype
        assert float(value) == 0
        assert (framework.read(gradient) == 0).all()
        assert framework.read(each).tolist() == [0] * len(labels)


@pytest.mark.parametrize("case", NOTHING)
@MINED
def test_numpy_says_that_there_is_no_triplet(mining, case):
    """Once a call."""
    labels = NOTHING[case]
    loss = nf.BatchTriplet(mining=mining)
    for call in (loss, loss.value_and_grad):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call(X[: len(labels)], labels)
        assert [w.category for w in caught] == [UserWarning]


@COUNTED
def test_an_anchor_without_negatives(framework, dtype, mining, count):
    """Row 1 shares with all. Under "zero" it counts as an anchor without positives does."""
    labels = [[1, 0], [1, 1], [0, 1], [1, 0], [0, 1], [1, 0]]
    for without_positives in ("skip", "zero"):
        fields = {"mining": mining, "count": count, "without_positives": without_positives}
        want = exact(X[:6], labels, **fields, margin=0.9)
        assert want.value > 0
        check_weighted(framework, nf.BatchTriplet(**fields, margin=0.9), X[:6], labels, want, dtype)


# -- size and place of the rows ------------------------------------------------------------------


@MINED
def test_far_from_the_origin(framework, mining):
    """In float32 at 1e4 rows are known to 1e-3, and exactly as they were rounded."""
    distances = ("euclidean", "sqeuclidean", "cityblock", "chebyshev")
    for features, distance in product(ROWS, distances):
        x = (ROWS[features] + 1e4).astype(np.float32)
        fields = {"mining": mining, "distance": distance, "margin": 0.7123}
        want = exact(x, MANY, **fields)
        check_weighted(
            framework, nf.BatchTriplet(**fields), x, MANY, want, "float32", about=distance
        )


@pytest.mark.parametrize("size", [1e-3, 1e3])
@MINED
def test_scales(framework, dtype, mining, size):
    """With the margin as it is, and with one that goes with the rows."""
    for features, margin in product(ROWS, (0.2, 0.7 * size)):
        x = (ROWS[features] * size).astype(np.float32)
        fields = {"mining": mining, "margin": margin}
        want = exact(x, MANY, **fields)
        about = f"{features}, {margin}"
        check_weighted(framework, nf.BatchTriplet(**fields), x, MANY, want, dtype, about=about)


def test_no_triplet_leaves_nothing_over(framework, dtype):
    """Large distances, a small margin: nothing is semihard, and sums of distances cancel."""
    x = (1e3 * np.random.default_rng(0).normal(size=(10, 12))).astype(np.float32)
    labels = [4, 1, 0, 0, 1, 0, 0, 0, 2, 2]
    fields = {"mining": "all_semihard", "margin": 0.2}
    assert batchtriplet.batchtriplet(x.tolist(), labels, **fields) == 0
    x, labels = framework.asarray(x, dtype), framework.labels(labels)
    value, (gradient,) = nf.BatchTriplet(**fields).value_and_grad(x, labels)
    assert float(value) == 0
    assert (framework.read(gradient) == 0).all()


# -- many rows -----------------------------------------------------------------------------------


def by_anchors(x, labels, *, mining, margin, distance) -> tuple[float, np.ndarray, np.ndarray]:
    """Mean over the active (of "all", "all_semihard"), gradient, and the anchors' sums."""
    leaf = torch.tensor(np.asarray(x, dtype=np.float64), requires_grad=True)
    d = dense.distances(leaf, leaf, distance)
    same = torch.tensor(labels)[:, None] == torch.tensor(labels)[None, :]
    sums, count = [], 0
    for i, row in enumerate(d):
        near, far = row[same[i] & (torch.arange(len(d)) != i)], row[~same[i]]
        if mining == "hard":
            u = (near.max() - far.min() + margin)[None]
        elif mining == "semihard":
            beyond = torch.where(far > near[:, None], far, torch.inf).amin(1)
            u = near - torch.where(beyond.isinf(), far.max(), beyond) + margin
        else:
            u = near[:, None] - far + margin
        if mining == "all_semihard":
            u = torch.where((far > near[:, None]) & (u >= 0), u, 0.0)
        count += int((u > 0).sum()) if mining in ("all", "all_semihard") else len(u)
        sums.append(u.relu().sum())
    mean = torch.stack(sums).sum() / count
    (gradient,) = torch.autograd.grad(mean, leaf)
    return float(mean.detach()), gradient.numpy(), torch.stack(sums).detach().numpy()


@cache
def many(n, features, whole=False, **fields):
    """Rows, labels, and what `by_anchors` says of them; `whole` numbers have exact distances."""
    # Of these rows no float32 distance is within its rounding of one that it is compared with.
    rng = np.random.default_rng(27)
    labels = rng.integers(0, 5, size=n).tolist()
    x = rng.integers(-40, 41, (n, features)) if whole else rng.normal(size=(n, features))
    x = x.astype(np.float32)
    return x, labels, by_anchors(x, labels, **fields)


@pytest.mark.parametrize(("features", "margin"), [(3, 0.2), (16, 0.01)])
@MINED
def test_three_hundred_rows(framework, dtype, mining, margin, features):
    """Losses at the margin, far smaller than the distances, keep their digits."""
    x, labels, (value, gradient, _) = many(
        *(300, features), mining=mining, margin=margin, distance="euclidean"
    )
    got, (slope,) = nf.BatchTriplet(mining=mining, margin=margin).value_and_grad(
        framework.asarray(x, dtype), framework.labels(labels)
    )
    # In float32 a few of four million triplets may be on the other side of the margin.
    few = 1e-4 if dtype == "float32" else 1e-12
    assert np.abs(framework.read(slope) - gradient).max() <= few * np.abs(gradient).max()
    assert abs(float(got) - value) <= TOLERANCE[dtype] * max(value, 1)


@pytest.mark.parametrize(("features", "margin"), [(3, 0.2), (16, 0.01)])
@MINED
def test_each_of_three_hundred_rows(framework, dtype, mining, margin, features):
    x, labels, (_, _, sums) = many(
        *(300, features), mining=mining, margin=margin, distance="euclidean"
    )
    loss = nf.BatchTriplet(mining=mining, margin=margin, reduction="none")
    got = framework.read(loss(framework.asarray(x, dtype), framework.labels(labels)))
    largest = np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1)).max()
    assert (np.abs(got - sums) <= TOLERANCE[dtype] * (np.maximum(sums, 1) + largest)).all()


@MINED
def test_many_rows_whose_distances_are_exact(framework, dtype, mining):
    """No triplet is at the margin or changes sides, so that gradients agree to the last digits.

    Squares of integers; the margin keeps away from them. Of negatives as near any may be taken.
    """
    fields = {"mining": mining, "margin": 400.5, "distance": "sqeuclidean"}
    x, labels, (value, gradient, _) = many(200, 3, whole=True, **fields)
    got, (slope,) = nf.BatchTriplet(**fields).value_and_grad(
        framework.asarray(x, dtype), framework.labels(labels)
    )
    tolerance = TOLERANCE[dtype]
    assert abs(float(got) - value) <= tolerance * value
    if mining in ("all", "all_semihard"):
        error = np.abs(framework.read(slope) - gradient).max()
        assert error <= tolerance * np.abs(gradient).max()


# -- what is not a number ------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
@MINED
def test_torch_lets_them_through(mining, value):
    """To the value and to the gradient, where a mixed-precision scaler looks for them."""
    for row in (0, 4):
        x = X.copy()
        x[row, 1] = value
        leaf = torch.tensor(x, requires_grad=True)
        loss = nf.BatchTriplet(mining=mining)
        result = loss(leaf, torch.tensor(LABELS["classes"]))
        (gradient,) = torch.autograd.grad(result, leaf)
        # Nothing is between two infinite distances: no triplet is semihard.
        if mining != "all_semihard" or np.isnan(value):
            assert not result.isfinite()
        assert not gradient.isfinite().all()


@pytest.mark.parametrize("distance", ["cityblock", "chebyshev", "cosine"])
@MINED
def test_torch_lets_nan_through_other_distances(mining, distance):
    for rows in (X, X[:4]):
        x = rows.copy()
        x[1, 1] = np.nan
        leaf = torch.tensor(x, requires_grad=True)
        loss = nf.BatchTriplet(mining=mining, distance=distance)
        result = loss(leaf, torch.tensor(LABELS["classes"][: len(x)]))
        (gradient,) = torch.autograd.grad(result, leaf)
        assert result.isnan()
        assert not gradient.isfinite().all()


def test_torch_lets_infinity_through_the_hardest_triplet():
    """Its cityblock distances have slopes of 1 wherever they end."""
    x = X.copy()
    x[3, 1] = np.inf
    leaf = torch.tensor(x, requires_grad=True)
    loss = nf.BatchTriplet(mining="hard", distance="cityblock")
    result = loss(leaf, torch.tensor(LABELS["classes"]))
    (gradient,) = torch.autograd.grad(result, leaf)
    assert not result.isfinite()
    assert not gradient.isfinite().all()


@MINED
def test_numpy_names_the_row(mining):
    x = X.copy()
    x[4, 1] = np.nan
    with pytest.raises(ValueError, match=r"expected embeddings to be finite.*row 4"):
        nf.BatchTriplet(mining=mining)(x, LABELS["classes"])

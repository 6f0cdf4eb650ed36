"""N26: distances that are small against the rows keep their digits; the Gram form has none left.

Few features and many may take different paths: both are tried.
"""

import numpy as np
import pytest
from support.agreement import check, truth

import nearfar as nf
from nearfar.evaluate import schedule

SIMILARITIES = pytest.mark.parametrize("similarity", ["neg_euclidean", "neg_sqeuclidean"])
FEATURES = pytest.mark.parametrize("features", [5, 20])
LABELS = [0, 1, 0, 1, 2, 3, 2, 3]


def noise(features):
    return np.random.default_rng(131).normal(size=(8, features))


@SIMILARITIES
@FEATURES
def test_far_from_the_origin(framework, dtype, similarity, features):
    """Squares of 1e6, differences of 1e-2."""
    rows = (1000 + 0.01 * noise(features)).astype(np.float32)
    temperature = 0.01 if similarity == "neg_euclidean" else 1e-4
    fields = {"similarity": similarity, "temperature": temperature}
    for denominator in ("all", "own_positive", "negatives"):
        check(framework, "SupCon", [rows], LABELS, dtype=dtype, denominator=denominator, **fields)
    check(framework, "NTXent", [rows[:4], rows[4:]], dtype=dtype, **fields)
    check(framework, "InfoNCE", [rows[:4], rows[4:]], dtype=dtype, **fields)
    check(framework, "InfoNCE", [rows[:2], rows[2:4], rows[4:]], dtype=dtype, **fields)
    check(framework, "CLIP", [rows[:4], rows[4:]], dtype=dtype, **fields)
    check(framework, "SigLIP", [rows[:4], rows[4:]], dtype=dtype, bias=1.0, **fields)
    check(framework, "SupCR", [rows], [0.5, 1, 4, 2, 1, 0, 3.5, 8], dtype=dtype, **fields)


@pytest.mark.parametrize("distance", ["euclidean", "sqeuclidean", "cityblock", "chebyshev"])
@FEATURES
def test_triplets_far_from_the_origin(framework, dtype, distance, features):
    rows = (1000 + 0.01 * noise(features)).astype(np.float32)
    unit = 1e-4 if distance == "sqeuclidean" else 0.01
    fields = {"distance": distance, "margin": unit, "scale": 1 / unit}
    check(framework, "Triplet", [rows[:3], rows[3:6], rows[5:]], dtype=dtype, **fields)


@FEATURES
def test_in_two_far_clusters(framework, features):
    """Centring does not help here: small distances are taken by difference."""
    sides = np.repeat([[1.0], [-1.0]], 4, axis=0)
    rows = (sides + 1e-3 * noise(features)).astype(np.float32)
    fields = {"similarity": "neg_euclidean", "temperature": 1e-3}
    want = truth("SupCon", [rows], LABELS, **fields)
    x = framework.asarray(rows, "float32")
    value, (got,) = framework.differentiate(nf.SupCon(**fields), [x], framework.labels(LABELS))
    assert abs(float(value) - want.value) < 2e-5
    off = np.abs(framework.read(got) - want.gradients[0]).max()
    assert off < 1e-4 * np.abs(want.gradients[0]).max()


def clusters(features=12):
    """32 of 4 rows, 1e-4 apart: 3 in 128 pairs are near, and one pair of rows is the same row."""
    rng = np.random.default_rng(5)
    rows = np.repeat(rng.normal(size=(32, features)), 4, axis=0)
    rows = (rows + 1e-4 * rng.normal(size=rows.shape)).astype(np.float32)
    rows[77] = rows[76]
    return rows


@SIMILARITIES
@pytest.mark.parametrize("order", ["together", "scattered"])
@pytest.mark.parametrize("tile", [None, 24])
def test_few_near_pairs(framework, dtype, similarity, order, tile):
    """Tiles of 24 hold more of them than are computed one by one, where clusters stand together."""
    rows, labels = clusters(), np.arange(128) // 4
    if order == "scattered":
        places = np.random.default_rng(6).permutation(64)  # of pairs, whose rows stay together
        places = (2 * places[:, None] + np.arange(2)).ravel()
        rows, labels = rows[places], labels[places]
    cases = [
        ("SupCon", [rows], (labels,), {}),
        ("SupCon", [rows], (labels,), {"denominator": "negatives", "include_self": True}),
        ("CLIP", [rows[::2], rows[1::2]], (), {}),
        ("InfoNCE", [rows[:80:2], rows[1:80:2], rows[20:]], (), {}),
    ]
    temperature = 2e-4 if similarity == "neg_euclidean" else 1e-7
    for name, inputs, given, stated in cases:
        fields = {"similarity": similarity, "temperature": temperature, **stated}
        arrays = [framework.asarray(x, dtype) for x in inputs]
        want = truth(name, inputs, *given, **fields)
        loss = getattr(nf, name)(**fields).with_options(tile=tile)
        value, gradients = framework.differentiate(loss, arrays, *map(framework.labels, given))
        assert framework.dtype(value) == dtype
        digits = {"float32": 2e-6, "float64": 1e-12}[dtype]
        assert abs(float(value) - want.value) < digits * (1 + abs(want.value)), name
        for got, expected in zip(gradients, want.gradients, strict=True):
            off = np.abs(framework.read(got) - expected).max()
            assert framework.dtype(got) == dtype
            assert off < 20 * digits * np.abs(expected).max(), name
    fields = {"similarity": similarity, "temperature": 100 * temperature}
    check(framework, "SupCR", [rows], labels % 5 + np.arange(128) / 9, dtype=dtype, **fields)


@pytest.mark.parametrize("near", [4, 48])
def test_parts_of_a_block_with_few_and_many_near_pairs(monkeypatch, near):
    """Threads take 16 anchors each, of which some see a cluster that is more than a few of all."""
    monkeypatch.setattr(schedule, "_WORTH", 1)
    rows = clusters()
    rows[:near] = rows[0] + 1e-4 * np.random.default_rng(7).normal(size=(near, 12))
    queries = rows[:80:2], rows[1:80:2], rows[20:]
    for name, inputs, given, temperature in [
        ("InfoNCE", queries, (), 2e-4),
        ("SupCR", [rows], (np.arange(128) / 9,), 0.02),
    ]:
        fields = {"similarity": "neg_euclidean", "temperature": temperature}
        want = truth(name, inputs, *given, **fields)
        loss = getattr(nf, name)(**fields).with_options(workers=2)
        value, gradients = loss.value_and_grad(*inputs, *given)
        assert abs(value - want.value) < 1e-5 * abs(want.value), name
        for got, expected in zip(gradients, want.gradients, strict=True):
            assert np.abs(got - expected).max() < 1e-4 * np.abs(expected).max(), name


@SIMILARITIES
@FEATURES
def test_an_anchor_is_at_no_distance_of_itself(framework, dtype, similarity, features):
    """Its own logit is exactly 0, and a root of rounding errors would not be."""
    rows = noise(features)
    temperature = 1e-3 if similarity == "neg_euclidean" else 1e-6
    loss = nf.SupCon(
        similarity=similarity,
        temperature=temperature,
        denominator="negatives",
        include_self=True,
        reduction="none",
    )
    losses = loss(framework.asarray(rows, dtype), framework.labels(LABELS))
    # Self outweighs every other candidate: what is left is the distance to the positive.
    apart = np.linalg.norm(rows - rows[[2, 3, 0, 1, 6, 7, 4, 5]], axis=1)
    want = (apart if similarity == "neg_euclidean" else apart**2) / temperature
    digits = {"float32": 1e-6, "float64": 1e-14}[dtype]
    np.testing.assert_allclose(framework.read(losses), want, rtol=digits)


@SIMILARITIES
@FEATURES
def test_duplicates_among_far_rows(framework, dtype, similarity, features):
    """A distance of 0 beside large ones is 0, with the gradient 0."""
    rows = 100 * noise(features).astype(np.float32)
    rows[4:] = rows[:4]
    temperature = 1.0 if similarity == "neg_euclidean" else 100.0
    loss = nf.NTXent(similarity=similarity, temperature=temperature, denominator="own_positive")
    views = [framework.asarray(x, dtype) for x in (rows[:4], rows[4:])]
    losses = nf.NTXent(
        similarity=similarity, temperature=temperature, denominator="negatives", reduction="none"
    )(*views)
    distances = np.linalg.norm(rows[:4, None] - rows[None, :4].astype(float), axis=2)
    nearest = np.where(np.eye(4, dtype=bool), np.inf, distances).min(1)
    want = -(nearest if similarity == "neg_euclidean" else nearest**2) / temperature
    got = framework.read(losses)[:4]
    # Each neighbour stands there twice, in both views: log 2, and a little for those behind it.
    assert (np.abs(got - want) < 1.5).all()
    value, gradients = loss.value_and_grad(*views)
    assert float(value) < 1e-6
    assert all((np.abs(framework.read(g)) < 1e-6).all() for g in gradients)

"""The dense formulas against the loops, and their gradients against differences of the loops."""

from functools import wraps
from inspect import Parameter, Signature, signature

import numpy as np
import pytest
import torch

from oracles import (
    batchtriplet,
    clip,
    conventions,
    dense,
    differences,
    hcl,
    infonce,
    ntxent,
    pairmargin,
    siglip,
    supcon,
    supcr,
    triplet,
)

RNG = np.random.default_rng(5)
X = RNG.normal(size=(6, 3)) * np.linspace(0.5, 2.0, 6)[:, None]
LABELS = [0, 1, 0, 2, 0, 1]  # classes of three, two and one
QUERY, POSITIVE, QUEUE = X[:3], X[3:] + 0.3, RNG.normal(size=(4, 3))
OWN = RNG.normal(size=(3, 2, 3))
# Views of which some anchors are at HCL's floor and some are not, none near it.
_RNG = np.random.default_rng(543)
VIEW = _RNG.normal(size=(3, 3)) * _RNG.uniform(0.5, 2.0, size=(3, 1))
VIEWS = [VIEW, VIEW + 0.8 * _RNG.normal(size=(3, 3))]
# Targets that tie: from several rows, and all from the row in the middle.
TARGETS = {
    "numbers": [0.25, 1.0, 0.5, 0.75, 1.0, -0.25],
    "rows": [[0.0, 0.0], [3.0, 4.0], [5.0, 0.0], [0.0, 5.0], [4.0, 3.0], [0.0, 0.0]],
    "integers": [[0, 0], [3, 4], [5, 0], [7, 0], [4, 3], [0, 1]],
}
ANCHOR, NEAR, FAR = X[:4], X[:4] + 0.7 * RNG.normal(size=(4, 3)), RNG.normal(size=(4, 3))
# An upstream vector without symmetry: the mean and the sum are only two of its directions.
WEIGHTS = np.array([0.7, -1.1, 0.4, 2.0, 1.3, -0.6])


def each(every, field=None):
    """Tries a test on all fields of `every`, in one test for each value of `field`."""
    groups = {}
    for fields in every:
        groups.setdefault(fields[field] if field else "every", []).append(fields)

    def loop(test):
        @wraps(test)
        def looped(group, **rest):
            for fields in group:
                try:
                    test(fields, **rest)
                except AssertionError as error:
                    raise AssertionError(conventions.name(fields)) from error

        _, *rest = signature(test).parameters.values()
        kind = Parameter.POSITIONAL_OR_KEYWORD
        looped.__signature__ = Signature([Parameter("group", kind), *rest])
        return pytest.mark.parametrize("group", groups.values(), ids=groups)(looped)

    return loop


SUPCON = each(conventions.SUPCON, "similarity")
NTXENT = each(conventions.NTXENT)
INFONCE = each(conventions.INFONCE)
DCL = each(conventions.DCL)
HCL = each(conventions.HCL, "similarity")
CLIP = each(conventions.CLIP)
SIGLIP = each(conventions.SIGLIP)
SUPCR = each(conventions.SUPCR)
TRIPLET = each(conventions.TRIPLET)
BATCHTRIPLET = each(conventions.BATCHTRIPLET, "mining")
PAIRMARGIN = each(conventions.PAIRMARGIN)


def agree(loop, formula, arrays, slopes_of=None):
    """Value for every reduction; gradient of the mean and of a weighted sum of the anchors.

    `slopes_of` is the loop to difference, where that is not the one that gives the value.
    """
    slopes_of = slopes_of or loop
    leaves = [torch.tensor(x, requires_grad=True) for x in arrays]
    lists = [x.tolist() for x in arrays]
    for reduction in conventions.REDUCTIONS:
        want = np.array(loop(*lists, reduction=reduction))
        got = formula(*leaves, reduction=reduction)
        assert got.shape == want.shape
        np.testing.assert_allclose(got.detach(), want, rtol=1e-13, atol=1e-13)

    def weighted(*rows):
        losses = slopes_of(*rows, reduction="none")
        return sum(w * loss for w, loss in zip(WEIGHTS.tolist(), losses, strict=False))

    losses = formula(*leaves, reduction="none")
    upstream = torch.tensor(WEIGHTS[: len(losses)])
    slopes = torch.autograd.grad(losses, leaves, upstream, retain_graph=True)
    for got, want in zip(slopes, differences.gradient(weighted, arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)
    slopes = torch.autograd.grad(formula(*leaves), leaves)
    for got, want in zip(slopes, differences.gradient(slopes_of, arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)


@SUPCON
def test_supcon(fields):
    fields = {**fields, "temperature": 0.6, "scale": 1.5}
    agree(
        lambda x, **more: supcon.supcon(x, LABELS, **fields, **more),
        lambda x, **more: dense.supcon(x, LABELS, **fields, **more),
        [X],
    )


@NTXENT
def test_ntxent(fields):
    agree(
        lambda a, b, **more: ntxent.ntxent(a, b, **fields, **more),
        lambda a, b, **more: dense.ntxent(a, b, **fields, **more),
        [QUERY, POSITIVE],
    )


@INFONCE
@pytest.mark.parametrize("negatives", [(), (QUEUE,), (OWN,)], ids=["batch", "queue", "own"])
def test_infonce(fields, negatives):
    fields = {**fields, "temperature": 0.6}
    agree(
        lambda *rows, **more: infonce.infonce(*rows, **fields, **more),
        lambda *rows, **more: dense.infonce(*rows, **fields, **more),
        [QUERY, POSITIVE, *negatives],
    )


@DCL
def test_dcl(fields):
    agree(
        lambda a, b, **more: ntxent.dcl(a, b, **fields, scale=1.5, **more),
        lambda a, b, **more: dense.dcl(a, b, **fields, scale=1.5, **more),
        [QUERY, POSITIVE],
    )


@HCL
def test_hcl(fields):
    """Detached weights have the slope of weights that stay where they are."""
    fields = {**fields, "temperature": 0.6, "scale": 1.5}
    held = {"weights_at": VIEWS} if fields["detach_weights"] else {}
    agree(
        lambda a, b, **more: hcl.hcl(a, b, **fields, **more),
        lambda a, b, **more: dense.hcl(a, b, **fields, **more),
        VIEWS,
        slopes_of=lambda a, b, **more: hcl.hcl(a, b, **fields, **held, **more),
    )


@HCL
def test_hcl_is_tried_on_both_sides_of_its_floor(fields):
    found = hcl.estimates(*VIEWS, **fields, temperature=0.6)
    at_floor = [raw < floor for _, raw, floor in found]
    if fields["tau_plus"] > 0:
        assert any(at_floor)
        assert not all(at_floor)
    assert min(abs(raw - floor) for _, raw, floor in found) > 0.05


@CLIP
def test_clip(fields):
    fields = {**fields, "temperature": 0.6, "scale": 1.5}
    agree(
        lambda x, y, **more: clip.clip(x, y, **fields, **more),
        lambda x, y, **more: dense.clip(x, y, **fields, **more),
        [QUERY, POSITIVE],
    )


@SIGLIP
def test_siglip(fields):
    fields = {**fields, "temperature": 0.6, "bias": -1.5, "scale": 1.5}
    agree(
        lambda x, y, **more: siglip.siglip(x, y, **fields, **more),
        lambda x, y, **more: dense.siglip(x, y, **fields, **more),
        [QUERY, POSITIVE],
    )


@SUPCR
@pytest.mark.parametrize("targets", TARGETS.values(), ids=TARGETS)
def test_supcr(fields, targets):
    fields = {**fields, "temperature": 0.6, "scale": 1.5}
    agree(
        lambda x, **more: supcr.supcr(x, targets, **fields, **more),
        lambda x, **more: dense.supcr(x, targets, **fields, **more),
        [X],
    )


@TRIPLET
def test_triplet(fields):
    fields = {**fields, "margin": 0.3, "scale": 1.5}
    losses = triplet.triplet(ANCHOR, NEAR, FAR, **fields, reduction="none")
    assert 0 < losses.count(0) < 4
    agree(
        lambda *rows, **more: triplet.triplet(*rows, **fields, **more),
        lambda *rows, **more: dense.triplet(*rows, **fields, **more),
        [ANCHOR, NEAR, FAR],
    )


# By which some triplets are semihard under every distance.
MARGINS = {**dict.fromkeys(conventions.DISTANCES, 1.1), "sqeuclidean": 1.7}
SHARED = {
    "classes": LABELS,
    # Row 1 shares with every other row but the last, which has no label at all.
    "multi-hot": [[1, 0, 0], [1, 1, 1], [0, 1, 0], [1, 0, 1], [0, 0, 1], [0, 0, 0]],
    # Row 1 shares with all: an anchor without negatives.
    "no negatives": [[1, 0], [1, 1], [0, 1], [1, 0], [0, 1], [1, 0]],
}


@BATCHTRIPLET
@pytest.mark.parametrize("labels", SHARED.values(), ids=SHARED)
def test_batchtriplet(fields, labels):
    fields = {**fields, "margin": MARGINS[fields["distance"]], "scale": 1.5}
    agree(
        lambda x, **more: batchtriplet.batchtriplet(x, labels, **fields, **more),
        lambda x, **more: dense.batchtriplet(x, labels, **fields, **more),
        [X],
    )


@pytest.mark.parametrize("distance", conventions.DISTANCES)
def test_no_way_of_mining_is_another(distance):
    """On the rows that they are tried on; a semihard triplet without a loss is a tie."""
    values = {
        batchtriplet.batchtriplet(X.tolist(), LABELS, **fields, margin=MARGINS[distance])
        for fields in conventions.BATCHTRIPLET
        if fields["distance"] == distance
    }
    assert len(values) == 2 * (len(conventions.MINING) - 1)


@BATCHTRIPLET
@pytest.mark.parametrize("labels", [[7] * 6, [*range(6)], [0]], ids=["one class", "apart", "row"])
def test_no_triplet(fields, labels):
    x = torch.tensor(X[: len(labels)], requires_grad=True)
    for reduction in conventions.REDUCTIONS:
        rows = x.detach().tolist()
        want = batchtriplet.batchtriplet(rows, labels, **fields, reduction=reduction)
        got = dense.batchtriplet(x, labels, **fields, reduction=reduction)
        assert got.tolist() == want
        assert not np.any(want)
        (slope,) = torch.autograd.grad(got.sum(), x)
        assert (slope == 0).all()


def test_batchtriplet_on_a_grid():
    """Distances that tie, some of them exactly at the margin; counts decide the mean."""
    grid = np.random.default_rng(3).integers(0, 4, size=(9, 2)) / 2
    labels = [0, 1, 2, 0, 1, 0, 1, 0, 3]
    for fields in conventions.BATCHTRIPLET:
        if fields["distance"] in ("sqeuclidean", "cityblock", "chebyshev"):
            got = dense.batchtriplet(torch.tensor(grid), labels, **fields, margin=0.5)
            want = batchtriplet.batchtriplet(grid.tolist(), labels, **fields, margin=0.5)
            assert abs(float(got) - want) < 1e-15


def test_batchtriplet_by_hand():
    """On a line: anchor 0 has positives at 1 and 3, negatives at 1, 2, 3.5 and 4; margin 1."""
    rows, labels = [[0.0], [1.0], [3.0], [-1.0], [2.0], [-3.5], [4.0]], [0, 0, 0, 1, 2, 3, 4]
    for mining, first in (
        ("all", (1 + 0) + (3 + 2 + 0.5 + 0)),
        ("hard", 3 - 1 + 1),
        ("semihard", 0 + 0.5),
        ("all_semihard", 0 + 0.5 + 0),
    ):
        got = batchtriplet.batchtriplet(rows, labels, margin=1.0, mining=mining, reduction="none")
        assert got[0] == first
        assert got[3:] == [0, 0, 0, 0]


def test_counts_by_hand():
    """Anchor 0 with losses of 0.5 and, at the margin, 0; anchor 1 without; two singletons."""
    rows, labels = [[0.0], [1.0], [-1.5], [-2.0]], [0, 0, 1, 2]
    for mining, count, triplets in (
        ("all", "active", 1),
        ("all", "all", 4),
        ("hard", "active", 2),
        ("semihard", "active", 2),
        ("all_semihard", "active", 1),
        ("all_semihard", "all", 2),
    ):
        for without_positives, more in (("skip", 0), ("zero", 2)):
            got = batchtriplet.batchtriplet(
                *(rows, labels),
                **{"margin": 1.0, "mining": mining, "count": count},
                without_positives=without_positives,
            )
            assert got == 0.5 / (triplets + more)


@PAIRMARGIN
@pytest.mark.parametrize("labels", SHARED.values(), ids=SHARED)
def test_pairmargin(fields, labels):
    fields = {**fields, "margin": 1.3, "scale": 1.5}
    agree(
        lambda x, **more: pairmargin.pairmargin(x, labels, **fields, **more),
        lambda x, **more: dense.pairmargin(x, labels, **fields, **more),
        [X],
    )


def test_pairmargin_by_hand():
    """Pairs at 1 (one class), 2 and 3 (two classes) from each other; margin 2.5."""
    got = pairmargin.pairmargin([[0.0], [1.0], [3.0]], [0, 0, 1], margin=2.5, reduction="none")
    np.testing.assert_allclose(got, [1 / 4, (1 + 0.25) / 4, 0.25 / 4], rtol=1e-15)
    got = pairmargin.pairmargin([[0.0], [1.0], [3.0]], [0, 0, 1], margin=2.5)
    np.testing.assert_allclose(got, (1 + 0.25 + 0) / 2 / 3, rtol=1e-15)


LEARNED = {
    "hcl": (hcl.hcl, dense.hcl, VIEWS, (), {}),
    "hcl-dot": (hcl.hcl, dense.hcl, VIEWS, (), {"similarity": "dot", "beta": 0.5}),
    "clip": (clip.clip, dense.clip, VIEWS, (), {}),
    "siglip": (siglip.siglip, dense.siglip, VIEWS, (), {"bias": -1.5}),
    "supcr": (supcr.supcr, dense.supcr, [X], (TARGETS["numbers"],), {}),
}


@pytest.mark.parametrize("case", LEARNED)
def test_temperature_and_bias(case):
    """Slopes by the scalars, which the library learns."""
    loop, formula, rows, labels, fields = LEARNED[case]
    start = {"temperature": 0.6} | {key: fields[key] for key in ("bias",) if key in fields}
    scalars = {key: torch.tensor(x, requires_grad=True) for key, x in start.items()}
    got = torch.autograd.grad(
        formula(*map(torch.tensor, rows), *labels, **{**fields, **scalars}), [*scalars.values()]
    )
    want = differences.gradient(
        lambda *x: loop(*rows, *labels, **{**fields, **dict(zip(start, x, strict=True))}),
        [*start.values()],
    )
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)


def test_label_distances_round_as_their_dtype_does():
    """From 64, 0.01 and -0.01 are equally far in float16, 1e-6 and -1e-6 in float32 as well."""
    for dtype, ties in (("float16", 2), ("float32", 1), ("float64", 0)):
        far, *near = np.array([64.0, 0.01, -0.01, 1e-6, -1e-6], dtype=dtype)
        for kind in ("l1", "l2"):
            ((_, *d), *_) = supcr.label_distances(np.array([far, *near]), kind)
            assert d[0].dtype == dtype
            assert int(d[0] == d[1]) + int(d[2] == d[3]) == ties


def test_label_distances_of_integers_are_exact():
    assert supcr.label_distances(np.array([3, 5], dtype=np.uint8), "l1")[0][1] == 2
    great = 2**53
    assert supcr.label_distances([0, great, great + 1], "l1")[0][1:] == [great, great + 1]
    assert supcr.label_distances([[0, 0], [3, 4], [5, 0]], "l2")[0] == [0, 25, 25]
    assert supcr.label_distances([[0.0, 0.0], [3.0, 4.0]], "l2")[0] == [0, 5]


@SUPCON
@pytest.mark.parametrize("labels", [[1] * 6, [*range(6)]], ids=["one class", "all singletons"])
def test_degenerate_labels(fields, labels):
    x = torch.tensor(X, requires_grad=True)
    for reduction in conventions.REDUCTIONS:
        got = dense.supcon(x, labels, **fields, reduction=reduction)
        want = supcon.supcon(X.tolist(), labels, **fields, reduction=reduction)
        np.testing.assert_allclose(got.detach(), want, rtol=1e-12, atol=1e-12)
        (slope,) = torch.autograd.grad(got.sum(), x)
        assert slope.isfinite().all()


def test_multi_hot_labels_share_a_place():
    """Row 3 is all zero and has no positive; row 0 shares one label with each of rows 1 and 2."""
    labels = [[1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]]
    rows = X[:4].tolist()
    got = supcon.supcon(rows, labels, similarity="dot", temperature=1.0, reduction="none")
    z = X[:4] @ X[:4].T
    others = np.exp(z).sum(1) - np.exp(np.diag(z))
    want = np.log(others) - [(z[0, 1] + z[0, 2]) / 2, z[1, 0], z[2, 0], 0]
    want[3] = 0
    np.testing.assert_allclose(got, want, rtol=1e-12)
    formula = dense.supcon(
        torch.tensor(X[:4]), labels, similarity="dot", temperature=1.0, reduction="none"
    )
    np.testing.assert_allclose(formula, want, rtol=1e-12)


@pytest.mark.parametrize("temperature", [1e-3, 1e3])
def test_extreme_temperatures(temperature):
    for fields in conventions.SUPCON:
        got = dense.supcon(torch.tensor(X), LABELS, **fields, temperature=temperature)
        want = supcon.supcon(X.tolist(), LABELS, **fields, temperature=temperature)
        assert np.isfinite(want)
        np.testing.assert_allclose(float(got), want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("temperature", [1e-3, 1e3])
@pytest.mark.parametrize("loss", ["hcl", "clip", "siglip", "supcr"])
def test_extreme_temperatures_of_the_others(loss, temperature):
    loop, formula, rows, labels, _ = LEARNED[loss]
    for fields in getattr(conventions, loss.upper()):
        leaves = [torch.tensor(x, requires_grad=True) for x in rows]
        got = formula(*leaves, *labels, **fields, temperature=temperature)
        want = loop(*rows, *labels, **fields, temperature=temperature)
        assert np.isfinite(want)
        np.testing.assert_allclose(got.detach(), want, rtol=1e-12, atol=1e-12)
        assert all(g.isfinite().all() for g in torch.autograd.grad(got, leaves))


@pytest.mark.parametrize("loss", ["hcl", "clip", "siglip", "supcr"])
def test_one_row_alone(loss):
    """Nothing to compare with is 0, without gradient; SigLIP still asks whether the pair is one."""
    loop, formula, rows, labels, _ = LEARNED[loss]
    rows, labels = [x[:1] for x in rows], [x[:1] for x in labels]
    leaves = [torch.tensor(x, requires_grad=True) for x in rows]
    for reduction in conventions.REDUCTIONS:
        got = formula(*leaves, *labels, reduction=reduction)
        want = loop(*rows, *labels, reduction=reduction)
        np.testing.assert_allclose(got.detach(), want, rtol=1e-13)
        slopes = torch.autograd.grad(got.sum(), leaves)
        if loss != "siglip":
            assert not np.any(want)
            assert all((g == 0).all() for g in slopes)

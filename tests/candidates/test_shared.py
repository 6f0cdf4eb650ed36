"""Exponentials that serve several sums, against dense formulas in float64 on more rows than are
worked with at once."""

import numpy as np
import pytest
import torch

import nearfar as nf
from nearfar import codes
from nearfar.frameworks.numpy.namespace import NumPy
from nearfar.frameworks.torch.namespace import Torch

N = 200
OPTIONS = {"whole": {}, "some kept": {"tile": 150, "memory": 2**18}}


@pytest.fixture(autouse=True)
def few_at_once(monkeypatch):
    for framework in (NumPy, Torch):
        monkeypatch.setattr(framework, "at_once", lambda self, like: 64)


def rows(seed, n=N, d=6):
    return np.random.default_rng(seed).normal(size=(n, d))


X, Y = rows(0), rows(0) + 0.8 * rows(1)
GUIDE = rows(2), rows(2) + 0.7 * rows(3)
FEW = np.random.default_rng(4).integers(0, 150, N)  # of one or two rows each
MANY = np.repeat([5, 2, 9], [140, 40, 20])
LARGER = np.random.default_rng(5).integers(0, 4, N - 60)


def cosines(a, b):
    a, b = (x / x.norm(dim=1, keepdim=True) for x in (a, b))
    return a @ b.T


def without(s, g, theta, positive, margin):
    """Logits of which negatives above the thresholds are none."""
    return s.masked_fill((g > theta[:, None] - margin) & ~positive, -torch.inf)


def excluding(s, g, margin):
    """Cross-entropy of the diagonal."""
    eye = torch.eye(len(s), dtype=torch.bool)
    s = without(s, g, g.diagonal(), eye, margin)
    return (s.logsumexp(1) - s.diagonal()).mean()


def clip(x, y, guide, margin, t):
    s = cosines(x, y) / t
    g = s.detach() * t if guide is None else cosines(*guide)
    return (excluding(s, g, margin) + excluding(s.T, g.T, margin)) / 2


def ntxent(x, y, guide, margin, t):
    z = torch.cat([x, y])
    s = cosines(z, z) / t
    g = s.detach() * t if guide is None else cosines(*[torch.cat(guide)] * 2)
    n = len(z)
    partner = torch.arange(n).roll(n // 2)
    positive = torch.zeros(n, n, dtype=torch.bool)
    positive[range(n), partner] = True
    s = without(s, g, g[range(n), partner], positive, margin)
    s = s.masked_fill(torch.eye(n, dtype=torch.bool), -torch.inf)
    return (s.logsumexp(1) - s[range(n), partner]).mean()


def unicl(x, y, of_x, of_y, t):
    s = cosines(x, y) / t
    alike = torch.from_numpy(np.equal.outer(of_x, of_y))
    found = []
    for logits, mask in ((s, alike), (s.T, alike.T)):
        some = mask.any(1)
        each = (logits.log_softmax(1) * mask).sum(1) / mask.sum(1).clamp(min=1)
        found.append(-each[some].mean())
    return sum(found) / 2


def supcon(x, y, of_x, of_y, t, itself):
    """Of `x` among its others and a reference `y`; `itself`: one of an anchor's positives too."""
    s = cosines(x, torch.cat([x, y])) / t
    alike = torch.from_numpy(np.equal.outer(of_x, np.concatenate([of_x, of_y])))
    if not itself:
        own = torch.eye(*s.shape, dtype=torch.bool)
        s, alike = s.masked_fill(own, -torch.inf), alike & ~own
    some = alike.any(1)
    each = s.log_softmax(1).masked_fill(~alike, 0).sum(1) / alike.sum(1).clamp(min=1)
    return -each[some].mean()


def in_framework(framework, given, named):
    def array(x):
        if isinstance(x, tuple):
            return tuple(map(array, x))
        return torch.from_numpy(x) if framework == "torch" else x

    return [array(x) for x in given], {name: array(x) for name, x in named.items()}


def agree(loss, dense, given, named, dtype, framework):
    leaves = [torch.tensor(x, requires_grad=True) for x in given]
    want = dense(*leaves)
    gradients = torch.autograd.grad(want, leaves)
    close = 1e-9 if dtype == "float64" else 2e-5
    at, named = in_framework(framework, [x.astype(dtype) for x in given], named)
    for options in OPTIONS.values():
        value, found = loss.with_options(**options).value_and_grad(*at, **named)
        np.testing.assert_allclose(float(value), want.item(), rtol=close)
        for a, b in zip(found, gradients, strict=True):
            a, b = np.asarray(a), b.numpy()
            assert a.dtype == dtype
            np.testing.assert_allclose(a, b, rtol=0, atol=close * abs(b).max())


@pytest.mark.parametrize("framework", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("by", ["self", "guide"])
@pytest.mark.parametrize(("kind", "dense"), [(nf.CLIP, clip), (nf.NTXent, ntxent)])
def test_exclude(kind, dense, by, dtype, framework):
    guide = GUIDE if by == "guide" else None
    loss = kind(temperature=0.2, exclude=nf.Exclude(by=by, margin=0.15))
    named = {} if guide is None else {"guide": tuple(g.astype(dtype) for g in guide)}
    held = None if guide is None else tuple(map(torch.from_numpy, guide))

    def formula(x, y):
        return dense(x, y, held, 0.15, 0.2)

    agree(loss, formula, (X, Y), named, dtype, framework)


def agreeing_guide(near):
    """Of which pairs agree, and so many other rows, far from each other."""
    guide = rows(12, d=40)
    columns = guide + 0.3 * rows(13, d=40)
    for k in range(near):
        columns[N - 1 - 9 * k] = guide[11 * k] + 0.01 * columns[k]
    return guide, columns


@pytest.mark.parametrize("framework", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("near", [0, 1, 12])
@pytest.mark.parametrize(("kind", "dense"), [(nf.CLIP, clip), (nf.NTXent, ntxent)])
def test_tiles_of_which_nobody_or_one_is_left_out(kind, dense, near, dtype, framework):
    guide = agreeing_guide(near)
    loss = kind(temperature=0.2, exclude=nf.Exclude(margin=0.1))
    named = {"guide": tuple(g.astype(dtype) for g in guide)}
    held = tuple(map(torch.from_numpy, guide))

    def formula(x, y):
        return dense(x, y, held, 0.1, 0.2)

    x, y = map(torch.tensor, (X, Y))
    assert (formula(x, y) != dense(x, y, held, -3, 0.2)) == (near > 0)
    agree(loss, formula, (X, Y), named, dtype, framework)


@pytest.mark.parametrize("framework", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("margin", [-3, -0.2, 0.6])
@pytest.mark.parametrize(("kind", "dense"), [(nf.CLIP, clip), (nf.NTXent, ntxent)])
def test_nobody_few_or_most_left_out_by_their_own_similarity(kind, dense, margin, dtype, framework):
    near = X + 0.1 * rows(6)

    def formula(x, y):
        return dense(x, y, None, margin, 0.2)

    loss = kind(temperature=0.2, exclude=nf.Exclude(by="self", margin=margin))
    agree(loss, formula, (X, near), {}, dtype, framework)


@pytest.mark.parametrize("near", [0, 1])
def test_a_guide_in_half_precision_and_an_upstream_gradient(near):
    guide = [torch.tensor(g, dtype=torch.float16) for g in agreeing_guide(near)]
    loss = nf.CLIP(temperature=0.2, exclude=nf.Exclude(margin=0.1), reduction="none")
    leaves = [torch.tensor(x, requires_grad=True) for x in (X, Y)]
    upstream = torch.linspace(-3, 2, N, dtype=torch.float64)
    found = torch.autograd.grad(loss(*leaves, guide=guide), leaves, upstream)

    s, eye = cosines(*leaves) / 0.2, torch.eye(N, dtype=torch.bool)
    g = cosines(*(x.double() for x in guide))
    both = [without(a, b, g.diagonal(), eye, 0.1) for a, b in ((s, g), (s.T, g.T))]
    each = sum(x.logsumexp(1) - x.diagonal() for x in both) / 2
    want = torch.autograd.grad(each, leaves, upstream)
    for a, b in zip(found, want, strict=True):
        assert a.dtype == torch.float64
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9 * float(b.abs().max()))


@pytest.fixture(params=[0, 1], ids=["windows", "listed"])
def few(request, monkeypatch):
    """Which share of a tile positives are listed up to."""
    monkeypatch.setattr(codes, "_FEW", request.param)


@pytest.mark.parametrize("framework", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("ids", [(FEW, FEW), (MANY, MANY), (MANY, FEW[::-1].copy()), (FEW, LARGER)])
def test_ids(ids, dtype, framework, few):
    given = X, Y[: len(ids[1])]
    agree(
        nf.CLIP(temperature=0.2),
        lambda x, y: unicl(x, y, *ids, 0.2),
        given,
        {"ids": ids},
        dtype,
        framework,
    )


@pytest.mark.parametrize("framework", ["numpy", "torch"])
@pytest.mark.parametrize("itself", [False, "positive"])
@pytest.mark.parametrize("labels", [(FEW, LARGER), (MANY, MANY)])
def test_labels_with_a_reference(labels, itself, framework, few):
    loss = nf.SupCon(temperature=0.2, candidates="both", include_self=itself)

    given, reference = (X, labels[0]), (Y[: len(labels[1])], labels[1])
    leaves = [torch.tensor(x, requires_grad=True) for x in (X, reference[0])]
    want = supcon(*leaves, *labels, 0.2, bool(itself))
    gradients = torch.autograd.grad(want, leaves)
    at, _ = in_framework(framework, [*given, *reference], {})
    for options in OPTIONS.values():
        value, found = loss.with_options(**options).value_and_grad(*at)
        np.testing.assert_allclose(float(value), want.item(), rtol=1e-9)
        for a, b in zip(found, gradients, strict=True):
            np.testing.assert_allclose(np.asarray(a), b.numpy(), atol=1e-9 * abs(b.numpy()).max())


@pytest.mark.parametrize("framework", ["numpy", "torch"])
@pytest.mark.parametrize("by", ["self", "guide"])
def test_nan_stays_with_everybody(by, framework):
    """Whom it meets: nobody knows how near it is."""
    x = X.copy()
    x[7, 2] = np.nan
    given, named = in_framework(framework, (x, Y), {"guide": GUIDE} if by == "guide" else {})
    loss = nf.CLIP(exclude=nf.Exclude(by=by, margin=-0.3), reduction="none")
    value = np.asarray(loss.with_options(check_finite=False)(*given, **named))
    plain = nf.CLIP(reduction="none").with_options(check_finite=False)
    np.testing.assert_array_equal(np.isnan(value), np.isnan(np.asarray(plain(*given))))
    assert np.isnan(value[7])


@pytest.mark.parametrize("framework", ["numpy", "torch"])
@pytest.mark.parametrize("kind", [nf.CLIP, nf.NTXent])
def test_nobody_is_in_beside_nan_of_a_guide(kind, framework):
    """Whatever tiles there are."""
    guide = tuple(g.copy() for g in GUIDE)
    guide[1][11, 0] = np.nan
    (x, y), named = in_framework(framework, (X, Y), {"guide": guide})
    loss = kind(exclude=nf.Exclude(by="guide", margin=0.15), reduction="none")
    whole, tiles = (
        loss.with_options(check_finite=False, tile=tile)(x, y, **named) for tile in (512, 64)
    )
    np.testing.assert_allclose(np.asarray(tiles), np.asarray(whole), rtol=1e-12)
    assert np.isfinite(np.asarray(whole)).all()

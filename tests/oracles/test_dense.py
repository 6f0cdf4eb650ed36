"""The dense formulas against the loops, and their gradients against differences of the loops."""

import numpy as np
import pytest
import torch

from oracles import conventions, dense, differences, infonce, ntxent, supcon

RNG = np.random.default_rng(5)
X = RNG.normal(size=(6, 3)) * np.linspace(0.5, 2.0, 6)[:, None]
LABELS = [0, 1, 0, 2, 0, 1]  # classes of three, two and one
QUERY, POSITIVE, QUEUE = X[:3], X[3:] + 0.3, RNG.normal(size=(4, 3))
OWN = RNG.normal(size=(3, 2, 3))
# An upstream vector without symmetry: the mean and the sum are only two of its directions.
WEIGHTS = np.array([0.7, -1.1, 0.4, 2.0, 1.3, -0.6])

named = pytest.mark.parametrize
SUPCON = named("fields", conventions.SUPCON, ids=conventions.name)
NTXENT = named("fields", conventions.NTXENT, ids=conventions.name)
INFONCE = named("fields", conventions.INFONCE, ids=conventions.name)


def agree(loop, formula, arrays):
    """Value for every reduction; gradient of the mean and of a weighted sum of the anchors."""
    leaves = [torch.tensor(x, requires_grad=True) for x in arrays]
    lists = [x.tolist() for x in arrays]
    for reduction in conventions.REDUCTIONS:
        want = np.array(loop(*lists, reduction=reduction))
        got = formula(*leaves, reduction=reduction)
        assert got.shape == want.shape
        np.testing.assert_allclose(got.detach(), want, rtol=1e-13, atol=1e-13)

    def weighted(*rows):
        losses = loop(*rows, reduction="none")
        return sum(w * loss for w, loss in zip(WEIGHTS.tolist(), losses, strict=False))

    losses = formula(*leaves, reduction="none")
    upstream = torch.tensor(WEIGHTS[: len(losses)])
    slopes = torch.autograd.grad(losses, leaves, upstream, retain_graph=True)
    for got, want in zip(slopes, differences.gradient(weighted, arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)
    slopes = torch.autograd.grad(formula(*leaves), leaves)
    for got, want in zip(slopes, differences.gradient(loop, arrays), strict=True):
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

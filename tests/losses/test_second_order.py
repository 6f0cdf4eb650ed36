"""torch: derivatives of the gradient, against autograd through the dense formulas."""

import numpy as np
import pytest
import torch
from oracles import conventions, dense, hcl
from support.cases import LOSSES

import nearfar as nf

RNG = np.random.default_rng(61)
INPUT = torch.tensor(RNG.normal(size=(8, 5)))
OTHER = torch.tensor(RNG.normal(size=(8, 5)))
QUEUE = torch.tensor(RNG.normal(size=(6, 3)))
THIRD = torch.tensor(np.random.default_rng(62).normal(size=(8, 3)))
OWN = torch.tensor(RNG.normal(size=(8, 2, 3)))
UPSTREAM = torch.tensor(RNG.normal(size=8))
ROWS = RNG.normal(size=(6, 3))
LABELS = [0, 1, 0, 2, 1, 0, 3, 2]
# Some tie, and some are equally far on both sides.
TARGETS = [0.0, 1.0, 0.5, 2.0, 1.0, 0.0, 3.0, 2.0]
WEIGHTS = [torch.tensor(RNG.normal(size=shape)) for shape in ((5, 6), (6, 3))]


def penalty_gradient(loss):
    """Gradient by the weights of a two-layer model of loss + |d loss / d input|^2."""
    weights = [w.clone().requires_grad_() for w in WEIGHTS]
    inputs = [INPUT.clone().requires_grad_(), OTHER.clone().requires_grad_()]
    outputs = [torch.tanh(x @ weights[0]) @ weights[1] for x in inputs]
    value = loss(*outputs)
    slopes = torch.autograd.grad(value, inputs, create_graph=True, allow_unused=True)
    penalty = sum((s**2).sum() for s in slopes if s is not None)
    return torch.autograd.grad(value + penalty, weights)


def assert_same_penalty(loss, formula):
    for got, want in zip(penalty_gradient(loss), penalty_gradient(formula), strict=True):
        assert float((got - want).abs().max() / want.abs().max()) < 1e-9


@pytest.mark.parametrize("similarity", conventions.SIMILARITIES)
@pytest.mark.parametrize("denominator", conventions.DENOMINATORS)
@pytest.mark.parametrize(
    ("positives", "average"), conventions.POSITIVES, ids=lambda word: str(word)
)
def test_supcon(similarity, denominator, positives, average):
    fields = {
        "similarity": similarity,
        "denominator": denominator,
        "positives": positives,
        "average": average,
        "temperature": 0.5,
        "include_self": positives == "sum_log",
    }
    assert_same_penalty(
        lambda x, _: nf.SupCon(**fields)(x, LABELS),
        lambda x, _: dense.supcon(x, LABELS, **fields),
    )


@pytest.mark.parametrize("similarity", conventions.SIMILARITIES)
@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("NTXent", {}),
        ("DCL", {"temperature": 0.5}),
        ("HCL", {"temperature": 1.0, "tau_plus": 0.02}),
        ("HCL", {"temperature": 1.0, "tau_plus": 0.02, "beta": 0.0}),
        ("HCL", {"tau_plus": 0.0, "temperature": 1.0}),
        ("CLIP", {"temperature": 0.5}),
        ("SigLIP", {"temperature": 0.5, "bias": -1.5}),
    ],
)
def test_two_inputs(name, fields, similarity):
    fields = {**fields, "similarity": similarity}
    assert_same_penalty(
        getattr(nf, name)(**fields), lambda a, b: LOSSES[name].dense(a, b, **fields)
    )


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_no_anchor_of_hcl_is_at_the_floor(beta):
    """Under cosine; or the negatives would have no part in the derivatives above."""
    outputs = [torch.tanh(x @ WEIGHTS[0]) @ WEIGHTS[1] for x in (INPUT, OTHER)]
    fields = {"temperature": 1.0, "tau_plus": 0.02, "beta": beta}
    found = hcl.estimates(*(x.tolist() for x in outputs), **fields)
    assert all(raw > floor + 0.05 for _, raw, floor in found)


@pytest.mark.parametrize("fields", conventions.SUPCR, ids=conventions.name)
def test_supcr(fields):
    assert_same_penalty(
        lambda x, _: nf.SupCR(**fields)(x, TARGETS),
        lambda x, _: dense.supcr(x, TARGETS, **fields),
    )


@pytest.mark.parametrize("fields", conventions.TRIPLET, ids=conventions.name)
def test_triplet(fields):
    """With a margin that nobody keeps."""
    fields = {**fields, "margin": 200.0}
    assert_same_penalty(
        lambda a, p: nf.Triplet(**fields)(a, p, THIRD),
        lambda a, p: dense.triplet(a, p, THIRD, **fields),
    )


@pytest.mark.parametrize("similarity", conventions.SIMILARITIES)
@pytest.mark.parametrize("negatives", [None, QUEUE, OWN], ids=["batch", "queue", "own"])
def test_infonce(similarity, negatives):
    fields = {"similarity": similarity, "temperature": 0.5}
    assert_same_penalty(
        lambda q, k: nf.InfoNCE(**fields)(q, k, negatives),
        lambda q, k: dense.infonce(q, k, negatives, **fields),
    )


def test_tiled():
    """Classes cut by the tiles, and the upstream factor of a vector of losses."""
    weights = UPSTREAM
    fields = {"denominator": "own_positive", "reduction": "none"}
    loss = nf.SupCon(**fields).with_options(tile=3)
    assert_same_penalty(
        lambda x, _: weights @ loss(x, LABELS),
        lambda x, _: weights @ dense.supcon(x, LABELS, **fields),
    )


def test_multi_hot():
    labels = [
        [1, 1, 0],
        [0, 1, 0],
        [0, 0, 1],
        [1, 0, 1],
        [0, 0, 0],
        [1, 1, 1],
        [0, 1, 0],
        [0, 0, 1],
    ]
    assert_same_penalty(lambda x, _: nf.SupCon()(x, labels), lambda x, _: dense.supcon(x, labels))


def test_duplicates_and_zero_rows():
    """Where the distance is zero, and where there is no direction."""
    x = torch.tensor(ROWS)
    x[3] = x[0]
    x[4] = 0
    for similarity in ("cosine", "neg_euclidean"):
        leaf = x.clone().requires_grad_()
        value = nf.SupCon(similarity=similarity)(leaf, [0, 0, 1, 0, 1, 1])
        (slope,) = torch.autograd.grad(value, leaf, create_graph=True)
        (curvature,) = torch.autograd.grad((slope**2).sum(), leaf)
        assert slope.isfinite().all()
        assert curvature.isfinite().all()


def test_in_the_upstream_gradient():
    """The gradient is linear in what comes from above, and says so to autograd."""
    x = torch.tensor(ROWS, requires_grad=True)
    loss = nf.SupCon(reduction="none", temperature=0.7)
    assert torch.autograd.gradgradcheck(lambda rows: loss(rows, LABELS[:6]), (x,))
    upstream = UPSTREAM[:6].clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(x, LABELS[:6]), x, upstream, create_graph=True)
    direction = INPUT[:6, :3]
    (by_upstream,) = torch.autograd.grad((slope * direction).sum(), upstream)
    formula = dense.supcon(x, LABELS[:6], reduction="none", temperature=0.7)
    jacobian = torch.stack([torch.autograd.grad(one, x, retain_graph=True)[0] for one in formula])
    np.testing.assert_allclose(by_upstream, (jacobian * direction).sum((1, 2)), rtol=1e-10)


@pytest.mark.parametrize("denominator", conventions.DENOMINATORS)
def test_in_the_temperature(denominator):
    """Mixed second derivatives of a learned temperature and the embeddings."""

    def curvature(loss):
        x = torch.tensor(ROWS, requires_grad=True)
        t = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
        slopes = torch.autograd.grad(loss(x, t), (x, t), create_graph=True)
        return torch.autograd.grad(sum((s**2).sum() for s in slopes), (x, t))

    loss = nf.SupCon(denominator=denominator)
    got = curvature(lambda x, t: loss(x, LABELS[:6], temperature=t))
    want = curvature(
        lambda x, t: dense.supcon(x, LABELS[:6], temperature=t, denominator=denominator)
    )
    for one, other in zip(got, want, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-10)


def test_third_order():
    x = torch.tensor(ROWS[:4, :2], requires_grad=True)

    def third(loss):
        (slope,) = torch.autograd.grad(loss(x), x, create_graph=True)
        (curve,) = torch.autograd.grad((slope**2).sum(), x, create_graph=True)
        return torch.autograd.grad((curve**2).sum(), x)[0]

    got = third(lambda rows: nf.SupCon(temperature=1.0)(rows, [0, 1, 0, 1]))
    want = third(lambda rows: dense.supcon(rows, [0, 1, 0, 1], temperature=1.0))
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)

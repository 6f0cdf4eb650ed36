"""The temperature given at the call: a float, or a 0-d array that is differentiated."""

import numpy as np
import pytest
import torch
from oracles import dense, differences
from support.cases import LOSSES

import nearfar as nf

RNG = np.random.default_rng(51)
A, B = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 3))
QUEUE, OWN = RNG.normal(size=(4, 3)), RNG.normal(size=(5, 2, 3))
LABELS = [0, 1, 0, 1, 1]
TARGETS = [0.5, 1.0, 0.25, 4.0, 1.0]
CASES = {
    "ntxent": ("NTXent", (A, B), (), {}),
    "ntxent-negatives": ("NTXent", (A, B), (), {"denominator": "negatives"}),
    "ntxent-dot-self": ("NTXent", (A, B), (), {"similarity": "dot", "include_self": True}),
    "infonce": ("InfoNCE", (A, B), (), {}),
    "infonce-queue": ("InfoNCE", (A, B, QUEUE), (), {"similarity": "neg_euclidean"}),
    "infonce-own": ("InfoNCE", (A, B, OWN), (), {}),
    "supcon": ("SupCon", (A,), (LABELS,), {}),
    "supcon-own-pairs": (
        *("SupCon", (A,), (LABELS,)),
        {"denominator": "own_positive", "average": "pairs", "scale": 2.0},
    ),
    "supcon-own-log-sum": (
        *("SupCon", (A,), (LABELS,)),
        {"denominator": "own_positive", "positives": "log_sum", "similarity": "dot"},
    ),
    "supcon-negatives-log-mean": (
        *("SupCon", (A,), (LABELS,)),
        {"denominator": "negatives", "positives": "log_mean", "similarity": "neg_sqeuclidean"},
    ),
    "supcon-sum": ("SupCon", (A,), (LABELS,), {"reduction": "sum", "include_self": True}),
    "hcl": ("HCL", (A, B), (), {}),
    "hcl-dot": ("HCL", (A, B), (), {"similarity": "dot", "beta": 0.5, "tau_plus": 0.0}),
    "clip": ("CLIP", (A, B), (), {}),
    "siglip": ("SigLIP", (A, B), (), {"bias": -2.0, "similarity": "neg_sqeuclidean"}),
    "supcr": ("SupCR", (A,), (TARGETS,), {"order": "nearer"}),
}


def slope(name, inputs, labels, fields, temperature):
    rows = [x.tolist() for x in inputs]
    (derivative,) = differences.gradient(
        lambda t: LOSSES[name].loops(*rows, *labels, temperature=t, **fields), [temperature]
    )
    return float(derivative)


@pytest.mark.parametrize("case", CASES)
def test_value_and_grad(framework, case):
    """The temperature's gradient comes last, as a 0-d array; the others are as without it."""
    name, inputs, labels, fields = CASES[case]
    arrays = [framework.asarray(x) for x in inputs]
    labels = [framework.labels(x) for x in labels]
    t = framework.asarray(0.7)
    value, gradients = getattr(nf, name)(**fields).value_and_grad(*arrays, *labels, temperature=t)
    plain, others = getattr(nf, name)(**fields, temperature=0.7).value_and_grad(*arrays, *labels)
    assert abs(float(value) - float(plain)) < 1e-13 * 10
    assert len(gradients) == len(inputs) + 1
    assert tuple(gradients[-1].shape) == ()
    assert framework.dtype(gradients[-1]) == "float64"
    want = slope(*CASES[case][:3], fields, 0.7)
    assert abs(float(gradients[-1]) - want) < 1e-7 * max(1, abs(want))
    for got, other in zip(gradients, others, strict=False):
        np.testing.assert_allclose(framework.read(got), framework.read(other), atol=1e-13)


@pytest.mark.parametrize("case", CASES)
def test_autograd(case):
    """Alone and together with the embeddings, with an upstream factor."""
    name, inputs, labels, fields = CASES[case]
    leaves = [torch.tensor(x, requires_grad=True) for x in inputs]
    t = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    loss = getattr(nf, name)(**fields)
    want = torch.autograd.grad(
        3 * LOSSES[name].dense(*leaves, *labels, temperature=t, **fields), [*leaves, t]
    )
    got = torch.autograd.grad(3 * loss(*leaves, *labels, temperature=t), [*leaves, t])
    for one, other in zip(got, want, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
    plain = [x.detach() for x in leaves]
    (alone,) = torch.autograd.grad(loss(*plain, *labels, temperature=t), t)
    np.testing.assert_allclose(3 * alone, want[-1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_with_some_of_the_embeddings(case):
    """A queue without gradient takes nothing from the temperature's."""
    name, inputs, labels, fields = CASES[case]
    for wanted in range(len(inputs)):
        leaves = [torch.tensor(x, requires_grad=k == wanted) for k, x in enumerate(inputs)]
        t = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
        got = getattr(nf, name)(**fields)(*leaves, *labels, temperature=t)
        want = LOSSES[name].dense(*leaves, *labels, temperature=t, **fields)
        pairs = zip(
            torch.autograd.grad(got, (leaves[wanted], t)),
            torch.autograd.grad(want, (leaves[wanted], t)),
            strict=True,
        )
        for one, other in pairs:
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_with_some_of_the_embeddings_in_numpy(case):
    name, inputs, labels, fields = CASES[case]
    loss = getattr(nf, name)(**fields)
    _, gradients = loss.value_and_grad(*inputs, *labels, temperature=np.array(0.7), wrt=(0,))
    want = slope(name, inputs, labels, fields, 0.7)
    assert abs(float(gradients[-1]) - want) < 1e-7 * max(1, abs(want))


def test_vector_upstream_reaches_the_temperature():
    x = torch.tensor(A)
    t = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    upstream = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0], dtype=torch.float64)
    (want,) = torch.autograd.grad(
        dense.supcon(x, LABELS, temperature=t, reduction="none"), t, upstream
    )
    (got,) = torch.autograd.grad(nf.SupCon(reduction="none")(x, LABELS, temperature=t), t, upstream)
    assert abs(float(got - want)) < 1e-12


def test_float_at_the_call(framework):
    """A plain number replaces the field and has no gradient entry."""
    a, b = framework.asarray(A), framework.asarray(B)
    value, gradients = nf.NTXent(temperature=0.5).value_and_grad(a, b, temperature=0.7)
    want, _ = nf.NTXent(temperature=0.7).value_and_grad(a, b)
    assert float(value) == float(want)
    assert len(gradients) == 2


@pytest.mark.parametrize("temperature_dtype", ["float32", "float64"])
def test_dtype_of_the_temperature(framework, temperature_dtype):
    """Its gradient has its dtype; the value keeps that of the embeddings."""
    a, b = framework.asarray(A, "float32"), framework.asarray(B, "float32")
    t = framework.asarray(0.7, temperature_dtype)
    value, gradients = nf.NTXent().value_and_grad(a, b, temperature=t)
    assert framework.dtype(value) == "float32"
    assert [framework.dtype(g) for g in gradients] == ["float32", "float32", temperature_dtype]
    want = slope("NTXent", (A, B), (), {}, 0.7)
    assert abs(float(gradients[-1]) - want) < 1e-5


def test_learned_scale():
    """The usual log-scale parameter learns through the reciprocal."""
    a, b = torch.tensor(A), torch.tensor(B)
    log_scale = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    nf.InfoNCE()(a, b, temperature=torch.exp(-log_scale)).backward()
    want = -np.exp(-1.0) * slope("InfoNCE", (A, B), (), {}, np.exp(-1.0))
    assert abs(float(log_scale.grad) - want) < 1e-7


@pytest.mark.parametrize(("plain", "beyond"), [(2.0**-20, 2.0**-60), (2.0**14, 2.0**50)])
def test_of_rows_whose_squares_leave_the_dtype(framework, plain, beyond):
    """Logits near 0 and logits that saturate: the loss's slope grows as the rows do."""
    loss = nf.NTXent(similarity="neg_euclidean", denominator="negatives")
    t = framework.asarray(0.7, "float32")

    def found(size):
        views = [framework.asarray(size * x, "float32") for x in (A, B)]
        value, (a, _, slope) = loss.value_and_grad(*views, temperature=t)
        return float(value), framework.read(a), float(slope)

    (value, a, slope), (other, of_a, of_slope) = found(plain), found(beyond)
    assert of_slope == pytest.approx(slope * beyond / plain, rel=1e-4)
    np.testing.assert_allclose(of_a, a, atol=1e-4)
    assert other == pytest.approx(value * beyond / plain if beyond > 1 else value, rel=1e-4)

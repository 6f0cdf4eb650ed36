"""Sums of losses, and losses of prefixes: as their parts one by one, in every framework."""

import json
import pickle

import numpy as np
import pytest
import torch
from oracles import smoothap, supcon
from support.cases import batches_in

import nearfar as nf
from nearfar.testing import check_loss

RNG = np.random.default_rng(3)
X = RNG.normal(size=(12, 6)) * RNG.uniform(0.5, 2, (12, 1))
Y = RNG.normal(size=(12, 6))
LABELS = np.array([0, 1, 0, 2, 2, 1, 0, 3, 2, 1, 4, 4])

SUM = nf.SupCon(temperature=0.3) + 0.5 * nf.SmoothAP(temperature=0.2)
PREFIXES = nf.Matryoshka(nf.SupCon(temperature=0.3), dims=(2, 4), weights=(1.0, 0.3))
COMPOSED = [SUM, PREFIXES, 2 * nf.CLIP() + nf.SigLIP(), nf.Matryoshka(nf.InfoNCE(), dims=(3, 4))]


def test_value_of_a_sum_is_its_terms():
    rows, labels = X.tolist(), LABELS.tolist()
    want = supcon.supcon(rows, labels, temperature=0.3)
    want += 0.5 * smoothap.smoothap(rows, labels, temperature=0.2)
    assert abs(float(SUM(X, LABELS)) - want) < 1e-12


def test_value_of_prefixes():
    want = supcon.supcon(X[:, :2].tolist(), LABELS.tolist(), temperature=0.3)
    want += 0.3 * supcon.supcon(X[:, :4].tolist(), LABELS.tolist(), temperature=0.3)
    assert abs(float(PREFIXES(X, LABELS)) - want) < 1e-12


def test_gradient_of_a_sum(framework):
    x, y = framework.asarray(X), framework.labels(LABELS)
    value, (got,) = framework.read_derivatives(SUM, [x], y, upstream=3.0)
    parts = [framework.read_derivatives(term, [x], y, upstream=3.0) for term in SUM.terms]
    np.testing.assert_allclose(value, sum(v for v, _ in parts), rtol=1e-13)
    np.testing.assert_allclose(got, sum(g for _, (g,) in parts), rtol=0, atol=1e-12)


def test_gradient_of_prefixes(framework):
    y, want = framework.labels(LABELS), np.zeros_like(X)
    _, (got,) = framework.read_derivatives(PREFIXES, [framework.asarray(X)], y, upstream=3.0)
    for features, weight in ((2, 1.0), (4, 0.3)):
        prefix = framework.asarray(X[:, :features])
        _, (part,) = framework.read_derivatives(PREFIXES.loss, [prefix], y, upstream=3.0)
        want[:, :features] += weight * part
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("loss", COMPOSED, ids=repr)
def test_a_gradient_that_is_asked_for_again_is_the_same(loss):
    given = (X, LABELS) if "labels" in loss.inputs else (X, Y)
    leaves = [torch.tensor(x).requires_grad_(x.dtype == np.float64) for x in given]
    wanted = [x for x in leaves if x.requires_grad]
    value = 3.0 * loss(*leaves)
    once, again = (torch.autograd.grad(value, wanted, retain_graph=True) for _ in range(2))
    for one, other in zip(once, again, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("retain", [False, True])
def test_halves_are_multiplied_by_a_loss_scaler_first(retain):
    """Gradients that float16 has no numbers for are none after it."""
    loss = 1e-6 * nf.Matryoshka(nf.CLIP(), dims=(2, 5))
    pairs = []
    for dtype in (torch.float16, torch.float32):
        a, b = (torch.tensor(x, dtype=torch.float16).to(dtype).requires_grad_() for x in (X, Y))
        value = 2.0**16 * loss(a, b)
        value.backward(retain_graph=retain)
        if retain:
            a.grad = None
            value.backward()
        pairs.append(a.grad)
    assert pairs[0].dtype == torch.float16
    torch.testing.assert_close(pairs[0], pairs[1].to(torch.float16), rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("loss", COMPOSED, ids=repr)
def test_is_a_statement(loss):
    assert check_loss(loss, frameworks=["numpy"]).left_out == ["values: no reference was given"]
    again = nf.loss_from_dict(json.loads(json.dumps(loss.to_dict())))
    assert again == loss
    assert hash(again) == hash(loss)
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert isinstance(loss, nf.Loss)


# What is composed are calls of losses, the same in every framework: where it compiles, half each.
IN = [("torch", loss) for loss in COMPOSED]
IN += [("tensorflow", loss) for loss in COMPOSED[1:3]] + [("jax", loss) for loss in COMPOSED[::3]]


@pytest.mark.long
@pytest.mark.parametrize(("name", "loss"), IN, ids=str)
def test_frameworks(name, loss):
    if name == "jax":
        pytest.importorskip("jax").config.update("jax_enable_x64", True)
    check_loss(loss, batches=batches_in([name], loss), frameworks=[name])


def test_a_sum_is_flat_and_scaled():
    a, b, c = nf.NTXent(), nf.DCL(), nf.HCL()
    assert a + 0.5 * b == nf.WeightedSum(terms=(a, nf.DCL(scale=0.5)))
    assert (a + b) * 2 + c == nf.WeightedSum(terms=(2 * a, 2 * b, c))
    assert sum([a, b, c]) == a + b + c
    assert np.float64(0.5) * a == nf.NTXent(scale=0.5)


def test_a_matryoshka_takes_its_loss_without_a_name():
    assert nf.Matryoshka(nf.NTXent()) == nf.Matryoshka(loss=nf.NTXent(), dims=(64, 128, 256))


def test_options_reach_the_terms():
    tiled = SUM.with_options(tile=3)
    assert tiled == SUM
    assert float(tiled(X, LABELS)) == pytest.approx(float(SUM(X, LABELS)), rel=1e-13)
    with pytest.raises(ValueError, match="fused"):
        SUM.with_options(kernel="fused")(X, LABELS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nf.SupCon() + nf.NTXent(), r"same inputs.*SupCon.*NTXent"),
        (lambda: nf.SupCon(reduction="none") + nf.SupCon(), 'reduction="none"|vector'),
        (lambda: nf.WeightedSum(terms=()), "terms"),
        (lambda: nf.WeightedSum(terms=(1,)), "nearfar loss"),
        (lambda: nf.Matryoshka(3), "nearfar loss"),
        (lambda: nf.Matryoshka(nf.NTXent(), dims=(8, 4)), "dims"),
        (lambda: nf.Matryoshka(nf.NTXent(), dims=(4, 8), weights=(1.0,)), "weights for each of 2"),
        (lambda: nf.Matryoshka(nf.NTXent())(X, Y), r"at least 256 features.*\(12, 6\)"),
        (lambda: SUM(X, LABELS, temperature=0.1), "temperature"),
    ],
)
def test_refusals(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_no_product_with_other_things():
    for wrong in (True, "2", nf.DCL()):
        with pytest.raises(TypeError):
            nf.NTXent() * wrong
    with pytest.raises(TypeError):
        nf.NTXent() + 1

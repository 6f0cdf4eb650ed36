"""torch: what a loss does inside a training loop."""

import numpy as np
import pytest
import torch
from support.agreement import assert_gradients, assert_value, truth
from support.backends import FRAMEWORKS
from torch.utils.checkpoint import checkpoint

import nearfar as nf
from nearfar.frameworks.memory import Spare, Stores
from nearfar.frameworks.torch import namespace as torch_framework

RNG = np.random.default_rng(71)
A, B = RNG.normal(size=(6, 4)), RNG.normal(size=(6, 4))
QUEUE = RNG.normal(size=(5, 4))
LABELS = torch.tensor([0, 1, 0, 2, 1, 0])
TARGETS = torch.tensor([0.5, 1.0, 4.0, 2.0, 1.0, 0.0, 3.5, 8.0, 0.25, 6.0, 2.0, 7.0])
TORCH = FRAMEWORKS["torch"]


def leaf(x, dtype="float64"):
    return TORCH.asarray(x, dtype).requires_grad_()


CALLS = {
    "ntxent": lambda a, b: nf.NTXent()(a, b),
    "infonce": lambda a, b: nf.InfoNCE()(a, b),
    "supcon": lambda a, b: nf.SupCon()(torch.cat([a, b]), torch.cat([LABELS, LABELS])),
    "supcon-own": lambda a, b: nf.SupCon(denominator="own_positive", reduction="none")(
        torch.cat([a, b]), torch.cat([LABELS, LABELS])
    ).sum(),
    "hcl": lambda a, b: nf.HCL()(a, b),
    "clip": lambda a, b: nf.CLIP()(a, b),
    "siglip": lambda a, b: nf.SigLIP()(a, b),
    "supcr": lambda a, b: nf.SupCR()(torch.cat([a, b]), TARGETS),
    "triplet": lambda a, b: nf.Triplet(margin=5.0)(a, b, a.flip(0)),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_autocast_changes_nothing(call):
    """Scores in bfloat16 would be wrong in the third digit."""
    a, b = leaf(A, "float32"), leaf(B, "float32")
    outside = call(a, b)
    want = torch.autograd.grad(outside, (a, b))
    with torch.autocast(a.device.type, dtype=torch.bfloat16):
        inside = call(a, b)
        got = torch.autograd.grad(inside, (a, b))
    assert inside.dtype == torch.float32
    assert torch.equal(inside, outside)
    for one, other in zip(got, want, strict=True):
        assert torch.equal(one, other)


def test_second_order_under_autocast():
    """Loss and gradient inside, the penalty's own backward outside, as torch advises."""

    def curvature(enabled):
        a, b = leaf(A, "float32"), leaf(B, "float32")
        with torch.autocast(a.device.type, dtype=torch.bfloat16, enabled=enabled):
            (slope,) = torch.autograd.grad(nf.NTXent()(a, b), a, create_graph=True)
        return torch.autograd.grad((slope**2).sum(), a)[0]

    assert torch.equal(curvature(True), curvature(False))


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_backward_twice(call):
    a, b = leaf(A), leaf(B)
    value = call(a, b)
    value.backward(retain_graph=True)
    once = a.grad.clone()
    value.backward()
    torch.testing.assert_close(a.grad, 2 * once, rtol=1e-14, atol=0)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_gradients_accumulate_with_the_upstream_factor(call):
    a, b = leaf(A), leaf(B)
    (want,) = torch.autograd.grad(call(a, b), a)
    (3 * call(a, b) - call(a, b)).backward()
    torch.testing.assert_close(a.grad, 2 * want, rtol=1e-13, atol=1e-15)


def test_only_inputs_that_want_a_gradient_get_one():
    want = truth("InfoNCE", [A, B, QUEUE])
    for wanted in ((0,), (1,), (2,), (0, 2)):
        inputs = [TORCH.asarray(x).requires_grad_(i in wanted) for i, x in enumerate((A, B, QUEUE))]
        nf.InfoNCE()(*inputs).backward()
        for i, x in enumerate(inputs):
            if i in wanted:
                np.testing.assert_allclose(x.grad.cpu(), want.gradients[i], atol=1e-13)
            else:
                assert x.grad is None


def test_nothing_wants_a_gradient():
    want = truth("NTXent", [A, B])
    a, b = TORCH.asarray(A), TORCH.asarray(B)
    assert not nf.NTXent()(a, b).requires_grad
    with torch.no_grad():
        assert not nf.NTXent()(leaf(A), leaf(B)).requires_grad
    with torch.inference_mode():
        assert_value(TORCH, nf.NTXent()(a, b), want, "float64")


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_training_after_inference_mode(call, monkeypatch):
    """Buffers made by a validation step are written to by the training steps that follow."""
    monkeypatch.setattr(torch_framework, "_SPARE", Spare(torch_framework._empty))
    monkeypatch.setattr(torch_framework, "_STORES", Stores(torch_framework._empty))
    with torch.inference_mode():
        before = call(TORCH.asarray(A), TORCH.asarray(B))
    a, b = leaf(A), leaf(B)
    value = call(a, b)
    value.backward()
    assert torch.equal(value.detach(), before)
    assert a.grad.abs().max() > 0


@pytest.mark.parametrize("loss", [nf.NTXent(), nf.InfoNCE(), nf.CLIP(), nf.SigLIP()], ids=repr)
def test_shapes_alone(loss):
    """On the meta device, where models are planned that no memory holds."""
    a, b = (torch.empty(6, 4, device="meta", requires_grad=True) for _ in range(2))
    value = loss(a, b)
    value.backward()
    assert value.shape == ()
    assert a.grad.shape == b.grad.shape == (6, 4)


@pytest.mark.parametrize("reentrant", [True, False])
def test_inside_a_checkpoint(reentrant):
    a, b = leaf(A), leaf(B)
    want = torch.autograd.grad(nf.NTXent()(a, b), (a, b))
    (-3 * checkpoint(nf.NTXent(), a, b, use_reentrant=reentrant)).backward()
    for x, gradient in zip((a, b), want, strict=True):
        torch.testing.assert_close(x.grad, -3 * gradient)


def test_value_and_grad_leaves_the_tape_alone():
    """Detached results, `.grad` and the graph behind the inputs untouched."""
    source = leaf(A)
    a, b = source * 1.0, leaf(B)
    b.grad = torch.full_like(b, 7.0)
    want = truth("NTXent", [A, B])
    value, gradients = nf.NTXent().value_and_grad(a, b)
    assert_value(TORCH, value, want, "float64")
    assert_gradients(TORCH, gradients, want, "float64")
    assert not value.requires_grad
    assert not any(g.requires_grad for g in gradients)
    assert source.grad is None
    assert (b.grad == 7).all()


def test_value_and_grad_without_recording():
    """Works where autograd is off, and for tensors that never asked for a gradient."""
    want = truth("NTXent", [A, B])
    with torch.no_grad():
        _, gradients = nf.NTXent().value_and_grad(leaf(A), leaf(B))
    assert_gradients(TORCH, gradients, want, "float64")
    _, gradients = nf.NTXent().value_and_grad(TORCH.asarray(A), TORCH.asarray(B))
    assert_gradients(TORCH, gradients, want, "float64")


def test_one_tensor_as_both_views():
    x = leaf(A)
    nf.NTXent()(x, x).backward()
    want = truth("NTXent", [A, A])
    np.testing.assert_allclose(x.grad.cpu(), sum(want.gradients), atol=1e-13)


def test_views_of_one_batch():
    """Slices of one tensor: the gradient flows back through both."""
    x = leaf(np.concatenate([A, B]))
    nf.NTXent()(x[:6], x[6:]).backward()
    want = truth("NTXent", [A, B])
    np.testing.assert_allclose(x.grad.cpu(), np.concatenate(want.gradients), atol=1e-13)


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_loss_scaling_reaches_half_gradients_before_they_are_rounded(half):
    """A gradient of 1e-9 is zero in float16; times a scaler's 2^16 it must not be."""
    a, b = leaf(A, half), leaf(B, half)
    rounded = [TORCH.read(a), TORCH.read(b)]
    want = truth("NTXent", rounded, upstream=2.0**16, scale=2.0**-16)
    value = nf.NTXent(scale=2.0**-16)(a, b)
    got = torch.autograd.grad(value, (a, b), torch.tensor(2.0**16, device=value.device))
    assert_gradients(TORCH, got, want, half)


def test_gradcheck():
    """torch's own check of first derivatives, views and temperature together."""
    temperature = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)

    def call(a, b, t):
        return nf.NTXent(denominator="negatives", reduction="none")(a, b, temperature=t)

    a, b = (torch.tensor(x, requires_grad=True) for x in (A, B))
    assert torch.autograd.gradcheck(call, (a, b, temperature))


def test_a_model_trains():
    """The loss falls, and the weights hold no NaN."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    x, loss = torch.tensor(A, dtype=torch.float32), nf.SupCon(denominator="own_positive")
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    values = []
    for _ in range(20):
        optimiser.zero_grad()
        value = loss(model(x), LABELS)
        value.backward()
        optimiser.step()
        values.append(value.item())
    assert values[-1] < 0.5 * values[0]
    assert all(p.isfinite().all() for p in model.parameters())

"""What a program chose for its own products leaves a loss exact, and is as it was afterwards."""

import threading

import numpy as np
import pytest
import torch

import nearfar as nf
from nearfar.frameworks.torch import full_precision, precision

CHOICES = ["highest", "high", "medium"]
LOSSES = {
    "ntxent": nf.NTXent(temperature=0.05),
    "siglip": nf.SigLIP(),
    "euclidean": nf.NTXent(similarity="neg_sqeuclidean"),
    "supcr": nf.SupCR(),
}


@pytest.fixture(params=CHOICES)
def chosen(request):
    """As a training script chooses it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(request.param)
    yield request.param
    assert torch.get_float32_matmul_precision() == request.param
    torch.set_float32_matmul_precision(before)


def _batch(loss, device):
    x = torch.linspace(-1, 1, 300 * 64).reshape(300, 64).sin_().mul_(7).cos_()
    y = torch.linspace(-2, 1, 300 * 64).reshape(300, 64).cos_().mul_(5).sin_()
    second = torch.arange(300.0) % 7 if loss.inputs[1] == "targets" else y
    return x.to(device), second.to(device)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_values_and_gradients(loss, chosen, device):
    x, y = _batch(loss, device)
    want, gradients = loss.value_and_grad(
        np.asarray(x.double().cpu()), np.asarray(y.double().cpu())
    )
    value, found = loss.value_and_grad(x, y)
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(float(want), rel=3e-6)
    for g, h in zip(found, gradients, strict=True):
        assert np.abs(np.asarray(g.cpu()) - h).max() < 1e-5 * np.abs(h).max()
    leaf = x.clone().requires_grad_()
    (3 * loss(leaf, y)).backward()
    assert (
        np.abs(np.asarray(leaf.grad.cpu()) - 3 * gradients[0]).max()
        < 3e-5 * abs(gradients[0]).max()
    )


def test_matrix_units_leave_calls_beside_exact():
    """Products of cut factors are TF32's while their call is the only one."""
    cuda = precision._CUDA
    before = cuda._get()
    cuda._set("tf32")  # as the program around it chose
    with cuda:
        assert cuda._get() != "tf32"
        with cuda.by_matrix_units():
            assert cuda._get() == "tf32"
            with cuda:
                assert cuda._get() != "tf32"
        assert cuda._get() != "tf32"
        with cuda, cuda.by_matrix_units():
            assert cuda._get() != "tf32"
    assert cuda._get() == "tf32"
    cuda._set(before)


def test_calls_that_overlap(chosen, device):
    """The last one to leave gives the program its setting back."""
    inputs = (torch.ones(1, device=device),)
    inside, done = threading.Event(), threading.Event()

    def longer():
        with full_precision(inputs):
            inside.set()
            done.wait(60)

    thread = threading.Thread(target=longer)
    thread.start()
    assert inside.wait(60)
    with full_precision(inputs):
        pass
    x, y = _batch(LOSSES["ntxent"], device)
    exact = x.double() @ y.double().T
    assert ((x @ y.T) - exact).abs().max() < 1e-4  # the longer call is still inside
    done.set()
    thread.join()

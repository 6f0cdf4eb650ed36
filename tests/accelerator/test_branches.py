"""What PyTorch does on an accelerator, with numbers: on one, or on the CPU taken for one."""

import numpy as np
import pytest
import torch
from support.cases import CASES

import nearfar as nf
from nearfar.frameworks.torch import NAMESPACE
from nearfar.frameworks.torch.pure import Pure

UPSTREAM = 3.0


@pytest.fixture(autouse=True)
def taken_for_one(monkeypatch, device):
    """The CPU answers as a GPU would: nothing is read for free, and sums are not in order."""
    if device.type != "cpu":
        return
    monkeypatch.setattr(Pure, "accelerated", lambda self, x: True)

    def refused(*_):
        raise RuntimeError("cumsum has no deterministic implementation")

    monkeypatch.setattr(torch, "cumsum", refused)


@pytest.fixture(autouse=True)
def deterministic():
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


def _inputs(case, device, dtype=torch.float64):
    embeddings = [torch.tensor(x, dtype=dtype, device=device) for x in case.embeddings]
    return embeddings, [torch.as_tensor(x).to(device) for x in case.labels]


def _agree(found, wanted, relative):
    for got, want in zip(found, wanted, strict=True):
        off = np.abs(np.asarray(got.detach().cpu().double()) - want).max()
        assert off <= relative * np.abs(want).max() + 1e-12


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_value_and_gradient(case, device):
    value, gradients = case.loss.value_and_grad(*case.embeddings, *case.labels)
    embeddings, labels = _inputs(case, device)
    got, found = case.loss.value_and_grad(*embeddings, *labels)
    assert float(got) == pytest.approx(float(value), rel=1e-11)
    _agree(found, gradients, 1e-9)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_autograd_and_a_second_derivative(case, device):
    value, gradients = case.loss.value_and_grad(*case.embeddings, *case.labels)
    embeddings, labels = _inputs(case, device)
    leaves = [x.requires_grad_() for x in embeddings]
    loss = UPSTREAM * case.loss(*leaves, *labels)
    assert float(loss.detach()) == pytest.approx(UPSTREAM * float(value), rel=1e-11)
    found = torch.autograd.grad(loss, leaves, create_graph=True)
    _agree(found, [UPSTREAM * g for g in gradients], 1e-9)
    second = torch.autograd.grad(sum((g**2).sum() for g in found), leaves)
    assert all(bool(torch.isfinite(g).all()) for g in second)


@pytest.mark.parametrize("width", [1, 2, 127, 128, 129, 300, 128 * 128 + 5])
@pytest.mark.parametrize("reverse", [False, True])
def test_running_sums(width, reverse, device):
    x = torch.linspace(-1, 2, 2 * width, dtype=torch.float64, device=device).reshape(2, width)
    found = Pure().running_sum(x, reverse)
    numbers = np.asarray(x.cpu())
    want = np.cumsum(numbers[:, ::-1], 1)[:, ::-1] if reverse else np.cumsum(numbers, 1)
    np.testing.assert_allclose(np.asarray(found.cpu()), want, rtol=0, atol=1e-11 * width)


NEAR = {
    "supcon": nf.SupCon(similarity="neg_sqeuclidean"),
    "supcr": nf.SupCR(),
    "supcr-far": nf.SupCR(temperature=0.01),  # logits spread beyond plain exponentials
    "hard": nf.BatchTriplet(margin=3.0),
    "all": nf.BatchTriplet(margin=3.0, mining="all"),
}


@pytest.mark.parametrize("loss", NEAR.values(), ids=NEAR)
def test_rows_too_near_for_products(loss, device):
    """What a call hopes for does not hold, and it begins again."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(24, 12))
    x[12:18] = x[:6] + 1e-6 * rng.normal(size=(6, 12))
    labels = np.arange(24) % 12 // 2
    y = torch.tensor(x, dtype=torch.float32, device=device)
    wanted, (truth,) = loss.value_and_grad(np.asarray(y.cpu().double()), labels)
    got, found = loss.value_and_grad(y, torch.as_tensor(labels).to(device))
    assert got.dtype == torch.float32
    assert float(got) == pytest.approx(float(wanted), rel=1e-5)
    _agree(found, [truth], 2e-5)
    leaf = y.clone().requires_grad_()
    (UPSTREAM * loss(leaf, torch.as_tensor(labels).to(device))).backward()
    _agree([leaf.grad], [UPSTREAM * truth], 2e-5)


def test_unit_rows_of_any_size(device):
    sizes = np.array([0, 1e-42, 1e-30, 1e-3, 1, 1e20, 3e37, np.nan])
    z = np.linspace(-1, 2, 8 * 5).reshape(8, 5) * sizes[:, None]
    z = torch.tensor(z, dtype=torch.float32, device=device)
    p, slope = NAMESPACE.unit_rows(z.clone(), 2.0)
    exact = np.asarray(z.cpu().double())
    norms = np.linalg.norm(exact, axis=1, keepdims=True)
    with np.errstate(all="ignore"):
        want = np.where(norms == 0, 0, 2 * exact / norms)
        slopes = np.where(norms == 0, 0, 2 / norms)
    np.testing.assert_allclose(np.asarray(p.cpu())[2:], want[2:], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(np.asarray(p.cpu())[1], want[1], rtol=1e-5)
    assert not p[0].any()
    assert slope[0] == 0
    np.testing.assert_allclose(np.asarray(slope.cpu())[2:], slopes[2:], rtol=1e-6)

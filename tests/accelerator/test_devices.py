"""Inputs of two devices, and labels of another than the embeddings'."""

import pytest
import torch

import nearfar as nf

A, B = torch.linspace(-1, 1, 24).reshape(6, 4), torch.linspace(2, -1, 24).reshape(6, 4).cos()


def test_embeddings_of_two_devices_are_refused():
    with pytest.raises(ValueError, match=r"one device; received x on meta and y on cpu"):
        nf.CLIP()(A.to("meta"), B)
    with pytest.raises(ValueError, match=r"cpu and \w+ on cpu and negatives on meta"):
        nf.InfoNCE().value_and_grad(A, B, torch.empty(3, 4, device="meta"))


def test_a_learned_temperature_of_another_device(device):
    """As PyTorch takes it: one number of the host beside arrays of a device."""
    temperature = torch.tensor(0.3, requires_grad=True)
    nf.CLIP()(A.to(device), B.to(device), temperature=temperature).backward()
    assert temperature.grad.device.type == "cpu"
    exact = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    nf.CLIP()(A.double(), B.double(), temperature=exact).backward()
    assert float(temperature.grad) == pytest.approx(float(exact.grad), rel=1e-5)


@pytest.mark.parametrize("place", ["cpu", "device"])
def test_labels_follow_the_embeddings(place, device):
    labels = torch.tensor([3, 1, 3, 2, 1, 2])
    want = nf.SupCon()(A.double(), labels)
    moved = labels if place == "cpu" else labels.to(device)
    assert float(nf.SupCon()(A.to(device), moved)) == pytest.approx(float(want), rel=1e-5)
    assert float(nf.SupCon()(A.to(device), labels.tolist())) == pytest.approx(float(want), rel=1e-5)

"""Half precision in tiles: gradients are the exact ones rounded once."""

import pytest
import torch

import nearfar as nf

LOSSES = {
    "ntxent": nf.NTXent(temperature=0.05),
    "clip": nf.CLIP(scale=3.0),
    "supcon": nf.SupCon(),
    "euclidean": nf.NTXent(similarity="neg_euclidean"),
    "circle": nf.Circle(),
}
WRONG = {torch.bfloat16: 1 / 500, torch.float16: 1 / 100}
"""Share of entries for which float32 is too coarse to tell which neighbour is nearest."""


@pytest.mark.parametrize("dtype", WRONG, ids=["bfloat16", "float16"])
@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_rounded_once(name, dtype, device):
    loss = LOSSES[name].with_options(kernel="tiles")
    draw = torch.Generator().manual_seed(3)
    x, y = (torch.randn(300, 48, generator=draw).to(dtype) for _ in range(2))
    second = y if "labels" not in loss.inputs else torch.arange(300) % 37
    wide = second.double() if second is y else second
    wanted, exact = loss.value_and_grad(x.double(), wide)
    value, gradients = loss.value_and_grad(x.to(device), second.to(device))
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(float(wanted), rel=1e-6)
    for g, h in zip(gradients, exact, strict=True):
        assert g.dtype == dtype
        assert float((g.cpu() != h.to(dtype)).double().mean()) <= WRONG[dtype]

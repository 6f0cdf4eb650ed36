"""How much an accelerator is asked to do: no more launches than the plain formula, and no waits."""

import pytest
import torch
from support import plain as dense
from support.launches import Launches

import nearfar as nf

SIZES = [256, 1024, 4096]
FORMULAS = {
    "ntxent": (nf.NTXent(), dense.ntxent),
    "clip": (nf.CLIP(), dense.clip),
    "siglip": (nf.SigLIP(), dense.siglip),
    "hcl": (nf.HCL(), dense.hcl),
    "infonce": (nf.InfoNCE(), dense.infonce),
}
LABELLED = {
    "supcon": nf.SupCon(),
    "supcon-own": nf.SupCon(denominator="own_positive"),
    "dot": nf.SupCon(similarity="dot"),
}
WAITING = {
    "supcon-euclidean": nf.SupCon(similarity="neg_euclidean"),
    "supcr": nf.SupCR(),
    "hard": nf.BatchTriplet(mining="hard"),
    "all": nf.BatchTriplet(mining="all"),
    "pairs": nf.PairMargin(),
    "multisimilarity": nf.MultiSimilarity(),
    "multisimilarity-mined": nf.MultiSimilarity(mining=0.1),
    "circle": nf.Circle(),
    "lifted": nf.Lifted(),
    "smoothap": nf.SmoothAP(),
    "graded": nf.SoftContrastive(weights="rbf"),
}
MOST = 300
"""Launches of such a call in one block of rows."""


def _rows(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(*shape, dtype=dtype, device="meta")


def _count(loss, *inputs, **named) -> Launches:
    with Launches(number=7) as count:
        loss.value_and_grad(*inputs, **named)
    return count


@pytest.mark.parametrize("learned", [False, True], ids=["fixed", "learned"])
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", FORMULAS)
def test_no_more_launches_than_the_plain_formula(name, n, learned):
    loss, formula = FORMULAS[name]
    rows = n // 2 if name in ("ntxent", "hcl") else n  # of each view, or of each side
    x, y = _rows(rows, 128), _rows(rows, 128)
    leaves = [x.clone().requires_grad_(), y.clone().requires_grad_()]
    leaves += [_rows(1)[0].requires_grad_()] * learned
    with Launches() as plain:
        torch.autograd.grad(formula(*leaves), leaves)
    count = _count(loss, x, y, **({"temperature": _rows(1)[0]} if learned else {}))
    assert not count.waits
    assert count.total <= plain.total, count.launches


@pytest.mark.parametrize("name", LABELLED)
def test_labels_on_the_device_are_not_waited_for(name):
    count = _count(LABELLED[name], _rows(4096, 128), _rows(4096, dtype=torch.int64))
    assert not count.waits
    assert count.total <= (160 if name != "dot" else 270), count.launches


@pytest.mark.parametrize("n", [4096, 20_000])
@pytest.mark.parametrize("name", WAITING)
def test_one_wait_a_call(name, n):
    loss = WAITING[name]
    second = _rows(n) if loss.inputs[1] == "targets" else _rows(n, dtype=torch.int64)
    count = _count(loss, _rows(n, 128), second)
    assert count.waits.total() <= 1
    assert n > 4096 or count.total <= MOST, count.launches


def test_a_gradient_of_autograd_waits_no_more():
    loss, (x, y) = nf.NTXent(), (_rows(512, 64), _rows(512, 64))
    x.requires_grad_()
    with Launches() as count:
        (3 * loss(x, y)).backward()
    assert not count.waits


def test_the_count_sees_waits_and_copies():
    x = _rows(8, 4)
    with Launches() as count:
        bool(x.sum() > 0)
        torch.as_tensor([1.0, 2.0], device="meta")
    assert count.waits.total() == 2
    assert count.launches["aten::sum"] == 1

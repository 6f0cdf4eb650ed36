"""Ranks as threads of this process: what each computes of its own rows, without a network."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from oracles import dense

import nearfar as nf
from nearfar.evaluate.partition.sharded import strip
from nearfar.frameworks import Block
from nearfar.frameworks.torch import NAMESPACE

ROWS, FEATURES = 60, 16
SHARES = {"even": [30, 30], "uneven": [7, 0, 53], "many": [16, 12, 20, 12]}
LOSSES = {
    "ntxent": (nf.NTXent(temperature=0.5, similarity="dot"), dense.ntxent),
    "hcl": (nf.HCL(similarity="dot", temperature=0.5), dense.hcl),
    "clip": (nf.CLIP(temperature=0.5, similarity="dot"), dense.clip),
    "supcon": (nf.SupCon(temperature=0.5, similarity="dot"), dense.supcon),
    "own positive": (
        nf.SupCon(temperature=0.5, similarity="dot", denominator="own_positive"),
        dense.supcon,
    ),
    "own positive, log": (
        nf.SupCon(
            temperature=0.5,
            similarity="neg_sqeuclidean",
            denominator="own_positive",
            positives="log_mean",
        ),
        dense.supcon,
    ),
}


def by_ranks(loss, inputs, sizes):
    """The value and the gradients, put together from the ranks'."""
    call = loss._open(tuple(inputs), {})
    starts = np.cumsum([0, *sizes])
    shares = [Block(int(start), size) for start, size in zip(starts, sizes, strict=False)]
    barrier = threading.Barrier(len(sizes))
    sent: dict[int, tuple] = {}

    def rank(number):
        def complete(parts):
            barrier.wait()
            sent[number] = parts
            barrier.wait()
            return tuple(
                torch.cat(each) for each in zip(*map(sent.get, range(len(sizes))), strict=True)
            )

        with torch.no_grad():
            return strip(call.evaluation, NAMESPACE, call.arrays, shares, number, complete, True)

    with ThreadPoolExecutor(len(sizes)) as pool:
        found = list(pool.map(rank, range(len(sizes))))
    values = {float(each.value) for each in found}
    assert len(values) == 1
    return values.pop(), [
        torch.cat(each) for each in zip(*(one.gradients for one in found), strict=True)
    ]


@pytest.mark.parametrize("sizes", SHARES.values(), ids=SHARES)
@pytest.mark.parametrize("size", [1.0, 1e3, 1e5, 1e7])
@pytest.mark.parametrize("name", LOSSES)
def test_both_ranks_of_a_pair_use_the_same_logit(name, size, sizes):
    """Whose rounding may be larger than 1."""
    loss, formula = LOSSES[name]
    rng = np.random.default_rng(3)
    x = [rng.normal(size=(ROWS, FEATURES)) for one in loss.embeddings if one not in loss.optional]
    x = [torch.tensor(z * (size / FEATURES) ** 0.5).float() for z in x]
    labels = [rng.integers(0, 6, size=ROWS)] if name.startswith(("supcon", "own")) else []
    stated = {"temperature": 0.5, "similarity": loss.similarity}
    for key in ("denominator", "positives"):
        if hasattr(loss, key):
            stated[key] = getattr(loss, key)

    def truth(dtype):
        leaves = [z.to(dtype).requires_grad_() for z in x]
        value = formula(*leaves, *(y.tolist() for y in labels), **stated)
        return value.item(), torch.autograd.grad(value, leaves)

    (value, want), (_, rounded) = truth(torch.float64), truth(torch.float32)
    largest = max(float(g.abs().max()) for g in want)
    noise = max(float((a - b).abs().max()) for a, b in zip(want, rounded, strict=True))
    for tile in (None, 16):
        got, gradients = by_ranks(
            loss.with_options(tile=tile), [*x, *map(torch.tensor, labels)], sizes
        )
        assert got == pytest.approx(value, rel=1e-5, abs=1e-5)
        for one, other in zip(gradients, want, strict=True):
            assert one.dtype == torch.float32
            error = float((one - other).abs().max())
            assert error <= 10 * max(noise, 1e-6 * largest), (tile, error, largest)

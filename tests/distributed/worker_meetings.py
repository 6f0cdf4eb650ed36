"""One rank: calls with references, queues, ids, weights and guides, beside one process's."""

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import torch
import torch.distributed as dist
from support.ranks import DIM, SHARDS, join, write

import nearfar as nf
from nearfar.torch.distributed import Loss

N, M, K, E = 13, 7, 2, 3
"""Rows of a batch, of a reference or queue; negatives of a query; features of a guide."""
UPSTREAM = 3.0
SEED = torch.Generator().manual_seed(5)


def normal(*shape):
    return torch.randn(*shape, generator=SEED, dtype=torch.float64)


def whole(most, *shape):
    return torch.randint(most, shape, generator=SEED)


def weights(n=N):
    return torch.rand(n, generator=SEED, dtype=torch.float64)


class Case(NamedTuple):
    loss: nf.Loss
    batch: dict
    """Rows of the batch, by name; a tuple is of several arrays."""
    apart: Mapping = MappingProxyType({})
    """Rows that one rank holds, or all in parts."""


X, Y, Z = normal(N, DIM), normal(N, DIM), normal(N, K, DIM)
LABELS, IDS = whole(4, N), whole(5, N)
MARKS, SOME = whole(2, N, 3), whole(2, M, 3)
REFERENCE = {"reference": normal(M, DIM), "reference_labels": whole(4, M)}
SUPCON = {"embeddings": X, "labels": LABELS}
VALID = whole(2, N, K) == 1
GUIDE = nf.Exclude(by="guide", margin=0.1)
ITSELF = nf.Exclude(by="self", margin=0.05, kind="relative")

CASES = {
    "SupCon, reference": Case(nf.SupCon(), SUPCON, REFERENCE),
    "SupCon, both, log_q": Case(
        nf.SupCon(candidates="both"),
        SUPCON | {"log_q": -weights()},
        REFERENCE | {"log_q": -weights(M)},
    ),
    "SupCon, several labels": Case(
        nf.SupCon(denominator="own_positive"),
        {"embeddings": X, "labels": MARKS},
        {"reference": REFERENCE["reference"], "reference_labels": SOME},
    ),
    "SupCon, log_q": Case(nf.SupCon(), SUPCON | {"log_q": -weights()}),
    "BatchTriplet, reference": Case(nf.BatchTriplet(), SUPCON, REFERENCE),
    "BatchTriplet, weights": Case(nf.BatchTriplet(), SUPCON | {"sample_weight": weights()}),
    "PairMargin, both": Case(nf.PairMargin(candidates="both"), SUPCON, REFERENCE),
    "SupCR, reference": Case(
        nf.SupCR(candidates="both"),
        {"embeddings": X, "targets": normal(N), "sample_weight": weights()},
        {"reference": REFERENCE["reference"], "reference_targets": normal(M)},
    ),
    "CLIP, ids": Case(nf.CLIP(), {"x": X, "y": Y, "ids": IDS}),
    "CLIP, sides of two lengths": Case(
        nf.CLIP(), {"x": X, "ids": (IDS,)}, {"y": normal(M, DIM), "ids": (whole(5, M),)}
    ),
    "CLIP, weights and log_q": Case(
        nf.CLIP(),
        {"x": X, "y": Y, "sample_weight": weights(), "log_q": (-weights(), -weights())},
    ),
    "CLIP, exclude by self": Case(nf.CLIP(exclude=ITSELF), {"x": X, "y": Y}),
    "SigLIP, ids": Case(nf.SigLIP(bias=-2.0), {"x": X, "y": Y, "ids": IDS}),
    "SigLIP, guide": Case(
        nf.SigLIP(bias=-2.0, exclude=GUIDE, same="ignore"),
        {"x": X, "y": Y, "ids": (IDS, IDS), "guide": (normal(N, E), normal(N, E))},
    ),
    "NTXent, ids and weights": Case(
        nf.NTXent(), {"a": X, "b": Y, "ids": IDS, "sample_weight": weights()}
    ),
    "HCL, ids": Case(nf.HCL(tau_plus=0.1), {"a": X, "b": Y, "ids": IDS}),
    "DCL, exclude by self": Case(nf.DCL(exclude=ITSELF, reduction="sum"), {"a": X, "b": Y}),
    "InfoNCE, own negatives of all": Case(
        nf.InfoNCE(in_batch="always", own="all"),
        {"query": X, "positive": Y, "negatives": Z, "valid": VALID},
    ),
    "InfoNCE, everything": Case(
        nf.InfoNCE(in_batch="always", directions=("qp", "pq"), exclude=GUIDE),
        {
            "query": X,
            "positive": Y,
            "negatives": Z,
            "valid": VALID,
            "ids": IDS,
            "sample_weight": weights(),
            "log_q": (-weights(), -torch.rand(N, K, generator=SEED, dtype=torch.float64)),
            "guide": (normal(N, E), normal(N, E), normal(N, K, E)),
        },
        {"queue": normal(M, DIM), "log_q": (-weights(M),), "guide": (normal(M, E),)},
    ),
    "SoftContrastive": Case(
        nf.SoftContrastive(weights="rbf"), {"embeddings": X, "targets": normal(N, 2)}
    ),
    "SoftContrastive, given": Case(
        nf.SoftContrastive(), {"embeddings": X, "targets": normal(N, N).abs()}
    ),
}


def together(batch, apart):
    """One call's inputs: those of the batch, and after them those that stand apart."""
    found = batch | {name: x for name, x in apart.items() if name not in batch}
    for name in batch.keys() & apart.keys():
        one, other = batch[name], apart[name]
        found[name] = one + other if isinstance(one, tuple) else torch.cat([one, other])
    return found


def of_rank(given, sizes):
    """This rank's rows."""
    rank = dist.get_rank()
    return {
        name: tuple(part.split(sizes)[rank] for part in x)
        if isinstance(x, tuple)
        else x.split(sizes)[rank]
        for name, x in given.items()
    }


def computed(call, loss, inputs, learned):
    """Value, gradients of the embeddings by name, and of temperature and bias."""
    inputs = dict(inputs)
    for name in loss.embeddings:
        if name in inputs:
            inputs[name] = inputs[name].clone().requires_grad_()
    start = {"temperature": 0.3, "bias": -2.0}
    values = {name: torch.tensor(start[name]).double() for name in loss.parameters if learned}
    values = {name: x.requires_grad_() for name, x in values.items()}
    value = call(**inputs, **values)
    (UPSTREAM * value).backward()
    with torch.no_grad():
        again = call(**inputs, **values)
    rows = {name: inputs[name].grad for name in loss.embeddings if name in inputs}
    return {"value": value.detach(), "again": again}, rows, {n: x.grad for n, x in values.items()}


def off(one, other):
    assert one.shape == other.shape
    assert one.dtype == other.dtype
    return float((one - other).abs().max() / other.abs().max()) if other.numel() else 0.0


def compared():
    """The largest relative difference of each call, from one process."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    shards = SHARDS[ranks][0]
    held = {
        "one": [M if r == 1 else 0 for r in range(ranks)],
        "all": [M - ranks + 1] + [1] * (ranks - 1),
    }
    found = {}
    for name, (loss, batch, apart) in CASES.items():
        learned = bool(loss.learnable)
        once = together(batch, apart)
        values, rows, slopes = computed(loss, loss, once, learned)
        for (by, sizes), gradient in zip(held.items(), ("sum", "ddp_mean"), strict=True):
            own = together(of_rank(batch, shards), of_rank(apart, sizes))
            criterion = Loss(loss, gradient=gradient)
            ours, mine, parts = computed(criterion, loss, own, learned)
            wrong = [off(ours[key], values[key]) for key in values]
            for key, g in rows.items():
                wanted = g.split(sizes if key in apart else shards)[rank]
                wrong.append(off(mine[key], wanted * (ranks if gradient == "ddp_mean" else 1)))
            for key, g in parts.items():
                if gradient == "sum":
                    dist.all_reduce(g)
                wrong.append(off(g, slopes[key]))
            found[name, by] = max(wrong)
    return found


def refused():
    rank, ranks = dist.get_rank(), dist.get_world_size()
    x, y, ids, labels = (t.split(SHARDS[ranks][0])[rank] for t in (X, Y, IDS, LABELS))
    shifted = IDS.split([4, *([9] if ranks == 2 else [2, 7])])[rank]
    reference, named = (REFERENCE[k][: M * (rank == r)] for r, k in enumerate(REFERENCE))
    calls = {
        "words": lambda: Loss(nf.NTXent())(x, y, list("ab")),
        "shifted ids": lambda: Loss(nf.NTXent())(x, y, shifted),
        "labels elsewhere": lambda: Loss(nf.SupCon())(x, labels, reference, named),
        "a pair for views": lambda: Loss(nf.NTXent())(x, y, (ids, ids)),
        "three guides": lambda: Loss(nf.CLIP(exclude=GUIDE))(x, y, guide=(x, y, y)),
        "no guide": lambda: Loss(nf.CLIP(exclude=GUIDE))(x, y),
        "ids on one rank": lambda: Loss(nf.CLIP())(x, y, ids if rank == 1 else None),
        "a ring": lambda: Loss(nf.CLIP(), exchange="ring")(x, y, ids),
    }
    told = {}
    for name, call in calls.items():
        try:
            call()
        except (TypeError, ValueError) as error:
            told[name] = f"{type(error).__name__}: {error}"
    return told


if __name__ == "__main__":
    warnings.simplefilter("error")
    join()
    write(Path(sys.argv[1]), {"compared": compared(), "refused": refused()})
    dist.barrier()
    dist.destroy_process_group()

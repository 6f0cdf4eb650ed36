"""One rank: every loss, with DDP and without; bytes counted; and, at last, a rank that is killed.

All in one start of the processes, which takes longer than the steps.
"""

import os
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from support.ranks import COUNTED, DIM, LOSSES, encoder, join, own, train, write

import nearfar as nf
from nearfar.torch.collectives import Ranks, all_gather
from nearfar.torch.distributed import Loss

LONG = [
    ("ddp_mean", True, None),
    ("ddp_mean", False, None),
    ("sum", False, None),
    ("ddp_mean", True, 3),
    ("sum", False, 2),
]
"""Scaling, with DDP or not, and rows of a chunk for `cached_step`."""


def trained(mode: str) -> dict:
    found = {}
    # Each loss meets one of the cases in turn, and at length two others: by the number of ranks.
    further = (dist.get_world_size(), dist.get_world_size() + 2) if mode == "long" else (0,)
    for k, name in enumerate(LOSSES):
        for step in further:
            gradient, ddp, chunk = LONG[(k + step) % len(LONG)]
            dtype = "float32" if (k // len(LONG) + step) % 2 and mode == "long" else "float64"
            ours = train(name, getattr(torch, dtype), ddp, gradient, chunk)
            found[name, dtype, gradient, ddp, chunk] = ours
    return found


def counted() -> dict:
    """Bytes by what they are for, of one step of each loss."""
    found = {}
    call, ranks = Ranks._call, dist.get_world_size()
    total: dict[str, float] = {}

    def count(self, what, collective, *arguments):
        if collective is all_gather:
            sent = (ranks - 1) * arguments[1].nbytes
        elif collective is dist.all_to_all_single:
            _, given, _, lengths = arguments
            sent = given.nbytes - lengths[self.number] * given.itemsize
        else:
            assert collective is dist.all_reduce
            sent = 2 * (ranks - 1) / ranks * arguments[0].nbytes
        total[what] = total.get(what, 0) + sent
        call(self, what, collective, *arguments)

    Ranks._call = count
    for name in COUNTED:
        for step in (0, 1):
            total.clear()
            _step(name, step, "temperature" in LOSSES[name].parameters)
            found[name, step] = dict(total)
    Ranks._call = call
    return found


def _step(name: str, step: int, learn: bool) -> None:
    x, facts = own(name, step, torch.float32)
    model = encoder(torch.float32)
    Loss(LOSSES[name], learn)(*(model(z) for z in x), *facts).backward()


def end_one() -> tuple[str, float]:
    """Rank 1 is killed between its embeddings and its sums: what the others see, and when."""
    call = Ranks._call

    def fatal(self, what, *rest):
        if what == "partition sums" and self.number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        call(self, what, *rest)

    Ranks._call = fatal
    began = time.monotonic()
    try:
        _step("ntxent", 0, True)
    except RuntimeError as error:
        return str(error), time.monotonic() - began
    return "no error", 0.0


def shifted() -> list[str]:
    """What is said of rows that belong together and stand on different ranks."""
    told = []
    one, other = [3, 4, 2], [4, 3, 2]
    if dist.get_world_size() != 3:
        return told
    z, y = (torch.randn(n[dist.get_rank()], DIM) for n in (one, other))
    labels = torch.zeros(len(y), dtype=torch.int64)
    for name, inputs in {"ntxent": (z, y), "siglip": (z, y), "supcon": (z, labels)}.items():
        try:
            Loss(LOSSES[name])(*inputs)
        except ValueError as error:
            told.append(str(error))
    return told


def disagreements() -> dict[str, str]:
    """What is said on this rank where rank 1 calls otherwise than the others; none may hang.

    After each the ranks are still in step.
    """
    odd = dist.get_rank() == 1
    x, y = torch.randn(2, 3, DIM)
    labels = torch.tensor([0, 1, 0])
    calls = {
        "optional input": lambda: Loss(nf.InfoNCE())(x, y, y if odd else None),
        "features": lambda: Loss(nf.NTXent())(*(z[:, : DIM - odd] for z in (x, y))),
        "dtype": lambda: Loss(nf.SupCon())(x, labels.int() if odd else labels),
        "no tensor": lambda: Loss(nf.SupCon())(x.tolist() if odd else x, labels),
        "words": lambda: Loss(nf.SupCon())(x, np.array(list("aba"))),
        "call": lambda: Loss(nf.SupCon())(*((x,) if odd else (x, labels))),
        "range": lambda: Loss(nf.CLIP())(x, y, temperature=-1.0 if odd else 1.0),
        "loss": lambda: Loss(nf.NTXent() if odd else nf.DCL())(x, y),
        "options": lambda: Loss(nf.SigLIP().with_options(tile=2 if odd else 3))(x, y),
        "learned": lambda: Loss(nf.CLIP(temperature=0.1), learn_temperature=odd)(x, y),
        "number": lambda: Loss(nf.CLIP())(x, y, temperature=0.2 if odd else 0.1),
        "scaling": lambda: Loss(nf.CLIP(), gradient="sum" if odd else "ddp_mean")(x, y),
        "proxies": lambda: Loss(nf.ProxyAnchor())(x, labels, torch.ones(5, DIM) * (1 + odd)),
    }
    told = {}
    for name, call in calls.items():
        try:
            call()
        except (TypeError, ValueError, RuntimeError) as error:
            told[name] = f"{type(error).__name__}: {error}"
        _step("ntxent", 0, True)
    return told


if __name__ == "__main__":
    warnings.simplefilter("error")
    folder, mode = Path(sys.argv[1]), sys.argv[2]
    join()
    found = {"trained": trained(mode), "counted": counted(), "shifted": shifted()}
    found |= {"disagreements": disagreements()}
    write(folder, found)
    dist.barrier()
    write(folder, found | {"ended": end_one()})
    os._exit(0)  # the group that lost a rank cannot be left in good order

"""One rank: the ring beside the gather, its bytes, its memory, what it refuses, a killed rank."""

import os
import signal
import sys
import time
import warnings
from itertools import accumulate
from pathlib import Path

import torch
import torch.distributed as dist
from support.ranks import DIM, SHARDS, join, write
from torch.profiler import ProfilerActivity, profile

import nearfar as nf
from nearfar.frameworks.memory import Spare, Stores
from nearfar.frameworks.torch import namespace
from nearfar.torch.collectives import Ranks, send_on
from nearfar.torch.distributed import Loss

LOSSES = {
    "CLIP": nf.CLIP(),
    "CLIP, guarded": nf.CLIP(temperature=0.001, similarity="dot"),
    "CLIP, distances": nf.CLIP(similarity="neg_euclidean", reduction="sum"),
    "SigLIP": nf.SigLIP(),
    "SigLIP, distances": nf.SigLIP(similarity="neg_euclidean", scale=2.0),
    "InfoNCE": nf.InfoNCE(),
    "InfoNCE, squares": nf.InfoNCE(similarity="neg_sqeuclidean"),
}
UPSTREAM = 3.0


def sides(step, dtype=torch.float64, shape=(DIM,)):
    shards = SHARDS[dist.get_world_size()][step]
    generator = torch.Generator().manual_seed(step)
    both = [torch.randn(sum(shards), *shape, generator=generator).to(dtype) for _ in range(2)]
    return [z.split(shards)[dist.get_rank()].clone().requires_grad_() for z in both]


def computed(loss, exchange, step, gradient, dtype=torch.float64, shape=(DIM,)):
    """The value, also without gradients; gradients of the rows and of the parameters."""
    rows = sides(step, dtype, shape)
    start = {"temperature": 0.3, "bias": -2.0}
    learned = {
        name: torch.tensor(start[name], dtype=dtype, requires_grad=True) for name in loss.parameters
    }
    criterion = Loss(loss.with_options(memory=200), exchange=exchange, gradient=gradient)
    value = criterion(*rows, **learned)
    (UPSTREAM * value).backward()
    if gradient == "sum":
        for x in learned.values():  # who has which part of it is the exchange's own
            dist.all_reduce(x.grad)
    with torch.no_grad():
        again = criterion(*rows, **learned)
    return [value.detach(), again, *(x.grad for x in (*rows, *learned.values()))]


def compared():
    """The largest relative difference of each result, and of a fixed temperature's value."""
    found = {}
    for name, loss in LOSSES.items():
        for step, gradient in enumerate(("ddp_mean", "sum")):
            ring, gather = (computed(loss, way, step, gradient) for way in ("ring", "gather"))
            assert all(a.dtype == b.dtype for a, b in zip(ring, gather, strict=True))
            assert all(a.shape == b.shape for a, b in zip(ring, gather, strict=True))
            off = [
                float((a - b).abs().max() / b.abs().max()) if b.numel() else 0.0
                for a, b in zip(ring, gather, strict=True)
            ]
            rows = [x.detach() for x in sides(step)]
            fixed = [Loss(loss, exchange=way)(*rows) for way in ("ring", "gather")]
            found[name, gradient] = max(*off, abs(float(fixed[0] / fixed[1]) - 1))
    return found


def halves():
    """Half precision, and rows of several axes."""
    ring, gather = (
        computed(nf.CLIP(), way, 0, "sum", torch.bfloat16, (2, 2)) for way in ("ring", "gather")
    )
    assert [x.dtype for x in ring] == [x.dtype for x in gather]
    return max(
        float((a - b).abs().max() / b.abs().max()) if b.numel() else 0.0
        for a, b in zip(ring, gather, strict=True)
    )


def counted():
    """Bytes by what they are for, of one step of each loss."""
    call, ranks = Ranks._call, dist.get_world_size()
    total: dict[str, float] = {}

    def count(self, what, collective, *arguments):
        if collective is send_on:
            sent = arguments[0].nbytes
        elif collective is dist.all_reduce:
            sent = 2 * (ranks - 1) / ranks * arguments[0].nbytes
        else:
            sent = (ranks - 1) * arguments[1].nbytes
        total[what] = total.get(what, 0) + sent
        call(self, what, collective, *arguments)

    Ranks._call = count
    found = {}
    for name in ("CLIP", "SigLIP", "InfoNCE"):
        for step in (0, 1):
            total.clear()
            Loss(LOSSES[name], exchange="ring")(*sides(step, torch.float32)).backward()
            found[name, step] = dict(total)
    Ranks._call = call
    return found


def peak(loss, exchange, rows):
    """Bytes held at most during a step with so many rows on each rank: the lesser of two, of which
    each begins when a thread of gloo's has let go of the buffers of the step before."""
    return min(_peak(loss, exchange, rows) for _ in range(2))


def _peak(loss, exchange, rows):
    torch.distributed.barrier()
    time.sleep(0.05)
    namespace._NUMPY = {}  # NumPy's memory, of which buffers are made, is not seen
    both = [torch.randn(rows, 64).requires_grad_() for _ in range(2)]
    criterion = Loss(loss.with_options(memory=2**16), exchange=exchange)
    namespace._SPARE, namespace._STORES = Spare(namespace._empty), Stores(namespace._empty)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        criterion(*both).backward()
    events = [e for e in found.profiler.kineto_results.events() if e.name() == "[memory]"]
    return max(accumulate(e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())))


def refused():
    x, y = sides(0)
    calls = {
        "loss": lambda: Loss(nf.NTXent(), exchange="ring"),
        "word": lambda: Loss(nf.CLIP(), exchange="star"),
        "negatives": lambda: Loss(nf.InfoNCE(), exchange="ring")(x, y, y),
        "kernel": lambda: Loss(nf.CLIP().with_options(kernel="fused"), exchange="ring")(x, y),
        "hardness": lambda: Loss(nf.InfoNCE(hardness=0.5), exchange="ring")(x, y),
        "sizes": lambda: Loss(nf.CLIP(), exchange="ring")(x, y[:-1] if len(y) else y),
    }
    told = {}
    for name, call in calls.items():
        try:
            call()
        except (TypeError, ValueError) as error:
            told[name] = f"{type(error).__name__}: {error}"
    return told


def end_one():
    """Rank 1 is killed before it hands on: what the others see, and when."""
    call = Ranks._call

    def fatal(self, what, *rest):
        if what == "ring sums" and self.number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        call(self, what, *rest)

    Ranks._call = fatal
    began = time.monotonic()
    try:
        Loss(nf.CLIP(), exchange="ring")(*sides(0))
    except RuntimeError as error:
        return str(error), time.monotonic() - began
    return "no error", 0.0


if __name__ == "__main__":
    warnings.simplefilter("error")
    folder = Path(sys.argv[1])
    join()
    if sys.argv[2] == "memory":
        peaks = {
            (way, name, rows): peak(LOSSES[name], way, rows)
            for way in ("ring", "gather")
            for name in ("CLIP", "SigLIP", "InfoNCE")
            for rows in (512, 1024)
        }
        write(folder, {"peaks": peaks})
        dist.barrier()
        os._exit(0)
    found = {"compared": compared(), "halves": halves(), "counted": counted()}
    found["refused"] = refused()
    write(folder, found)
    dist.barrier()
    write(folder, found | {"ended": end_one()})
    os._exit(0)  # the group that lost a rank cannot be left in good order

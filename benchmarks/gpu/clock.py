"""Time by events, memory by the allocator, and how long a run may take."""

import json
import os
import statistics
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

DRY = os.environ.get("DRY") == "1"
DEVICE = "cpu" if DRY else "cuda"

T = TypeVar("T")


def some(items: Sequence[T]) -> Sequence[T]:
    """All; in a dry run the first and the last, which is enough to find slips."""
    return [items[0], items[-1]] if DRY and len(items) > 2 else items


class Run:
    """Sections one after another, each within its budget, and what they found."""

    def __init__(self, seconds: float, out: Path) -> None:
        self._begin, self._seconds, self._out = time.time(), seconds, out
        self._end = self._begin + seconds
        self.found: dict[str, Any] = {}

    def note(self, *words: Any) -> None:
        print(f"[{time.time() - self._begin:5.1f} s]", *words, flush=True)

    def over(self) -> bool:
        """Whether the section's time is up."""
        return time.time() > self._end

    def section(self, name: str, work: Callable[["Run"], Any], seconds: float) -> None:
        left = self._begin + self._seconds - time.time()
        if left < 5:
            self.note("skipped for want of time:", name)
            return
        self.note("==", name)
        self._end = time.time() + min(seconds, left)
        try:
            self.found[name] = work(self)
            self.found.pop(f"{name}, so far", None)
        except Exception as problem:
            self.found[name] = f"failed: {problem!r}"[:400]
            self.note("failed:", repr(problem)[:400])
            traceback.print_exc(limit=-4)
        self._out.write_text(json.dumps(self.found, default=str))


def wait() -> None:
    if not DRY:
        torch.cuda.synchronize()


def timed(call: Callable[[], Any], seconds: float = 0.2, least: int = 3) -> tuple[float, float]:
    """Milliseconds of a call by events, and of the host to issue it: medians."""
    call()
    wait()
    start = time.perf_counter()
    call()
    host = time.perf_counter() - start
    wait()
    whole = time.perf_counter() - start
    if DRY:
        return whole * 1e3, host * 1e3
    times = max(least, min(40, int(seconds / max(whole, 1e-6))))
    marks = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(times)]
    hosts = []
    for first, last in marks:
        first.record()
        start = time.perf_counter()
        call()
        hosts.append(time.perf_counter() - start)
        last.record()
    wait()
    spent = statistics.median(first.elapsed_time(last) for first, last in marks)
    return spent, statistics.median(hosts) * 1e3


def peak(call: Callable[[], Any]) -> float:
    """MiB that a call takes beyond what was there, its results included."""
    if DRY:
        call()
        return 0.0
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    wait()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def launches(call: Callable[[], Any]) -> int:
    """Kernels and copies that a call gives the device."""
    if DRY:
        call()
        return 0
    wait()
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CUDA], acc_events=True
    ) as profile:
        call()
        wait()
    return sum(str(e.device_type).endswith("CUDA") for e in profile.events())


def distance(x: torch.Tensor, y: torch.Tensor) -> float:
    x, y = x.detach().double().cpu(), y.detach().double().cpu()
    return float((x - y).norm() / y.norm().clamp_min(1e-300))

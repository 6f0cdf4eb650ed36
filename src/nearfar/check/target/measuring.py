"""Time and peak memory of one call, gradient included, in the process it is called in."""

import ctypes
import gc
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from nearfar.check.target import adapters
from nearfar.check.target.calls import Call, Measured, one_line
from nearfar.check.target.targets import Target
from nearfar.losses import Loss

_MMAP_THRESHOLD = -3  # of glibc's mallopt
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def measure(target: Target, call: Call, loss: Loss | None) -> Measured:
    """Of the target, or of a loss on the same arrays."""
    # On one core, as the target is in its own process.
    fn: Any = loss.with_options(workers=1) if loss else target.on(call.rows, call.arguments)

    def once() -> None:
        if loss is not None and call.framework == "numpy":
            fn.value_and_grad(*_cast(call))
            return
        adapters.call(fn, call)

    try:
        with np.errstate(all="ignore"):
            once()  # what is made once, caches and compiled code, is not the call's
            used = min(_peak(once) for _ in range(2))  # another thread's memory counts too
            return Measured(_timed(once), used)
    except MemoryError as error:
        return Measured(error=one_line(error), died="memory")
    except Exception as error:
        return Measured(error=one_line(error))


def _timed(fn: Any, least: float = 0.05, most: float = 0.5) -> float:
    """Seconds of a call, the least of several where it is quick.

    It is called until the least of seconds is over, and three times while the most of them is not.
    """
    taken: list[float] = []
    start = time.perf_counter()
    while (spent := time.perf_counter() - start) < least or (len(taken) < 3 and spent < most):
        before, worked = time.perf_counter(), time.process_time()
        fn()
        # On a busy machine a call waits; with threads it works longer than it takes.
        taken.append(min(time.perf_counter() - before, time.process_time() - worked))
    return min(taken)


def _cast(call: Call) -> list[Any]:
    return [x.astype(call.dtype) if x.dtype.kind == "f" else x for x in call.arrays]


def _peak(fn: Any) -> float:
    """Bytes beyond those in use before: the kernel's high-water mark, else Python's own."""
    gc.collect()
    if _RESET.exists():
        with _given_back():
            _RESET.write_text("5")
            before = _status("VmRSS")
            fn()
            return max(_status("VmHWM") - before, 0.0)
    tracemalloc.start()
    try:
        fn()
        return float(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


def _status(name: str) -> float:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(name + ":"):
            return float(line.split()[1]) * 1024
    return float("nan")


@contextmanager
def _given_back() -> Iterator[None]:
    """Have the C library return large blocks at once, which would else be used again unseen."""
    libc: Any = ctypes.CDLL(None)
    known = hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim")
    if known:
        libc.malloc_trim(0)
        libc.mallopt(_MMAP_THRESHOLD, 2**16)
    try:
        yield
    finally:
        if known:
            libc.mallopt(_MMAP_THRESHOLD, 2**25)

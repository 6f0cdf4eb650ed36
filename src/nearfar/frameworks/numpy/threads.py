"""Threads over tiles of NumPy, each with a BLAS of one thread.

Threads over a threaded BLAS are slower than none, so there is a pool only where threadpoolctl can
hold BLAS back. Its controller is made once, which takes longer than setting the limit.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

from nearfar.frameworks.protocol.types import Run


@cache
def default() -> int | None:
    """A thread per core that this process may use; None without threadpoolctl or a second core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return cores if cores and cores > 1 and find_spec("threadpoolctl") else None


@contextmanager
def pool(workers: int) -> Iterator[Run]:
    """A `map` over so many threads, while BLAS keeps to one."""
    with _ONE_THREAD:
        yield partial(_each, workers)


def _each(workers: int, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    # The caller is one of the workers: a thread that only waited would be woken again and again, on
    # a core that another works on.
    found: list[Any] = [None] * len(items)
    waiting = iter(range(len(items)))  # of which threads take one number after another

    def work() -> None:
        for k in waiting:
            found[k] = function(items[k])

    helpers = [_helpers(workers - 1).submit(work) for _ in range(min(workers, len(items)) - 1)]
    try:
        work()
    finally:
        for helper in helpers:
            if not helper.cancel():  # it may not have begun, where others use the threads too
                helper.result()
    return found


class _OneThread:
    """BLAS at one thread from the first evaluation that enters to the last that leaves."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._limit: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._limit = _controller().limit(limits=1, user_api="blas")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._limit.restore_original_limits()


_ONE_THREAD = _OneThread()


@cache
def _controller() -> Any:
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError as error:
        raise ImportError(
            "expected threadpoolctl for workers: threads over a threaded BLAS are slower than "
            "none; install it with pip install threadpoolctl"
        ) from error
    return ThreadpoolController()


@cache
def _helpers(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="nearfar")


def _forget() -> None:
    """A forked child has none of its parent's threads."""
    global _ONE_THREAD
    _helpers.cache_clear()
    _ONE_THREAD = _OneThread()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

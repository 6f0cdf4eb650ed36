"""Threads over tiles of NumPy, each with a BLAS of one thread.

Threads over a threaded BLAS are slower than none, so there is a pool only where threadpoolctl can
hold BLAS back. Its controller is made once, which takes longer than setting the limit.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any


@cache
def default() -> int | None:
    """A thread per core that this process may use; None without threadpoolctl or a second core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return cores if cores and cores > 1 and find_spec("threadpoolctl") else None


@contextmanager
def pool(workers: int) -> Iterator[Callable[..., Iterator[Any]]]:
    """A `map` over so many threads, while BLAS keeps to one."""

    def run(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        alone = workers == 1 or len(items) == 1
        return map(function, items) if alone else _executor(workers).map(function, items)

    with _ONE_THREAD:
        yield run


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
def _executor(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="nearfar")


def _forget() -> None:
    """A forked child has none of its parent's threads."""
    global _ONE_THREAD
    _executor.cache_clear()
    _ONE_THREAD = _OneThread()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

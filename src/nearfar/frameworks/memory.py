"""Buffers that are used again, and functions of rows some rows at a time.

Fresh pages cost more than what is computed on them, and what is made on the way is in cache where
it is small.
"""

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np

from nearfar.frameworks.protocol.types import Array

# What an idle process may hold on to, in bytes.
_SPARE = 16 * 2**20

# And in one piece, where a forward pass has kept tiles: the default of `memory=`.
_LARGEST = 64 * 2**20

# Below so many bytes memory is sooner asked for than kept.
_SMALL = 2**17

# Bytes of a line of the cache.
_LINE = 64

# Bytes of a chunk of the first array. Of fewer, calls would take longer than what they compute.
_CHUNK = 2**19

# Up to so many bytes an array is one chunk.
_AT_ONCE = 2**20


def aligned(size: int, dtype: Any) -> np.ndarray:
    """So many numbers, unset, that begin where a line of the cache does.

    NumPy asks the system for large pages, which are quicker to get, but begins anywhere in a line.
    """
    nbytes = size * np.dtype(dtype).itemsize
    if nbytes < _SMALL:
        return np.empty(size, dtype)
    raw = np.empty(nbytes + _LINE, np.uint8)
    start = -raw.ctypes.data % _LINE
    return raw[start : start + nbytes].view(dtype)


def _always(x: Array) -> bool:
    return True


class Buffers:
    """One flat array per name, dtype and thread, seen in the shape that is asked for."""

    def __init__(self, empty: Callable[[int, Array], Array]) -> None:
        self._empty = empty
        self._made: dict[tuple[Any, ...], tuple[Array, Array]] = {}
        """The flat array, and how it was seen last: mostly it is asked for so again."""

    def buffer(self, key: str, shape: tuple[int, ...], like: Array) -> Array:
        return self.of(threading.get_ident(), key, shape, like)

    def lending(self, lent: dict[str, Array], part: int | None = None) -> "Lent":
        return Lent(self, lent, part)

    def of(self, owner: Any, key: str, shape: tuple[int, ...], like: Array) -> Array:
        name = (owner, key, *_kind(like))
        flat, seen = self._made.get(name, (None, None))
        if seen is not None and seen.shape == shape:
            return seen
        size = prod(shape)
        if flat is None or flat.shape[0] < size:
            flat = self._empty(size, like)
        seen = flat[:size].reshape(shape)
        self._made[name] = flat, seen
        return seen

    def trim(self, keeps: Callable[[Array], bool]) -> None:
        """Let go of all but a little, and of what may not be kept."""
        held = 0
        for name, (flat, _) in list(self._made.items()):
            held += flat.nbytes
            if held > _SPARE or not keeps(flat):
                del self._made[name]


class Lent:
    """Buffers of which some are given; see `Scratch.lending`."""

    def __init__(self, buffers: Buffers, lent: dict[str, Array], part: int | None) -> None:
        self._buffers, self._lent, self._part = buffers, lent, part

    def buffer(self, key: str, shape: tuple[int, ...], like: Array) -> Array:
        if key in self._lent:
            return self._lent[key]
        if self._part is None:
            return self._buffers.buffer(key, shape, like)
        return self._buffers.of(("part", self._part), key, shape, like)

    def lending(self, lent: dict[str, Array], part: int | None = None) -> "Lent":
        return Lent(self._buffers, self._lent | lent, self._part if part is None else part)


class Spare:
    """Buffers that nobody is using. Nested and concurrent evaluations get others."""

    def __init__(
        self, empty: Callable[[int, Array], Array], keeps: Callable[[Array], bool] = _always
    ) -> None:
        self._empty, self._keeps = empty, keeps
        self._idle: list[Buffers] = []

    @contextmanager
    def lend(self) -> Iterator[Buffers]:
        try:
            buffers = self._idle.pop()
        except IndexError:
            buffers = Buffers(self._empty)
        yield buffers
        buffers.trim(self._keeps)
        if not self._idle:
            self._idle.append(buffers)


class Stores:
    """Arrays that are lent until their owner is gone; the last one to come back stays idle."""

    def __init__(
        self, empty: Callable[[int, Array], Array], keeps: Callable[[Array], bool] = _always
    ) -> None:
        self._empty, self._keeps = empty, keeps
        self._idle: list[Array] = []

    def lend(self, owner: object, size: int, like: Array) -> Array:
        """So many numbers, unset."""
        if size * like.itemsize < _SMALL or not self._keeps(like):
            return self._empty(size, like)
        try:
            flat = self._idle.pop()
        except IndexError:
            flat = None
        if flat is None or flat.shape[0] < size or _kind(flat) != _kind(like):
            flat = self._empty(size, like)
        if flat.nbytes <= _LARGEST:
            weakref.finalize(owner, self._take_back, flat).atexit = False
        return flat[:size]

    def _take_back(self, flat: Array) -> None:
        self._idle[:] = [flat]


def by_chunks(
    empty: Callable[[int, Array], Array],
    function: Callable[..., tuple[Array, ...]],
    arrays: tuple[Any, ...],
) -> tuple[Array, ...]:
    """See `Namespace.by_rows`; `empty` makes so many numbers like those of an array."""
    first: Array = arrays[0]
    if first.nbytes <= _AT_ONCE:
        return function(*arrays)
    step = max(1, len(first) * _CHUNK // first.nbytes)
    outs: list[Array] = []
    for start in range(0, len(first), step):
        part = first[start : start + step]
        others = [None if x is None else x[start : start + step] for x in arrays[1:]]
        for k, found in enumerate(function(part, *others)):
            consumed = found is part
            times = len(found) // len(part)
            if k == len(outs):
                shape = times * len(first), *found.shape[1:]
                outs.append(first if consumed else empty(prod(shape), found).reshape(shape))
            if not consumed:
                outs[k][times * start : times * (start + step)] = found
    return tuple(outs)


def _kind(x: Array) -> tuple[Any, Any]:
    return x.dtype, getattr(x, "device", None)

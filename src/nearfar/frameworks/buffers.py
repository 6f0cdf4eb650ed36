"""Memory that is written again and again: fresh pages cost more than what is computed on them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

from nearfar.frameworks.base import Array

# What an idle process may hold on to, in bytes.
_SPARE = 16 * 2**20


class Buffers:
    """One flat array per name, dtype and thread, seen in the shape that is asked for."""

    def __init__(self, empty: Callable[[int, Array], Array]) -> None:
        self._empty = empty
        self._flat: dict[tuple[Any, ...], Array] = {}

    def buffer(self, key: str, shape: tuple[int, ...], like: Array) -> Array:
        size = prod(shape)
        name = (threading.get_ident(), key, like.dtype, getattr(like, "device", None))
        flat = self._flat.get(name)
        if flat is None or flat.shape[0] < size:
            flat = self._flat[name] = self._empty(size, like)
        return flat[:size].reshape(shape)

    def trim(self) -> None:
        """Let go of all but a little."""
        held = 0
        for name, flat in list(self._flat.items()):
            held += flat.nbytes
            if held > _SPARE:
                del self._flat[name]


class Spare:
    """Buffers that nobody is using. Nested and concurrent evaluations get others."""

    def __init__(self, empty: Callable[[int, Array], Array]) -> None:
        self._empty = empty
        self._idle: list[Buffers] = []

    @contextmanager
    def lend(self) -> Iterator[Buffers]:
        try:
            buffers = self._idle.pop()
        except IndexError:
            buffers = Buffers(self._empty)
        yield buffers
        buffers.trim()
        if not self._idle:
            self._idle.append(buffers)

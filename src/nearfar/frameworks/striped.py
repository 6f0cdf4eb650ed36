"""Functions of rows, some rows at a time: what they make on the way is small and stays in cache."""

from collections.abc import Callable
from math import prod
from typing import Any

from nearfar.frameworks.types import Array

# Bytes of a strip of the first array. Of fewer, calls would take longer than what they compute.
_STRIP = 2**19

# Up to so many bytes an array is one strip.
_WHOLE = 2**20


def striped(
    empty: Callable[[int, Array], Array],
    function: Callable[..., tuple[Array, ...]],
    arrays: tuple[Any, ...],
) -> tuple[Array, ...]:
    """See `Namespace.by_rows`; `empty` makes so many numbers like those of an array."""
    first: Array = arrays[0]
    if first.nbytes <= _WHOLE:
        return function(*arrays)
    step = max(1, len(first) * _STRIP // first.nbytes)
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

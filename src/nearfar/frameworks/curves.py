"""Softplus and sigmoid of large NumPy arrays, in place, a strip at a time so that all is in cache.

With e = exp(-|x|) and w = 1 + e as it was rounded, log(1 + e) = log(w) + (e - (w - 1)) / w to the
second order of that rounding: on many machines np.log1p takes six times as long as np.exp in
float32. There are no masks, which take ten times as long as np.exp where signs follow no pattern.
"""

from collections.abc import Iterator

import numpy as np

from nearfar.frameworks.types import Array

# Entries of a strip.
_STRIP = 2**17


def softplus_(x: Array) -> Array:
    for part, e, w in _strips(x):
        _powers(part, e, w)
        _softplus(part, e, w, out=part)
    return x


def sigmoid_(x: Array) -> Array:
    for part, e, w in _strips(x):
        _powers(part, e, w)
        _sigmoid(part, w, out=part)
    return x


def softplus_and_sigmoid_(x: Array) -> tuple[Array, Array]:
    """The sigmoid in the place of `x`."""
    total = np.empty_like(x)
    for (part, e, w), (found, *_) in zip(_strips(x), _strips(total), strict=True):
        _powers(part, e, w)
        np.copyto(found, part)
        _sigmoid(part, w, out=part)
        _softplus(found, e, w, out=found)
    return total, x


def _strips(x: Array) -> Iterator[tuple[Array, Array, Array]]:
    """Rows of `x`, and two arrays of their shape."""
    step = max(1, _STRIP // max(1, x[:1].size))
    spare = np.empty((2, *x[:step].shape), x.dtype)
    for start in range(0, len(x), step):
        part = x[start : start + step]
        yield part, spare[0, : len(part)], spare[1, : len(part)]


def _powers(x: Array, e: Array, w: Array) -> None:
    np.abs(x, out=e)
    np.negative(e, out=e)
    np.exp(e, out=e)
    np.add(e, 1, out=w)


def _sigmoid(x: Array, w: Array, out: Array) -> None:
    """exp(min(x, 0)) / w"""
    np.minimum(x, 0, out=out)
    np.exp(out, out=out)
    np.divide(out, w, out=out)


def _softplus(x: Array, e: Array, w: Array, out: Array) -> None:
    """max(x, 0) + log(1 + e); consumes `e` and `w`."""
    np.maximum(x, 0, out=out)
    np.subtract(e, w - 1, out=e)
    np.divide(e, w, out=e)
    np.log(w, out=w)
    np.add(w, e, out=w)
    np.add(out, w, out=out)

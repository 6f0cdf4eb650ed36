"""Softplus and sigmoid of large NumPy arrays, in place, a strip at a time so that all is in cache.

With e = exp(-|x|) and w = 1 + e as it was rounded, log(1 + e) = log(w) + (e - (w - 1)) / w to the
second order of that rounding: on many machines np.log1p takes six times as long as np.exp in
float32. There are no masks, which take ten times as long as np.exp where signs follow no pattern.
"""

from collections.abc import Iterator

import numpy as np

from nearfar.frameworks.types import Array

# Entries of a strip: of fewer, threads wait for the interpreter as long as they compute.
_STRIP = 2**17


def softplus_(x: Array) -> Array:
    for rows, e, w, spare in _strips(x):
        _powers(x[rows], e, w)
        np.maximum(x[rows], 0, out=x[rows])
        np.add(x[rows], _log_(e, w, spare), out=x[rows])
    return x


def sigmoid_(x: Array) -> Array:
    for rows, e, w, _ in _strips(x):
        _powers(x[rows], e, w)
        _over_(x[rows], w)
    return x


def softplus_sums_and_sigmoid_(x: Array) -> tuple[Array, Array]:
    """Sums along the rows of the softplus; the sigmoid in the place of `x`."""
    sums = np.empty(len(x), x.dtype)
    ones = np.ones(x.shape[1], x.dtype)
    for rows, e, w, spare in _strips(x):
        _powers(x[rows], e, w)
        positive = np.maximum(x[rows], 0, out=spare) @ ones
        _over_(x[rows], w)
        np.add(positive, _log_(e, w, spare) @ ones, out=sums[rows])
    return sums, x


def _strips(x: Array) -> Iterator[tuple[slice, Array, Array, Array]]:
    """Rows of `x`, and three arrays of their shape."""
    step = max(1, _STRIP // max(1, x[:1].size))
    e, w, spare = np.empty((3, *x[:step].shape), x.dtype)
    for start in range(0, len(x), step):
        size = min(step, len(x) - start)
        yield slice(start, start + size), e[:size], w[:size], spare[:size]


def _powers(x: Array, e: Array, w: Array) -> None:
    np.abs(x, out=e)
    np.negative(e, out=e)
    np.exp(e, out=e)
    np.add(e, 1, out=w)


def _over_(x: Array, w: Array) -> None:
    """exp(min(x, 0)) / w, the sigmoid, in the place of `x`."""
    np.minimum(x, 0, out=x)
    np.exp(x, out=x)
    np.divide(x, w, out=x)


def _log_(e: Array, w: Array, spare: Array) -> Array:
    """log(1 + e); consumes all of them."""
    np.subtract(w, 1, out=spare)
    np.subtract(e, spare, out=e)
    np.divide(e, w, out=e)
    np.log(w, out=w)
    return np.add(w, e, out=w)

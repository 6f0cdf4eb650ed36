"""Softplus and sigmoid of large NumPy arrays, in place, a strip at a time so that all is in cache.

With e = exp(x) and w = 1 + e as it was rounded, log(1 + e) = log(w) + (e - (w - 1)) / w to the
second order of that rounding: on many machines np.log1p takes six times as long as np.exp in
float32. What exp(x) does not reach is beyond where log(1 + e) is x and the sigmoid 1. There are no
masks, which take ten times as long as np.exp where signs follow no pattern.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from nearfar.frameworks.protocol.types import Array

# Entries of a strip: of fewer, threads wait for the interpreter as long as they compute.
_STRIP = 2**17

# Up to where exp(x) is taken, by item size.
FAR = {4: 80.0, 8: 700.0}


def softplus_(x: Array) -> Array:
    for strip in _strips(x):
        np.copyto(strip.x, strip.softplus())
    return x


def sigmoid_(x: Array) -> Array:
    for strip in _strips(x):
        np.divide(strip.e, strip.w, out=strip.x)
    return x


def softplus_sums_and_sigmoid_(x: Array) -> tuple[Array, Array]:
    """Sums along the rows of the softplus; the sigmoid in the place of `x`."""
    sums: list[Array] = [np.empty(0, x.dtype)]
    ones = np.ones(x.shape[1], x.dtype)
    for strip in _strips(x):
        beyond = strip.beyond()
        np.divide(strip.e, strip.w, out=strip.x)
        sums.append(strip.logarithm() @ ones + (0 if beyond is None else beyond @ ones))
    return np.concatenate(sums), x


class _Strip(NamedTuple):
    x: Array
    e: Array
    w: Array
    spare: Array
    far: float | None
    """Where `e` stays as it is, if there are entries so large."""

    def beyond(self) -> Array | None:
        """What the logarithm lacks."""
        return None if self.far is None else np.maximum(self.x, self.far) - self.far

    def logarithm(self) -> Array:
        """log(1 + e); consumes all but `x`."""
        np.subtract(self.w, 1, out=self.spare)
        np.subtract(self.e, self.spare, out=self.e)
        np.divide(self.e, self.w, out=self.e)
        np.log(self.w, out=self.w)
        return np.add(self.w, self.e, out=self.w)

    def softplus(self) -> Array:
        beyond, found = self.beyond(), self.logarithm()
        return found if beyond is None else found + beyond


def _strips(x: Array) -> Iterator[_Strip]:
    """Some rows at a time, which may be written over."""
    step = max(1, _STRIP // max(1, x[:1].size))
    arrays = np.empty((3, *x[:step].shape), x.dtype)
    far = FAR[x.itemsize]
    for start in range(0, len(x), step):
        part = x[start : start + step]
        e, w, spare = arrays[:, : len(part)]
        within = part.max(initial=0) <= far  # which NaN is not
        np.exp(part if within else np.minimum(part, far, out=e), out=e)
        np.add(e, 1, out=w)
        yield _Strip(part, e, w, spare, None if within else far)

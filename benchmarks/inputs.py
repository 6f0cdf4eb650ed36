"""What losses are given, in NumPy: unit rows, since peers differ in whether they normalise."""

from collections.abc import Callable

import numpy as np

FEATURES = 128
PER_CLASS = 8
Arrays = tuple[np.ndarray, ...]
Inputs = Callable[[int], Arrays]


def rows(n: int) -> np.ndarray:
    x = np.random.default_rng(0).standard_normal((n, FEATURES), dtype=np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def views(n: int) -> Arrays:
    """Two views of half as many samples."""
    x = rows(n)
    return x[: n // 2].copy(), x[n // 2 :].copy()


def towers(n: int) -> Arrays:
    """As many rows on each side."""
    return views(2 * n)


def classes(n: int) -> Arrays:
    return rows(n), np.random.default_rng(1).permutation(np.arange(n) // PER_CLASS)


def two_classes(n: int) -> Arrays:
    return rows(n), np.random.default_rng(1).permutation(np.arange(n) % 2)


def numbers(n: int) -> Arrays:
    """Two views of half as many samples, one after the other, with the targets of both.

    Differences of targets are exact: rounded ones would be in another order in float64.
    """
    targets = np.random.default_rng(1).standard_normal(n // 2)
    targets = (np.round(targets * 2**16) / 2**16).astype(np.float32)
    return rows(n), np.concatenate([targets, targets])


def in_float64(inputs: Inputs) -> Inputs:
    return lambda n: tuple(x.astype(float) if x.dtype.kind == "f" else x for x in inputs(n))

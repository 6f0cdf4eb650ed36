"""Arrays that the measures accept, and the tiles they compute in."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.frameworks import missing, to_host

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

# Entries of the largest array of distances held at a time. The work on a tile needs at most eight
# arrays of this size: 64 MiB.
TILE = 2**20


def tiles(n_rows: int, n_columns: int, entries: int | None = None) -> Iterator[slice]:
    step = max(1, (TILE if entries is None else entries) // max(1, n_columns))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def unit(x: Floats) -> Floats:
    """Rows of norm 1; zero rows stay zero. Squares of huge and tiny entries never leave range."""
    peak = np.abs(x).max(axis=1, keepdims=True)
    x = x / np.where(peak > 0, peak, 1)
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.where(norm > 0, norm, 1))


def rows_of(x: Any, name: str) -> Floats:
    array = _numbers(x, name)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(
            f"{name} must have shape (n, d) with n, d >= 1, received shape {array.shape}"
        )
    return _finite(array, name)


def targets_of(y: Any, name: str, n: int) -> Floats:
    array = _numbers(y, name)
    if array.ndim not in (1, 2) or len(array) != n or 0 in array.shape:
        raise ValueError(
            f"{name} must have shape ({n},) or ({n}, t), one row for each embedding, "
            f"received shape {array.shape}"
        )
    return _finite(array, name)


def _numbers(x: Any, name: str) -> Floats:
    """A float64 array, or an error that names the argument."""
    try:
        array = to_host(x)
    except ValueError as error:  # rows of unequal length
        raise ValueError(f"{name} must be an array of numbers: {error}") from None
    if isinstance(array, np.ma.MaskedArray):
        array = np.where(np.ma.getmaskarray(array), np.nan, array.data)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, received dtype {array.dtype}")
    return array.astype(np.float64)


def _finite(array: Floats, name: str) -> Floats:
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        raise ValueError(
            f"{name} must be finite, received NaN or infinity in row {bad[0, 0]}: "
            "drop or repair such rows"
        )
    return array


def codes_of(named: dict[str, tuple[Any, int]]) -> list[Ints]:
    """Labels as numbers 0, 1, ... in sorted order, the same for all arrays given."""
    arrays = []
    for name, (labels, n) in named.items():
        array = to_host(labels)
        if array.shape != (n,):
            remedy = f": use {name}.ravel()" if array.shape in ((n, 1), (1, n)) else ""
            raise ValueError(
                f"{name} must have shape ({n},), one for each row, "
                f"received shape {array.shape}{remedy}"
            )
        absent = missing(array)
        if absent.any():
            row = int(absent.argmax())
            raise ValueError(
                f"{name} must not hold NaN or other missing labels, received one in row {row}: "
                "drop such rows"
            )
        arrays.append(array)
    # NumPy would turn numbers beside strings into strings: compare those as objects.
    numeric = {array.dtype.kind in "biuf" for array in arrays}
    joined = np.concatenate(arrays if len(numeric) == 1 else [a.astype(object) for a in arrays])
    try:
        codes = np.unique(joined, return_inverse=True)[1]
    except TypeError as error:
        raise TypeError(
            f"{' and '.join(named)} must hold labels of one kind that sort: {error}"
        ) from None
    return np.split(codes.astype(np.intp), np.cumsum([len(a) for a in arrays])[:-1])

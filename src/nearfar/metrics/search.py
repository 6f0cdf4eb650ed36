"""The nearest rows of each query, in tiles of bounded memory."""

from collections.abc import Iterator

import numpy as np

from nearfar.metrics.arrays import Floats, Ints, unit
from nearfar.metrics.device import Device
from nearfar.metrics.reach import Compared, OnDevice, OnHost

METRICS = ("euclidean", "sqeuclidean", "cosine", "cityblock", "chebyshev", "hamming")


def nearest_rows(
    queries: Floats,
    reference: Floats | None,
    counts: Ints,
    metric: str,
    device: Device | None = None,
) -> Iterator[tuple[slice, Ints]]:
    """For one tile of queries after the other, the indices of the nearest rows, nearest first.

    counts : (n,) neighbours wanted by each query. A tile's indices are (b, largest count in it).
    device : where to compare; None is the host.

    For the Euclidean metrics a matrix product sorts the rows, and where two are closer than its
    rounding their differences decide, on the host: the speed of the product, the order of the
    differences.
    """
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, received {metric!r}")
    alone = reference is None
    rows = queries if reference is None else reference
    if metric == "cosine":
        queries, rows = _cosine_rows(queries, rows)
    # A power of two changes no digit, and keeps the squares of huge and tiny rows in range.
    exponent = np.frexp(max(np.abs(queries).max(), np.abs(rows).max()))[1]
    queries, rows = np.ldexp(queries, -exponent), np.ldexp(rows, -exponent)
    euclidean = metric in ("euclidean", "sqeuclidean", "cosine")
    compared = Compared(queries, rows, alone, None if euclidean else metric)
    if device is None or not (euclidean or device.is_wide):
        # In single precision two rows may become equal, which only differences would tell.
        search: OnHost | OnDevice = OnHost(compared)
    else:
        search = OnDevice(compared, device)
    for tile in search.tiles():
        k = int(counts[tile].max())
        nearest = np.empty((tile.stop - tile.start, k), dtype=np.intp)
        for query, near, d in search.within_reach(tile, k) if k else ():
            order = np.lexsort((near, d))  # equal ones in the order of their indices
            near, d = near[order], d[order]
            if search.room[query] > 0:
                near = _settled(near, d, search.room[query], queries[query], rows)
            nearest[query - tile.start] = near[:k]
        yield tile, nearest


def _settled(near: Ints, d: Floats, room: float, query: Floats, rows: Floats) -> Ints:
    """Sorted rows, with those that rounding may have swapped sorted by their differences."""
    run = np.cumsum(np.diff(d, prepend=d[0]) > room)  # neighbours closer than room share a run
    if run[-1] == len(run) - 1:
        return near
    shared = np.flatnonzero(np.bincount(run)[run] > 1)
    exact = np.zeros(len(near))
    exact[shared] = np.square(rows[near[shared]] - query).sum(axis=1)
    return near[np.lexsort((near, exact, run))]


def _cosine_rows(queries: Floats, rows: Floats) -> tuple[Floats, Floats]:
    """Rows whose Euclidean order is the order of the cosines.

    ||u - v||^2 = 2 - 2 cos for unit rows. A zero row becomes a unit row along an axis of its own,
    one for the queries and one for the rows: at right angles to all others, so its cosines are 0.
    """
    a, b = unit(queries), unit(rows)
    a_zero, b_zero = (~x.any(axis=1, keepdims=True) for x in (a, b))
    return (
        np.hstack([a, a_zero, np.zeros_like(a_zero)]),
        np.hstack([b, np.zeros_like(b_zero), b_zero]),
    )

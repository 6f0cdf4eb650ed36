"""The nearest rows of each query, in tiles of bounded memory."""

import math
from collections.abc import Iterator

import numpy as np

from nearfar.metrics.arrays import Floats, Ints, tiles, unit

METRICS = ("euclidean", "sqeuclidean", "cosine", "cityblock", "chebyshev", "hamming")


def nearest_rows(
    queries: Floats, reference: Floats | None, counts: Ints, metric: str
) -> Iterator[tuple[slice, Ints]]:
    """For one tile of queries after the other, the indices of the nearest rows, nearest first.

    counts : (n,) neighbours wanted by each query. A tile's indices are (b, largest count in it).

    For the Euclidean metrics a matrix product sorts the rows, and where two are closer than its
    rounding their differences decide: the speed of the product, the order of the differences.
    """
    from scipy.spatial.distance import cdist

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
    room = np.zeros(len(queries))
    if euclidean:
        centre = rows.mean(axis=0)  # a product rounds relative to norms: keep them small
        a, b = queries - centre, rows - centre
        a_squares, b_squares = np.square(a).sum(axis=1), np.square(b).sum(axis=1)
        # Twice what rounding can do to a distance, by product and by difference together.
        room = 8 * (rows.shape[1] + 8) * np.finfo(float).eps * (a_squares + b_squares.max())

    for tile in tiles(len(queries), len(rows)):
        if euclidean:
            distances = a[tile] @ b.T  # (b, m)
            distances *= -2
            distances += b_squares
            distances += a_squares[tile, None]
        else:
            distances = cdist(queries[tile], rows, metric)
        if alone:
            distances[np.arange(len(distances)), np.arange(tile.start, tile.stop)] = math.inf
        k = int(counts[tile].max())
        nearest = np.empty((len(distances), k), dtype=np.intp)
        if k:
            reach = np.partition(distances, k - 1, axis=1)[:, k - 1] + room[tile]
            for i, d in enumerate(distances):
                query = tile.start + i
                near = np.flatnonzero(d <= reach[i])
                order = np.argsort(d[near], kind="stable")  # equal ones stay in index order
                near, d = near[order], d[near[order]]
                if room[query] > 0:
                    near = _settled(near, d, room[query], queries[query], rows)
                nearest[i] = near[:k]
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

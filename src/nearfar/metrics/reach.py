"""The rows that may be among a query's nearest, found on the host or where the embeddings lie."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from nearfar import distances
from nearfar.extras import imported
from nearfar.frameworks import Array, Block, Scratch
from nearfar.metrics.arrays import Floats, Ints, tiles
from nearfar.metrics.device import Device

# Rows that a device brings back beyond those that are asked for: rounding or a tie may have put
# one of the nearest behind the last.
SPARE = 32


class Compared(NamedTuple):
    """What is compared: queries (n, d) with rows (m, d), entries of at most 1."""

    queries: Floats
    rows: Floats
    alone: bool
    """Whether the rows are the queries, of which none finds itself."""
    metric: str | None
    """None: squared Euclidean distances, from a product."""


class _Search:
    """Distances of a tile of queries to all rows, and how far rounding may have moved them."""

    def __init__(self, compared: Compared, rounding: float) -> None:
        self.compared = compared
        queries, rows = compared.queries, compared.rows
        self.room = np.zeros(len(queries))
        if compared.metric is None:
            centre = rows.mean(axis=0)  # a product rounds relative to norms: keep them small
            self.a, self.b = queries - centre, rows - centre
            self.a_squares, self.b_squares = (np.square(x).sum(axis=1) for x in (self.a, self.b))
            # Twice what rounding can do to a distance, by product and by difference together.
            size = self.a_squares + self.b_squares.max()
            self.room = 8 * (rows.shape[1] + 8) * rounding * size


class OnHost(_Search):
    def __init__(self, compared: Compared) -> None:
        super().__init__(compared, float(np.finfo(float).eps))

    def tiles(self) -> Iterator[slice]:
        return tiles(len(self.compared.queries), len(self.compared.rows))

    def within_reach(self, tile: slice, k: int) -> Iterator[tuple[int, Ints, Floats]]:
        """Of each query the rows that may be among its k nearest, and their distances."""
        found = self._distances(tile)
        reach = np.partition(found, k - 1, axis=1)[:, k - 1] + self.room[tile]
        for i, d in enumerate(found):
            near = np.flatnonzero(d <= reach[i])
            yield tile.start + i, near, d[near]

    def _distances(self, tile: slice) -> Floats:
        queries, rows, alone, metric = self.compared
        found: Floats
        if metric is None:
            found = self.a[tile] @ self.b.T  # (b, m)
            found *= -2
            found += self.b_squares
            found += self.a_squares[tile, None]
        else:
            scipy = imported("scipy.spatial.distance", "nearfar.metrics", "sklearn")
            found = scipy.cdist(queries[tile], rows, metric)
        if alone:
            found[np.arange(len(found)), np.arange(tile.start, tile.stop)] = math.inf
        return found


class OnDevice(_Search):
    def __init__(self, compared: Compared, device: Device) -> None:
        super().__init__(compared, device.rounding)
        self.device = device
        if compared.metric is None:
            arrays = [self.a, self.b, self.a_squares[:, None], self.b_squares[None, :]]
        else:
            arrays = [compared.queries, compared.rows]
        self.arrays = [device.up(x) for x in arrays]

    def tiles(self) -> Iterator[slice]:
        return self.device.tiles(len(self.compared.queries), len(self.compared.rows))

    def within_reach(self, tile: slice, k: int) -> Iterator[tuple[int, Ints, Floats]]:
        """Of each query the rows that may be among its k nearest, and their distances."""
        device, m = self.device, len(self.compared.rows)
        most = min(m, k + SPARE)
        with device.ns.scratch() as scratch:
            found = self._distances(tile, scratch)
            order = device.ns.argsort(found)[:, :most]
            near, d = device.ns.to_numpy(order), device.down(device.ns.gather(found, order))
            reach = d[:, k - 1] + self.room[tile]
            for i in range(len(d)):
                columns, values = near[i], d[i]
                if most < m and values[-1] <= reach[i]:  # others may be as near
                    row = device.ns.rows(found, Block(i, 1))
                    columns, values = np.arange(m), device.down(row)[0]
                inside = values <= reach[i]
                yield tile.start + i, columns[inside], values[inside]

    def _distances(self, tile: slice, scratch: Scratch | None) -> Array:
        ns, metric = self.device.ns, self.compared.metric
        block = Block(tile.start, tile.stop - tile.start)
        if metric is None:
            a, b, a_squares, b_squares = self.arrays
            found = ns.product(ns.rows(a, block), b, scratch, "distances")  # (b, m)
            found = ns.add_(ns.mul_(found, -2), b_squares)
            found = ns.add_(found, ns.rows(a_squares, block))
        else:
            queries, rows = self.arrays
            found = distances.pairwise(ns.rows(queries, block), rows, metric)
        if not self.compared.alone:
            return found
        return ns.fill_diagonal_(found, block, Block(0, len(self.compared.rows)), math.inf)

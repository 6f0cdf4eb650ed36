"""What a loss cannot do without, in bare operations on tiles that stay in the caches.

Every pair has to be visited once before the sums of its anchors are known and once after. Whoever
keeps what the first visit made pays products of logits and exponentials once, whoever keeps nothing
pays them twice, but for losses whose sums are known row by row.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from benchmarks import orders
from benchmarks.inputs import Arrays
from benchmarks.runs import Run

SIDE = 512


class Floor(NamedTuple):
    """Operations on each tile of logits, which is visited once, or not at all if its mirror is."""

    half: bool
    """One tile serves the anchors of its rows and of its columns."""
    exponentials: int
    """And logarithms."""
    sums: int
    """Passes that only read a tile."""
    passes: int
    """That read one and write one."""
    gradients: int
    """Products of weights with rows."""
    visits: int = 2
    maxima: int = 0
    """Passes that only read a tile, and find the largest of each row or of each column."""
    picks: int = 0
    """Rows that an anchor's gradient is made of, taken from where they are."""
    alike: int = 0
    """An anchor's candidates have to be put in an order, in which so many rows of one target share
    a place: see `orders`. 0: no order."""

    def said(self, kept: bool) -> str:
        """In words."""
        times = 1 if kept else self.visits
        parts = (
            (times + self.gradients, "products"),
            (times * self.exponentials, "exponentials"),
            (self.sums, "sums"),
            (self.maxima, "maxima"),
            (self.passes, "passes"),
        )
        told = ", ".join(f"{count} {what}" for count, what in parts if count)
        told += f" of {'half' if self.half else 'all'} n x n"
        if self.alike:
            told += f"; an order, 2 running sums of n x n / {self.alike}"
        return f"{told}; {self.picks} rows of others an anchor" if self.picks else told

    def tiles(self, n: int) -> Iterator[tuple[slice, slice]]:
        blocks = [slice(k, min(k + SIDE, n)) for k in range(0, n, SIDE)]
        return (
            (a, b) for k, a in enumerate(blocks) for b in blocks[: k + 1 if self.half else None]
        )


class Operations(NamedTuple):
    """Each writes into its `out`."""

    product: Callable[..., Any]
    exp: Callable[..., Any]
    sum: Callable[..., Any]
    largest: Callable[..., Any]
    times: Callable[..., Any]


def _work(
    floor: Floor,
    kept: bool,
    do: Operations,
    sides: tuple[Any, Any, Any],
    factor: Any,
    room: tuple[Any, Any],
    out: tuple[Any, Any],
) -> None:
    """What a tile takes at least, of rows against rows that are given transposed too, in `room` for
    two tiles; the products of its weights go to `out`."""
    (a, b, across), (made, changed) = sides, room
    times = 1 if kept else floor.visits
    for _ in range(times):
        do.product(a, across, out=made)
    for _ in range(times * floor.exponentials):
        do.exp(made, out=changed)
    for k in range(floor.sums):
        do.sum(made, k % 2)
    for k in range(floor.maxima):
        do.largest(made, k % 2)
    for _ in range(floor.passes):
        do.times(made, factor, out=changed)
    for k in range(floor.gradients):
        weights, rows = (changed, b) if k % 2 == 0 else (changed.T, a)
        do.product(weights, rows, out=out[k % 2])


def _sum(x: np.ndarray, axis: int) -> np.ndarray:
    """By BLAS, which is sooner than `np.sum`."""
    return np.ones(len(x), x.dtype) @ x if axis == 0 else x @ np.ones(x.shape[1], x.dtype)


def _strips(
    floor: Floor, n: int, make: Callable[[int], Callable[[], None]]
) -> list[Callable[[], None]]:
    """The work of putting all anchors' candidates in order."""
    if not floor.alike:
        return []
    return [make(n // floor.alike)] * -(-n // orders.STRIP)


def in_torch(floor: Floor, kept: bool, given: Arrays) -> Run:
    import torch

    do = Operations(torch.mm, torch.exp, torch.sum, torch.amax, torch.mul)
    x = torch.from_numpy(given[0])
    out, factors = torch.empty_like(x), torch.ones(len(x), 1)
    tile, other = (torch.ones(SIDE, SIDE) for _ in range(2))
    places = torch.from_numpy(np.random.default_rng(2).permutation(len(x)))
    strips = _strips(floor, len(x), orders.in_torch)

    def call() -> list[np.ndarray]:
        for i, j in floor.tiles(len(x)):
            a, b = x[i], x[j]
            room = tile[: len(a), : len(b)], other[: len(a), : len(b)]
            _work(floor, kept, do, (a, b, b.T), factors[i], room, (out[i], out[j]))
        for _ in range(floor.picks):
            torch.index_select(x, 0, places, out=out)
        for strip in strips:
            strip()
        return []

    return Run(call)


def in_numpy(floor: Floor, kept: bool, given: Arrays) -> Run:
    """A thread takes whole tiles."""
    from threadpoolctl import ThreadpoolController

    do = Operations(np.matmul, np.exp, _sum, np.max, np.multiply)
    x = given[0]
    # Given x.T itself, NumPy makes half a product and mirrors it.
    columns, factors = x.copy().T, np.ones((len(x), 1), x.dtype)
    tiles, threads = list(floor.tiles(len(x))), len(os.sched_getaffinity(0))
    places = np.random.default_rng(2).permutation(len(x))
    # A thread has strips of its own.
    strips = [_strips(floor, len(x), orders.in_numpy)[k::threads] for k in range(threads)]

    def some(start: int) -> None:
        tile, other = np.ones((2, SIDE, SIDE), x.dtype)
        out = np.empty_like(x, shape=(SIDE, x.shape[1]))
        for i, j in tiles[start::threads]:
            a, b = x[i], x[j]
            room = tile[: len(a), : len(b)], other[: len(a), : len(b)]
            _work(
                floor,
                kept,
                do,
                (a, b, columns[:, j]),
                factors[i],
                room,
                (out[: len(a)], out[: len(b)]),
            )
        for _ in range(floor.picks):
            for k in range(start * SIDE, len(x), threads * SIDE):
                some = places[k : k + SIDE]
                np.take(x, some, axis=0, out=out[: len(some)], mode="clip")
        for strip in strips[start]:
            strip()

    def call() -> list[np.ndarray]:
        with ThreadpoolController().limit(limits=1), ThreadPoolExecutor(threads) as pool:
            list(pool.map(some, range(threads)))
        return []

    return Run(call)

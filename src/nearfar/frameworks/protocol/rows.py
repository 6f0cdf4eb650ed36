"""Rows of arrays, blocks of them, and what is done along each row of a matrix."""

from collections.abc import Callable
from typing import Any

import numpy as np

from nearfar.frameworks.protocol.elementwise import ElementWise
from nearfar.frameworks.protocol.types import Array, Block, Scratch

SMALLEST_NORMAL = {4: float(np.finfo(np.float32).tiny), 8: float(np.finfo(np.float64).tiny)}
"""By item size."""


class RowWise(ElementWise):
    def zeros(self, shape: tuple[int, ...], like: Array) -> Array:
        return self.asarray(np.zeros(shape), like)

    def accumulator(self, shape: tuple[Any, ...], like: Array) -> Any:
        """Zeros to which `add_rows_` and `add_product_` add, and nothing else is done before
        `accumulated`."""
        return self.zeros(shape, like)

    def accumulated(self, x: Any) -> Array:
        """What an accumulator came to."""
        return x

    def untouched(self, x: Any, block: Block | None = None) -> bool:
        """Whether nothing was added to an accumulator yet, and the block is all of it."""
        return False

    def ones(self, shape: tuple[int, ...], like: Array) -> Array:
        return self.zeros(shape, like) + 1

    def rows(self, x: Array, block: Block) -> Array:
        if block.size == x.shape[0]:
            return x  # a slice costs a small batch as much as a sum
        return x[block.start : block.start + block.size, ...]

    def by_rows(
        self, function: Callable[..., tuple[Array, ...]], *arrays: Array | None
    ) -> tuple[Array, ...]:
        """`function` of arrays with as many rows each, a row of which gives one row or several.

        Where it writes in place it is given some rows at a time, so that its temporaries are small;
        how many, the size of the first array tells. It may consume that one and return it.
        """
        return function(*arrays)

    def dots(self, x: Array, y: Array) -> Array:
        """Inner products of matched rows, (n,)."""
        return self.xp.sum(x * y, axis=1)

    def unit_rows(self, z: Array, factor: Any) -> tuple[Array, Array]:
        """``factor * z / |z|`` and ``factor / |z|``, (n, d) and (n, 1); 0 and 0 for a row of
        zeros. The latter is at most 1 over the smallest normal number."""
        xp = self.xp
        # Scaled by the largest entry first: squares of 1e-20 or 1e20 leave float32.
        largest = self.stop_gradient(xp.max(xp.abs(z), axis=1, keepdims=True))
        zero = largest == 0
        largest = self.fill_(largest, zero, 1)
        p = z / largest
        square = self.fill_(xp.sum(p * p, axis=1, keepdims=True), zero, float("inf"))
        scale = factor / xp.sqrt(square)
        # Beyond the dtype it would be infinite, and times a gradient of 0 NaN.
        floor = scale * SMALLEST_NORMAL[self.itemsize(z)]
        return self.mul_(p, scale), scale / xp.where(largest < floor, floor, largest)

    def without_(self, x: Array, p: Array, times: Any) -> tuple[Array, Array]:
        """``x - times * along * p`` with ``along = dots(p, x)``, (n, d) and (n, 1)."""
        along = self.xp.sum(p * x, axis=1, keepdims=True)
        return self.sub_(x, p * (along * times)), along

    def take(self, x: Array, order: Array) -> Array:
        return self.xp.take(x, self.asarray(order, x, self.xp.int64), axis=0)

    def positions(self, block: Block, like: Array) -> Array:
        """The row numbers of a block, (size,)."""
        return self.asarray(np.arange(block.size), like, self.xp.int64) + block.start

    def same(self, i: Block, j: Block, like: Array, width: int = 1) -> Array:
        """True where row and column number, over `width`, are equal: (i.size, j.size)."""
        rows, columns = self.numbers(i, j, like, width)
        return rows == columns

    def numbers(self, i: Block, j: Block, like: Array, width: int = 1) -> tuple[Array, Array]:
        """Row and column numbers over `width`, (i.size, 1) and (1, j.size)."""
        rows, columns = self.positions(i, like), self.positions(j, like)
        if width > 1:
            rows, columns = rows // width, columns // width
        return rows[:, None], columns[None, :]

    def set_rows_(self, x: Array, block: Block, value: Array) -> Array:
        before, after = x[: block.start, ...], x[block.start + block.size :, ...]
        return self.xp.concat([before, value, after], axis=0)

    def add_rows_(self, x: Array, block: Block, value: Array) -> Array:
        return self.set_rows_(x, block, self.rows(x, block) + value)

    def add_product_(
        self, x: Array, block: Block, a: Array, b: Array, scratch: Scratch | None, times: int = 1
    ) -> Array:
        """Add ``times * (a @ b)`` to a block of rows."""
        return self.add_rows_(x, block, a @ b if times == 1 else times * (a @ b))

    def columns(self, x: Array, block: Block) -> Array:
        return x[:, block.start : block.start + block.size]

    def set_columns_(self, x: Array, block: Block, value: Array) -> Array:
        before, after = x[:, : block.start], x[:, block.start + block.size :]
        return self.xp.concat([before, value, after], axis=1)

    def add_columns_(self, x: Array, block: Block, value: Array) -> Array:
        return self.set_columns_(x, block, self.columns(x, block) + value)

    def argsort(self, x: Array) -> Array:
        """Where the entries of each row stand in ascending order, for `gather` and `scatter`."""
        return self.xp.argsort(x, axis=1)

    def merge(self, x: Array, scratch: Scratch | None = None, key: str = "") -> Array:
        """`argsort` of rows that mostly fall and then rise, which need not be sorted anew.

        At most one entry of a row is below 0. In the buffer named `key` if one is lent.
        """
        return self.argsort(x)

    def largest(self, x: Array) -> tuple[Array, Array]:
        """Column and value of the first largest entry of each row, (b,) each."""
        columns = self.xp.argmax(x, axis=1)
        return columns, self.gather(x, columns[:, None])[:, 0]

    def largest_of_columns(self, x: Array) -> tuple[Array, Array]:
        """Row and value of the first largest entry of each column; in place only."""
        raise NotImplementedError


def fill_segments(
    ns: RowWise, x: Array, starts: Array, last: bool, running_min: Callable[[Array, bool], Array]
) -> Array:
    """`segment_fill` where there is a running minimum, of all before or (True) after an entry."""
    xp = ns.xp
    if last:
        end = xp.ones_like(starts[:, :1])
        starts = xp.concat([starts, end], axis=1)[:, 1:]
    return running_min(xp.where(starts, x, xp.full_like(x, float("inf"))), last)

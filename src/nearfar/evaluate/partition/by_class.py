"""Tiles that hold positives and negatives, whose sums share exponentials.

Exponentials that need no shift are made once. Those of positives, of which all others are 0, are
taken off the tile for the sum over negatives and put back, which is exact. Positives stand in some
windows of a tile only, where the host knows the labels. Ones and zeros multiply: exponentials
without a shift are finite, and NaN belongs to everybody's sum.
"""

from collections.abc import Iterator
from typing import NamedTuple

from nearfar.evaluate.partition.tile import TileContext
from nearfar.evaluate.plan import Kind
from nearfar.frameworks import Array, Block, Namespace, Scratch
from nearfar.similarity import Place


class Window(NamedTuple):
    """A part of a tile."""

    number: int
    rows: Block
    columns: Block
    positive: Array
    """1 for positives, 0 for all others."""

    def of(self, ns: Namespace, x: Array, i: Block, j: Block) -> Array:
        """This part of the tile of two blocks."""
        rows = ns.rows(x, Block(self.rows.start - i.start, self.rows.size))
        columns = Block(self.columns.start - j.start, self.columns.size)
        return rows if columns.size == j.size else ns.columns(rows, columns)

    def places(self, places: tuple[Place, ...]) -> tuple[Place, ...]:
        """Of those of the tile."""
        blocks = self.rows, self.columns
        return tuple(p._replace(block=b) for p, b in zip(places, blocks, strict=False))

    def positives(self, ns: Namespace, x: Array, scratch: Scratch | None) -> Array:
        """`x` of this part, for the positives, and 0 for all others."""
        return ns.times(x, self.positive, scratch, f"own{self.number}")


class ByClass:
    def __init__(self, tiling: TileContext, kind: Kind) -> None:
        self._tiling, self._ns = tiling, tiling.ns
        self._meets = tiling.meets(kind)
        self._include_self = tiling.include_self

    def exponentials(self, logits: Array, i: Block, j: Block) -> Array:
        """Of all pairs of a tile, of which this consumes the logits."""
        tiling = self._tiling
        y = tiling.exponentials.applied_(self._ns, logits, tiling.rule.sums[0].times)
        if self._meets and not self._include_self:
            y = self._ns.fill_diagonal_(y, i, j, 0)
        return y

    def windows(self, i: Block, j: Block, scratch: Scratch | None) -> list[Window]:
        found = self._tiling.windows
        parts = [(i, j)] if found is None else found(i, j)
        return [Window(k, *part, self._ones(k, *part, scratch)) for k, part in enumerate(parts)]

    def _ones(self, k: int, i: Block, j: Block, scratch: Scratch | None) -> Array:
        compared, like = self._tiling.compared(i, j), self._tiling.sides[0].p
        ones = self._ns.equal(*compared, like, scratch, f"positive{k}")
        if self._meets:
            ones = self._ns.fill_diagonal_(ones, i, j, self._include_self == "positive")
        return ones

    def taken_off(
        self, y: Array, windows: list[Window], i: Block, j: Block, scratch: Scratch | None
    ) -> Iterator[tuple[Window, Array]]:
        """The exponentials of positives, which are 0 in the tile then."""
        for window in windows:
            part = window.of(self._ns, y, i, j)
            own = window.positives(self._ns, part, scratch)
            self._ns.sub_(part, own)
            yield window, own

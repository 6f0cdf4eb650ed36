"""Tiles that hold positives and negatives, whose sums share exponentials.

Exponentials that need no shift are made once. Those of positives are taken off the tile for the sum
over negatives and put back, which is exact. Where the host knows the labels, positives are listed
if they are few, and stand in some windows of a tile only if they are many; there ones and zeros
multiply: exponentials without a shift are finite, and NaN belongs to everybody's sum.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from nearfar.evaluate.partition.tile import TileContext, replaced
from nearfar.evaluate.plan import Kind
from nearfar.frameworks import Array, Block, Namespace, Scratch
from nearfar.similarity import Place

Sums = tuple[Array, ...]
"""A sum for each anchor of a set, for every set."""


class Positives(Protocol):
    """Some positives of a tile; `x` are numbers of theirs, as `taken` gives them."""

    def taken(self, y: Array, scratch: Scratch | None) -> Array:
        """Theirs of a tile."""

    def add_(self, y: Array, x: Array) -> None:
        """Add to theirs in a tile."""

    def sub_(self, y: Array, x: Array) -> None: ...

    def add_sums(self, sums: Sums, places: tuple[Place, ...], x: Array) -> Sums:
        """Add up for the anchors at the places of the tile."""

    def outer_sum(self, a: Array, b: Array | None, scratch: Scratch | None) -> Array:
        """Of a number for each row of the tile, and one for each column."""


class Window(NamedTuple):
    """Those in a part of a tile."""

    ns: Namespace
    number: int
    tile: tuple[Block, Block]
    rows: Block
    columns: Block
    positive: Array
    """1 for positives, 0 for all others."""

    def taken(self, y: Array, scratch: Scratch | None) -> Array:
        return self.ns.times(self._of(y), self.positive, scratch, f"own{self.number}")

    def add_(self, y: Array, x: Array) -> None:
        self.ns.add_(self._of(y), x)

    def sub_(self, y: Array, x: Array) -> None:
        self.ns.sub_(self._of(y), x)

    def add_sums(self, sums: Sums, places: tuple[Place, ...], x: Array) -> Sums:
        ns = self.ns
        for axis, place in enumerate(places):
            block = self.columns if axis else self.rows
            some = ns.column_sums(x) if axis else ns.row_sums(x)
            added = ns.add_rows_(sums[place.side], block, some)
            sums = replaced(sums, place.side, added)
        return sums

    def outer_sum(self, a: Array, b: Array | None, scratch: Scratch | None) -> Array:
        i, j = self.tile
        a = self.ns.rows(a, self._local(self.rows, i))
        if b is None:
            return self.ns.times(self.positive, a[:, None], scratch, "positives")
        b = self.ns.rows(b, self._local(self.columns, j))
        return self.ns.mul_(self.ns.outer_sum(a, b, scratch, "positives"), self.positive)

    def _of(self, y: Array) -> Array:
        i, j = self.tile
        some = self.ns.rows(y, self._local(self.rows, i))
        whole = self.columns.size == j.size
        return some if whole else self.ns.columns(some, self._local(self.columns, j))

    def _local(self, some: Block, block: Block) -> Block:
        return Block(some.start - block.start, some.size)


class Listed(NamedTuple):
    """Those at listed places."""

    ns: Namespace
    local: tuple[Array, Array]
    """Rows and columns in the tile, (pairs,)."""
    flat: Array
    """Places in the tile, row by row."""

    def taken(self, y: Array, scratch: Scratch | None) -> Array:
        return self.ns.take(self._flat(y), self.flat)

    def add_(self, y: Array, x: Array) -> None:
        self.ns.add_at_(self._flat(y), self.flat, x)

    def sub_(self, y: Array, x: Array) -> None:
        self.ns.add_at_(self._flat(y), self.flat, -x)

    def add_sums(self, sums: Sums, places: tuple[Place, ...], x: Array) -> Sums:
        for place, local in zip(places, self.local, strict=False):
            whole = self.ns.accumulated(sums[place.side])
            self.ns.add_at_(self.ns.rows(whole, place.block), local, x)
            sums = replaced(sums, place.side, whole)
        return sums

    def outer_sum(self, a: Array, b: Array | None, scratch: Scratch | None) -> Array:
        rows, columns = self.local
        found = self.ns.take(a, rows)
        return found if b is None else self.ns.add_(found, self.ns.take(b, columns))

    def _flat(self, y: Array) -> Array:
        return self.ns.xp.reshape(y, (-1,))


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

    def positives(self, i: Block, j: Block, scratch: Scratch | None) -> Sequence[Positives]:
        """Of a tile, each once."""
        ns, tiling = self._ns, self._tiling
        # An accelerator would add to listed places in an order of its own.
        like = tiling.sides[0].p
        listed = None if ns.accelerated(like) else tiling.relation.listed(i, j)
        if listed is not None:
            across, down = listed
            if self._meets and self._include_self != "positive":
                others = across + i.start != down + j.start
                across, down = across[others], down[others]
            if not len(across):
                return []
            flat, *local = (
                ns.asarray(x, like, ns.xp.int64) for x in (across * j.size + down, across, down)
            )
            return [Listed(ns, (local[0], local[1]), flat)]
        parts = tiling.relation.windows(i, j, ns.window(like))
        return [
            Window(ns, k, (i, j), rows, columns, self._ones(k, rows, columns, scratch))
            for k, (rows, columns) in enumerate(parts)
        ]

    def _ones(self, k: int, i: Block, j: Block, scratch: Scratch | None) -> Array:
        compared = self._tiling.relation.compared(self._ns, i, j)
        ones = self._ns.equal(*compared, self._tiling.sides[0].p, scratch, f"positive{k}")
        if self._meets:
            ones = self._ns.fill_diagonal_(ones, i, j, self._include_self == "positive")
        return ones

    def taken_off(
        self, y: Array, positives: Sequence[Positives], scratch: Scratch | None
    ) -> list[Array]:
        """The exponentials of positives, which are 0 in the tile then."""
        found = []
        for some in positives:
            found.append(some.taken(y, scratch))
            some.sub_(y, found[-1])
        return found

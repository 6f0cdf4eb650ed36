"""Who is left out of a tile by the thresholds of its anchors, where exponentials serve both ends.

Exponentials that need no shift are made once for the anchors of the rows and those of the columns,
each of whom leaves others out; what tells is a tile of ones and zeros for either. It multiplies,
which leaves NaN with everybody as it leaves it without a threshold: exponentials without a shift
are never infinite.

A threshold on logits is one on their exponentials. Where these are of about 1, several logits have
one: a threshold is therefore taken some roundings higher, which leaves in who is as near as the
positive.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from nearfar.evaluate.partition.exponentials import SAFE
from nearfar.evaluate.partition.tile import TileContext, across, each_once
from nearfar.frameworks import Array, Block, Namespace, Scratch
from nearfar.similarity import Place

# Roundings that a threshold is above itself.
_ROUNDINGS = 4


class Thresholds:
    def __init__(self, tiling: TileContext, times: float) -> None:
        """For sums of exponentials of so many times the logits."""
        assert tiling.left_out is not None
        self._tiling, self._guided = tiling, tiling.left_out.guide is not None
        limits = tiling.left_out.thresholds
        if not self._guided:
            limits = tuple(self._exponential(x, times) for x in limits)
        self._limits = self.of_anchors(limits)
        self._parts = each_once(tiling.ns, partial(_parts, tiling.ns, tiling.sides[0].p))

    def of_anchors(self, each: tuple[Array, ...]) -> tuple[Callable[[Block], Array], ...]:
        """A number for each anchor, beside those along the rows of a tile and along its columns."""
        ns = self._tiling.ns
        owners = [owner for owner in self._tiling.owners if owner is not None]
        return tuple(
            each_once(ns, partial(_along, ns, each[owner], axis))
            for axis, owner in enumerate(owners)
        )

    def _exponential(self, limit: Array, times: float) -> Array:
        ns = self._tiling.ns
        itemsize = ns.itemsize(limit)
        most = SAFE[itemsize] + 1  # beyond any logit, and inside the dtype
        limit = times * limit
        limit = ns.xp.exp(ns.xp.where(limit > most, ns.xp.full_like(limit, most), limit))
        return limit * (1 + _ROUNDINGS * 2.0 ** (-23 if itemsize == 4 else -52))

    def each(
        self,
        y: Array,
        places: tuple[Place, ...],
        i: Block,
        j: Block,
        scratch: Scratch | None,
        apart: bool,
    ) -> Iterator[tuple[int, Place, Array, Array]]:
        """For some rows of a tile at a time and the anchors along one axis after another: the axis,
        their place, these rows of the exponentials `y`, and 1 where a pair is in and 0 where it is
        left out. The latter is consumed before the next is asked for, unless axes are to be
        `apart`."""
        ns, tiling, marks = self._tiling.ns, self._tiling, self._tiling.marks
        kept = bool(marks and marks.has_place(i, j))
        held: Any = y
        for rows in self._parts(i):
            local = Block(rows.start - i.start, rows.size)
            x = ns.rows(y, local)
            found = marks.find(rows, j) if marks else None
            # Not of some rows at a time, which takes longer.
            if found is None and self._guided and rows.start == i.start:
                held = tiling.guide(i, j, scratch)
            for axis, place in enumerate(places):
                place = place if axis else place._replace(block=rows)
                key = f"below{axis if apart else 0}"
                if found is not None:
                    yield axis, place, x, ns.unpacked(found[axis], x, scratch, key)
                    continue
                limit = self._limits[axis](place.block)
                below = ns.up_to(ns.rows(held, local), limit, scratch, key)
                below = tiling.with_diagonal(below, rows, j, 1)
                if marks and kept:
                    marks.keep(rows, j, ns.packed(below, scratch))
                yield axis, place, x, below


def _parts(ns: Namespace, like: Array, i: Block) -> list[Block]:
    """Rows of a tile of which arrays of ones stay in the cache beside it."""
    size, end = ns.at_once(like), i.start + i.size
    return [Block(start, min(size, end - start)) for start in range(i.start, end, size)]


def _along(ns: Namespace, x: Array, axis: int, block: Block) -> Array:
    return across(ns, x, block, axis)

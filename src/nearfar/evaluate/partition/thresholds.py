"""Who is left out of a tile by the thresholds of its anchors, where exponentials serve both ends.

Exponentials that need no shift are made once for the anchors of the rows and those of the columns,
each of whom leaves others out; what tells is a tile of ones and zeros for either. It multiplies,
which leaves NaN with everybody as it leaves it without a threshold: exponentials without a shift
are never infinite.

Where `TileContext.wider` knows which end of each pair leaves out nobody whom the other has in, the
exponentials of that end, 0 for who is left out, are held against the other's threshold. With a
guide, signs of these exponentials tell the gradient who is in at both ends.

Where nobody is left out of a tile, which the largest number in it tells, it is like any other.

A threshold on logits is one on their exponentials. Where these are of about 1, several logits have
one: a threshold is therefore taken some roundings higher, which leaves in who is as near as the
positive.
"""

from collections.abc import Callable, Iterator
from functools import partial
from math import inf

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
        self._least = tuple(
            each_once(tiling.ns, partial(_least, tiling.ns, limit)) for limit in self._limits
        )
        self.parts = each_once(tiling.ns, partial(_parts, tiling.ns, tiling.sides[0].p))

    def signs(self, i: Block, j: Block) -> bool:
        """Whether exponentials in the tile that pass 1 leaves are negative where a pair is in for
        both ends, not the wider alone."""
        tiling = self._tiling
        stored = tiling.store is not None and tiling.store.has_place(i, j)
        return stored and self._guided and tiling.wider(i, j) is not None

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

    def guide(self, i: Block, j: Block, scratch: Scratch | None) -> Array | None:
        """The guide's tile, if there is one; before the exponentials are made, which are then the
        last in the cache."""
        return self._tiling.guide(i, j, scratch) if self._guided else None

    def held(self, held: Array, i: Block, j: Block) -> Array | None:
        """What is held against the thresholds in a tile: the guide's, or exponentials; None where
        nobody is left out."""
        tiling = self._tiling
        least = min(f(b) for f, b in zip(self._least, (i, j), strict=False))
        if not tiling.ns.none_above(held, least):
            return held
        if tiling.marks:
            tiling.marks.keep_nobody(i, j)
        return None

    def held_again(
        self, y: Array, i: Block, j: Block, scratch: Scratch | None, signed: bool
    ) -> Array | None:
        """The same in pass 2, which may know who is left out without it, as of exponentials `y`
        that are `signed`."""
        marks = self._tiling.marks
        if marks and marks.nobody(i, j):
            return None
        if signed or (marks and marks.find(self.parts(i)[0], j) is not None):
            return y
        guide = self.guide(i, j, scratch)
        return self.held(y if guide is None else guide, i, j)

    def each(
        self,
        y: Array,
        held: Array,
        places: tuple[Place, ...],
        i: Block,
        j: Block,
        scratch: Scratch | None,
        apart: bool = False,
        signed: bool = False,
    ) -> Iterator[tuple[Block, Array, Callable[[int], Array]]]:
        """Some rows of a tile at a time, those of the exponentials `y`, of which something is
        `held` against the thresholds; and what gives for the anchors along an axis 1 where a pair
        is in and 0 where it is left out. That is consumed before the next is asked for, unless axes
        are to be `apart`. A wider axis is asked for first; where `y` is `signed`, only the narrower
        is known."""
        assert scratch is not None
        ns, tiling, marks = self._tiling.ns, self._tiling, self._tiling.marks
        kept = bool(marks and marks.has_place(i, j)) and not self.signs(i, j)
        wider = tiling.wider(i, j)
        for rows in self.parts(i):
            local = Block(rows.start - i.start, rows.size)
            x = ns.rows(y, local)
            found = marks.find(rows, j) if marks else None
            arrays = len(places) if apart or kept else 1
            room = scratch.buffer("below", (arrays, rows.size, j.size), x)
            if found is not None:
                yield rows, x, ns.unpacked(found, room, scratch).__getitem__
                continue
            some = ns.rows(held, local)
            rooms = [room[0], room[-1]]
            if self._guided and not kept and wider is not None:
                rooms[1 - wider] = some  # which nobody asks for once more
            below = partial(self._below, some, rows, j, rooms)
            if signed:
                yield rows, x, partial(self._negative, x, room[0])
            elif marks and kept:
                for axis in range(len(places)):
                    below(axis)
                marks.keep(rows, j, ns.packed(room, scratch))
                yield rows, x, room.__getitem__
            else:
                yield rows, x, below

    def _below(self, held: Array, i: Block, j: Block, rooms: list[Array], axis: int) -> Array:
        limit = self._limits[axis](j if axis else i)
        below = self._tiling.ns.up_to_(held, limit, rooms[axis])
        return self._tiling.with_diagonal(below, i, j, 1)

    def _negative(self, x: Array, out: Array, axis: int) -> Array:
        return self._tiling.ns.up_to_(x, 0, out)


def _least(ns: Namespace, limit: Callable[[Block], Array], block: Block) -> float:
    found = ns.peek(ns.xp.min(limit(block)))
    return -inf if found is None else float(found)


def _parts(ns: Namespace, like: Array, i: Block) -> list[Block]:
    """Rows of a tile of which arrays of ones stay in the cache beside it."""
    size, end = ns.at_once(like), i.start + i.size
    return [Block(start, min(size, end - start)) for start in range(i.start, end, size)]


def _along(ns: Namespace, x: Array, axis: int, block: Block) -> Array:
    return across(ns, x, block, axis)

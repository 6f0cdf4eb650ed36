"""The farthest row of its own class and the nearest of another, for each row of a batch.

Rows are sorted by class. A tile is looked at along its rows and along its columns, so that half of
all tiles are enough. On the diagonal the classes are told apart a few rows at a time: elsewhere a
tile is of one kind throughout.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from nearfar.evaluate.plan import Kind, anchors_by_class, by_class, class_blocks
from nearfar.evaluate.rows.among import Among
from nearfar.evaluate.schedule import Step, over_tiles
from nearfar.frameworks import Array, Block, Namespace, Scratch, SymbolicBlocks
from nearfar.similarity import Rows, Similarity

# Rows of the diagonal whose classes are told apart at once.
_WINDOW = 128

_NEVER = -float("inf")


class Largest(NamedTuple):
    """Of each row so far, (n,): -inf where there is none."""

    values: Array
    places: Array

    def met(self, ns: Namespace, block: Block, found: tuple[Array, Array], first: int) -> "Largest":
        """With others of a block of rows, whose places are counted from `first`.

        Of equals the first counts, in whichever order they come; NaN stays.
        """
        xp = ns.xp
        values, places = ns.rows(self.values, block), ns.rows(self.places, block)
        others, at = found[1], found[0] + first
        better = (others > values) | ((others == values) & (at < places))
        return Largest(
            ns.set_rows_(self.values, block, xp.maximum(values, others)),
            ns.set_rows_(self.places, block, xp.where(better, at, places)),
        )


class Hardest(NamedTuple):
    farthest: Largest
    """Of the rows of the same class, by how far they are."""
    nearest: Largest
    """Of all other rows, by how near."""


def hardest(
    ns: Namespace,
    similarity: Similarity,
    rows: Rows,
    among: Among,
    sizes: list[int],
    side: int,
    workers: int | None,
) -> Hardest:
    """In tiles of `side` rows; of all n rows, in their classes of these sizes."""
    windows = _windows(sizes, side)

    def body(kind: Kind) -> Step[Hardest]:
        def diagonal(found: Hardest, i: Block, j: Block, scratch: Scratch | None) -> Hardest:
            x = similarity.closeness(ns, rows.block(ns, i), rows.block(ns, j), (i, j), scratch)
            far = found.farthest
            for block, window in windows[i.start]:
                part = ns.columns(ns.rows(x, _moved(block, -i.start)), _moved(window, -i.start))
                here, there = among.compared(ns, block, window)
                same = here == there
                apart = ns.fill_(-part, ~same | ns.same(block, window, same), _NEVER)
                far = far.met(ns, block, ns.largest(apart), window.start)
                ns.fill_(part, same, _NEVER)
            return Hardest(far, found.nearest.met(ns, i, ns.largest(x), i.start))

        def off(found: Hardest, i: Block, j: Block, scratch: Scratch | None) -> Hardest:
            x = similarity.closeness(ns, rows.block(ns, i), rows.block(ns, j), None, scratch)
            if kind.positives:
                x = ns.mul_(x, -1)
            one = found.farthest if kind.positives else found.nearest
            one = one.met(ns, i, ns.largest(x), j.start)
            one = one.met(ns, j, ns.largest_of_columns(x), i.start)
            return found._replace(**{"farthest" if kind.positives else "nearest": one})

        return diagonal if kind.diagonal else off

    def none() -> Largest:
        values = ns.zeros((among.n,), rows.p)
        return Largest(values + _NEVER, ns.cast(values, ns.xp.int64))

    return over_tiles(ns, by_class(sizes, side), body, Hardest(none(), none()), workers)


def _moved(block: Block, by: int) -> Block:
    return Block(block.start + by, block.size)


def _windows(sizes: list[int], side: int) -> dict[int, list[tuple[Block, Block]]]:
    """Of each block of the diagonal, by where it starts: rows with the columns of their classes."""
    edges, found = np.cumsum(sizes), {}
    for block, _ in class_blocks(sizes, side):
        start, end = block.start, block.start + block.size
        inside = edges[(edges > start) & (edges < end)].tolist()
        classes = [b - a for a, b in pairwise([start, *inside, end])]
        parts = anchors_by_class(classes, _WINDOW)
        assert not isinstance(parts, SymbolicBlocks)
        found[start] = [(_moved(rows, start), _moved(columns, start)) for rows, columns in parts]
    return found

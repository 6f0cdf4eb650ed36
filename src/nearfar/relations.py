"""Which pairs of a tile belong together, asked a tile at a time: what a relation is."""

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from nearfar.frameworks import Array, Block, Namespace

Compared = tuple[Array, Array]
"""Two arrays that broadcast to a tile, (i.size, j.size); where they are equal tells of pairs."""

Places = tuple[np.ndarray, np.ndarray]
"""Rows and columns within a tile."""


class Relation:
    """Pairs of rows and columns. Who knows where these stand says more than `compared`."""

    mixed: ClassVar[Callable[..., Array] | None] = None
    """Tells of a block and one further on, (ns, i, j), whether any pair of these belongs, where
    only the device knows; None: the plan knows."""

    def compared(self, ns: Namespace, i: Block, j: Block) -> Compared:
        """Equal where a row and a column belong together: see `Compared`."""
        raise NotImplementedError

    def windows(self, i: Block, j: Block, size: int) -> list[tuple[Block, Block]]:
        """Rows, so many at a time, and columns among which all pairs of a tile stand."""
        return [(i, j)]

    def listed(self, i: Block, j: Block) -> Places | None:
        """All pairs of a tile; None: too many, or not known to the host."""
        return None


class SamePlace(Relation):
    """The k-th rows of two sides; of one side that holds `width` beside each other, those."""

    def __init__(self, like: Array, width: int = 1) -> None:
        self._like, self._width = like, width

    def compared(self, ns: Namespace, i: Block, j: Block) -> Compared:
        return ns.numbers(i, j, self._like, self._width)

"""Who is left out of tiles, a bit for each pair and anchor, which pass 1 leaves for pass 2; or that
nobody is.

A guide's tile costs as much as one of logits, and its bits a sixteenth of the memory: they come
first where memory is short.
"""

from collections.abc import Iterable

from nearfar.frameworks import Array, Block


class MarkCache:
    """Those of the first of these tiles, as many as fit into so many bytes."""

    def __init__(self, tiles: Iterable[tuple[Block, Block]], room: int) -> None:
        self._places: set[tuple[Block, Block]] = set()
        self._marks: dict[tuple[Block, Block], Array] = {}
        self._nobody: set[tuple[Block, Block]] = set()
        self.nbytes = 0
        for i, j in tiles:
            size = marks_size(i, j)
            if self.nbytes + size > room:
                break
            self._places.add((i, j))
            self.nbytes += size

    def has_place(self, i: Block, j: Block) -> bool:
        return (i, j) in self._places

    def keep(self, i: Block, j: Block, marks: Array) -> None:
        """Remember those of some rows of a tile, of all anchors along its axes."""
        self._marks[i, j] = marks

    def keep_nobody(self, i: Block, j: Block) -> None:
        """Remember that nobody is left out of a tile."""
        self._nobody.add((i, j))

    def nobody(self, i: Block, j: Block) -> bool:
        return (i, j) in self._nobody

    def find(self, i: Block, j: Block) -> Array | None:
        return self._marks.get((i, j))


def marks_size(i: Block, j: Block) -> int:
    """Bytes of a tile's."""
    return 2 * -(-i.size * j.size // 8)

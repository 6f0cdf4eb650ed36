"""Who is left out of tiles, a bit for each pair and anchor, which pass 1 leaves for pass 2.

A guide's tile costs as much as one of logits, and its bits a sixteenth of the memory: they come
first where memory is short.
"""

from nearfar.evaluate.plan import Plan, shapes
from nearfar.frameworks import Array, Block


class MarkCache:
    """Those of the first tiles of a plan, as many as fit into so many bytes."""

    def __init__(self, plan: Plan, room: int) -> None:
        self._places: set[tuple[int, int]] = set()
        self._marks: dict[tuple[Block, Block], list[Array]] = {}
        self.nbytes = 0
        for key, rows, columns in shapes(plan):
            size = 2 * (-(-rows * columns // 8))
            if self.nbytes + size > room:
                break
            self._places.add(key)
            self.nbytes += size

    def has_place(self, i: Block, j: Block) -> bool:
        return (i.start, j.start) in self._places

    def keep(self, i: Block, j: Block, marks: Array) -> None:
        """Remember those of some rows of a tile, of the anchors along one axis after another."""
        self._marks.setdefault((i, j), []).append(marks)

    def find(self, i: Block, j: Block) -> list[Array] | None:
        return self._marks.get((i, j))

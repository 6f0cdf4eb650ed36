"""Tile cache: tiles that the forward pass leaves for the backward, which then costs half."""

from nearfar.evaluate.plan import Plan, tiles_of
from nearfar.frameworks import Array, Block, Namespace, Scratch
from nearfar.similarity import Tile

# Less than this share of all tiles is not worth the memory.
_WORTH = 0.125


class TileCache:
    """The first tiles of a plan, as many as fit into so many bytes.

    Which these are depends on the plan alone, not on the order in which threads come to them.
    """

    def __init__(self, ns: Namespace, plan: Plan, room: int, like: Array) -> None:
        itemsize = ns.itemsize(like)
        found = tiles_of(plan)
        total = sum(i.size * j.size for i, j in found) * itemsize
        self._places: dict[tuple[int, int], Array] = {}
        self._tiles: dict[tuple[int, int], Tile] = {}
        if room < _WORTH * total:
            return
        flat = ns.store(self, min(room, total) // itemsize, like)
        used = 0
        for i, j in found:
            end = used + i.size * j.size
            if end > flat.shape[0]:
                break
            self._places[i.start, j.start] = ns.xp.reshape(flat[used:end], (i.size, j.size))
            used = end

    @property
    def numbers(self) -> int:
        """How many are kept in all."""
        return sum(place.shape[0] * place.shape[1] for place in self._places.values())

    def __len__(self) -> int:
        return len(self._places)

    def has_place(self, i: Block, j: Block) -> bool:
        return (i.start, j.start) in self._places

    def scratch(self, i: Block, j: Block, scratch: Scratch | None) -> Scratch | None:
        """Scratch that makes a tile in its place, if it has one."""
        place = self._places.get((i.start, j.start))
        return scratch if place is None or scratch is None else scratch.lending({"tile": place})

    def keep(self, i: Block, j: Block, tile: Tile) -> None:
        """Remember what was made with `scratch`."""
        self._tiles[i.start, j.start] = tile

    def find(self, i: Block, j: Block) -> Tile | None:
        return self._tiles.get((i.start, j.start))

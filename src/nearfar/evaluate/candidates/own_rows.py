"""A walk in which every row has columns of its own: a query's hard negatives."""

from nearfar.evaluate.partition.tile import TileContext
from nearfar.evaluate.plan import Kind, Plan, Tiles, balanced
from nearfar.evaluate.settings import Options
from nearfar.frameworks import Array, Block, Namespace, Scratch, SymbolicBlocks
from nearfar.similarity import Place, Rows, Tile

# Arrays of a block's own rows that are there at once: repeated rows, differences, gradients.
_BUFFERS = 6


class OwnRows(TileContext):
    """A tile is (rows, `apiece`): each row beside the columns that are its own.

    The plan has pairs of equal blocks.
    """

    def blocks(self, i: Block, j: Block) -> tuple[Rows, Rows]:
        return self.cuts[0](i), self.cuts[1](self._columns(j))

    def _columns(self, j: Block) -> Block:
        return Block(j.start * self.apiece, j.size * self.apiece)

    def _beside(self, x: Array) -> Array:
        return self.ns.xp.reshape(x, (-1, self.apiece))

    def tile(
        self, kind: Kind, i: Block, j: Block, rows: tuple[Rows, Rows], scratch: Scratch | None
    ) -> Tile:
        a, b = rows
        return Tile(
            self._beside(self.similarity.paired(self.ns, a.repeat(self.ns, self.apiece), b)), True
        )

    def pull(
        self,
        gradients: tuple[Array, ...],
        places: tuple[Place | None, ...],
        rows: tuple[Rows, Rows],
        tile: Tile,
        g: Array,
        scratch: Scratch | None,
    ) -> tuple[Array, ...]:
        ns, xp = self.ns, self.ns.xp
        repeated = rows[0].repeat(ns, self.apiece)
        flat = xp.reshape(g, (-1,))
        to_rows, to_own = self.similarity.paired_vjp(ns, repeated, rows[1], flat)
        to_rows = xp.sum(xp.reshape(to_rows, (-1, self.apiece, to_rows.shape[1])), axis=1)
        out = list(gradients)
        first, last = places
        if first is not None:
            out[first.side] = ns.add_rows_(out[first.side], first.block, to_rows)
        if last is not None:
            out[last.side] = ns.add_rows_(out[last.side], self._columns(last.block), to_own)
        return tuple(out)

    def offset(self, i: Block, j: Block, axis: int) -> Array | None:
        offset = self.offsets[axis]
        return None if offset is None else self._beside(self.ns.rows(offset, self._columns(j)))

    def guide(self, i: Block, j: Block, scratch: Scratch | None) -> Array:
        assert self.left_out is not None
        assert self.left_out.guide is not None
        rows, own = self.left_out.guide
        beside = self.ns.xp.reshape(
            self.ns.rows(own, self._columns(j)), (-1, self.apiece, own.shape[1])
        )
        return self.ns.xp.sum(self.ns.rows(rows, i)[:, None, :] * beside, axis=2)


def blocks_of_own(
    ns: Namespace, n: int, apiece: int, like: Array, options: Options, kind: Kind
) -> Plan:
    """Blocks of n rows whose own columns, `apiece` each, are together inside `memory`."""
    assert options.memory is not None
    room = options.memory // (_BUFFERS * ns.itemsize(like) * like.shape[1] * apiece)
    side = options.tile if options.tile is not None else max(1, room)
    if not isinstance(n, int):
        return (Tiles(kind, (SymbolicBlocks("diagonal", n, side),)),)
    return (Tiles(kind, ([(b, b) for b in balanced(n, side)],)),)

"""Which tiles there are and what is known of them: plain numbers, no arrays."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from math import ceil, lcm
from typing import Any, NamedTuple

from nearfar.evaluate.settings import Options
from nearfar.frameworks import Block, BlockTuples, SymbolicBlocks

# Rows of a large tile begin where a line of the cache does: 4 % faster at 8,192 rows.
_ALIGNED = 16

# Rows of a block of all candidates, which threads share or not. Threads with smaller parts wait for
# the interpreter more: with blocks of 512 InfoNCE, SigLIP and batch-hard take 14 to 19 % longer at
# 4,096 rows. In one thread the arrays that a rule makes anew come and go with their pages where
# they are larger: batch-hard and batch-all take a third longer at 1,024 rows with blocks of 512.
_SHARED, _BLOCK = 1024, 384

# Arrays of a rule that makes many are made anew for each block. Up to this size an allocator finds
# room for them that is in the cache: 1.3 to 2 times as fast at 1,024 rows as with blocks of 512.
_FRESH = 2**19
_MANY = 10


class Kind(NamedTuple):
    """What may stand in a tile. `positives` and `negatives` together call for a mask."""

    positives: bool
    negatives: bool
    diagonal: bool = False
    one_way: bool = False
    """Whether a tile serves its rows only, because its columns are another process's rows."""
    left_out: bool = False
    """Whether it may hold pairs that are neither."""

    @property
    def masked(self) -> bool:
        return self.positives and self.negatives


DIAGONAL = Kind(positives=True, negatives=True, diagonal=True)
MIXED = Kind(positives=True, negatives=True)
POSITIVE = Kind(positives=True, negatives=False)
NEGATIVE = Kind(positives=False, negatives=True)


class Tiles(NamedTuple):
    """Tiles of one kind; those of one round share no block, so they may run side by side."""

    kind: Kind
    rounds: tuple[BlockTuples, ...]


Plan = tuple[Tiles, ...]

KindOf = Callable[[Block | None, Block | None], Kind]
"""What may stand in the tile of two blocks; None where these are not known."""


def tile_side(options: Options, itemsize: int, best: int) -> int:
    """Rows of a tile: as asked, else the best, else what four buffers leave of `memory`."""
    if options.tile is not None:
        return options.tile
    assert options.memory is not None
    return max(16, min(best, int((options.memory / (4 * itemsize)) ** 0.5)))


def row_block(
    options: Options, width: Any, itemsize: int, buffers: int, split: bool, cached: bool
) -> int:
    """Rows of a block of all candidates, which so many buffers keep inside `memory`.

    `split`: blocks are cut for threads, so that they need not be small themselves. `cached`: small
    blocks are in the processor's cache; an accelerator wants as many rows as there is memory for.
    """
    assert options.memory is not None
    # A width that only the traced program knows is taken for the queue of MoCo.
    row = itemsize * (width if isinstance(width, int) else 65_536)
    if options.tile is not None:
        side = options.tile
    elif split:
        side = _SHARED
    elif buffers < _MANY:
        side = _BLOCK
    else:
        side = min(_BLOCK, max(64, _FRESH // row))
    most = max(1, options.memory // (buffers * row))
    return min(side, most) if cached or options.tile is not None else most


def each_block(n: Any, side: int) -> BlockTuples:
    return (
        [(b,) for b in balanced(n, side)]
        if isinstance(n, int)
        else SymbolicBlocks("blocks", n, side)
    )


def all_pairs(n: Any, side: int) -> BlockTuples:
    """Every block beside every block, itself included."""
    if not isinstance(n, int):
        return SymbolicBlocks("pairs", n, side)
    blocks = balanced(n, side)
    return [(i, j) for i in blocks for j in blocks]


def balanced(n: int, side: int, step: int = 1) -> list[Block]:
    """Cut n rows into equal blocks of at most `side`, multiples of `step`; the last may be less."""
    step = lcm(step, _ALIGNED) if side >= 8 * _ALIGNED else step
    side = max(step, side - side % step)
    count = ceil(n / side)
    size = ceil(n / count / step) * step
    return [Block(start, min(size, n - start)) for start in range(0, n, size)]


def overlap(i: Block, j: Block) -> bool:
    """Whether two blocks of rows have a row in common."""
    return bool(i.start < j.start + j.size and j.start < i.start + i.size)


def uniform(n: Any, side: int, together: int) -> Plan:
    """Half of all tiles in equal blocks.

    Positives lie within aligned groups of `together` rows, so that tiles off the diagonal hold
    none; 0: they may stand anywhere.
    """
    off = NEGATIVE if together else MIXED
    step = max(1, together)
    if not isinstance(n, int):
        side = max(step, side - side % step)
        plan = [
            Tiles(DIAGONAL, (SymbolicBlocks("diagonal", n, side),)),
            Tiles(off, (SymbolicBlocks("above", n, side),)),
        ]
        return tuple(plan)
    return _uniform(n, side, step, off)


@lru_cache(8)
def _uniform(n: int, side: int, step: int, off: Kind) -> Plan:
    blocks = balanced(n, side, step)
    return _with_tiles(
        [
            Tiles(DIAGONAL, ([(block, block) for block in blocks],)),
            Tiles(
                off, tuple([(blocks[i], blocks[j]) for i, j in r] for r in tournament(len(blocks)))
            ),
        ]
    )


def rectangular(n: Any, side: int) -> Plan:
    """All tiles of two matched sides; a row's only positive is on the diagonal."""
    if not isinstance(n, int):
        off = tuple(SymbolicBlocks(over, n, side) for over in ("above", "below"))
        return Tiles(DIAGONAL, (SymbolicBlocks("diagonal", n, side),)), Tiles(NEGATIVE, off)
    return _rectangular(n, side)


@lru_cache(8)
def _rectangular(n: int, side: int) -> Plan:
    blocks = balanced(n, side)
    count = len(blocks)
    # The k-th diagonal, wrapped around, meets every block of rows and of columns once.
    diagonals = [[(blocks[i], blocks[(i + k) % count]) for i in range(count)] for k in range(count)]
    return _with_tiles([Tiles(DIAGONAL, (diagonals[0],)), Tiles(NEGATIVE, tuple(diagonals[1:]))])


def grid(n: Any, columns: Any, side: int, kind: KindOf) -> Plan:
    """All tiles of n rows against others, each of the kind that it is said to be."""
    if not (isinstance(n, int) and isinstance(columns, int)):
        return (Tiles(kind(None, None), (SymbolicBlocks("grid", n, side, columns),)),)
    if n == 0 or columns == 0:
        return ()
    across, down = balanced(n, side), balanced(columns, side)
    short, long = sorted((len(across), len(down)))
    found: dict[Kind, list[list[tuple[Block, ...]]]] = {}
    for shift in range(long):
        # A diagonal, wrapped around, meets every block at most once.
        places = [(k, (k + shift) % long) for k in range(short)]
        if len(across) > len(down):
            places = [(i, j) for j, i in places]
        _share_out(found, [(across[i], down[j]) for i, j in places], kind)
    return tuple(Tiles(k, tuple(rounds)) for k, rounds in found.items())


def triangle(n: Any, side: int, together: int, kind: KindOf) -> Plan:
    """Half of all tiles of n rows against themselves, each of the kind that it is said to be.

    Blocks are multiples of `together` rows.
    """
    step = max(1, together)
    if not isinstance(n, int):
        side = max(step, side - side % step)
        block = Block(0, side)
        return (
            Tiles(kind(block, block), (SymbolicBlocks("diagonal", n, side),)),
            Tiles(kind(None, None), (SymbolicBlocks("above", n, side),)),
        )
    blocks = balanced(n, side, step)
    found: dict[Kind, list[list[tuple[Block, ...]]]] = {}
    _share_out(found, [(b, b) for b in blocks], kind)
    for pairs in tournament(len(blocks)):
        _share_out(found, [(blocks[i], blocks[j]) for i, j in pairs], kind)
    return tuple(Tiles(k, tuple(rounds)) for k, rounds in found.items())


def _share_out(
    found: dict[Kind, list[list[tuple[Block, ...]]]],
    tiles: list[tuple[Block, Block]],
    kind: KindOf,
) -> None:
    """Add a round of tiles to those of their kinds."""
    rounds: dict[Kind, list[tuple[Block, ...]]] = {}
    for i, j in tiles:
        rounds.setdefault(kind(i, j), []).append((i, j))
    for k, items in rounds.items():
        found.setdefault(k, []).append(items)


def by_class(sizes: Sequence[int], side: int) -> Plan:
    """Half of all tiles, for rows sorted by class: each wholly positive or negative but a few."""
    blocks, numbers = zip(*class_blocks(sizes, side), strict=True)
    rounds = list(tournament(len(blocks)))

    def named(alike: bool) -> tuple[BlockTuples, ...]:
        def is_alike(i: int, j: int) -> bool:
            return numbers[i] is not None and numbers[i] == numbers[j]

        return tuple(
            [(blocks[i], blocks[j]) for i, j in r if is_alike(i, j) == alike] for r in rounds
        )

    return _with_tiles(
        [
            Tiles(DIAGONAL, ([(block, block) for block in blocks],)),
            Tiles(POSITIVE, named(True)),
            Tiles(NEGATIVE, named(False)),
        ]
    )


def anchors_by_class(sizes: Sequence[int], side: int) -> BlockTuples:
    """Blocks of rows that are sorted by class, each with the rows that share its classes."""
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + size)
    return [
        (block, block if number is None else Block(starts[number], sizes[number]))
        for block, number in class_blocks(sizes, side)
    ]


def class_blocks(sizes: Sequence[int], side: int) -> list[tuple[Block, int | None]]:
    """Cut rows that are sorted by class at class edges.

    Small classes share a block; a class larger than `side` gets blocks of its own, which carry its
    number so that tiles between them are known to be positive throughout.
    """
    blocks: list[tuple[Block, int | None]] = []
    start = filled = 0
    for number, size in enumerate(sizes):
        if filled and filled + size > side:
            blocks.append((Block(start, filled), None))
            start, filled = start + filled, 0
        if size > side:
            pieces = balanced(size, side)
            blocks += [(Block(start + piece.start, piece.size), number) for piece in pieces]
            start += size
        else:
            filled += size
    if filled:
        blocks.append((Block(start, filled), None))
    return blocks


def tournament(count: int) -> Iterator[list[tuple[int, int]]]:
    """All pairs i < j in rounds in which no number occurs twice (the circle method)."""
    even = count + count % 2
    circle = list(range(even))
    for _ in range(even - 1):
        opposite = zip(circle[: even // 2], reversed(circle[even // 2 :]), strict=True)
        yield sorted((min(p), max(p)) for p in opposite if max(p) < count)
        circle = [circle[0], circle[-1], *circle[1:-1]]


def _with_tiles(plan: list[Tiles]) -> Plan:
    kept = (Tiles(kind, tuple(r for r in rounds if r)) for kind, rounds in plan)
    return tuple(tiles for tiles in kept if tiles.rounds)


def tiles_of(plan: Plan) -> list[tuple[Block, Block]]:
    """All tiles of a plan."""
    found: list[tuple[Block, Block]] = []
    for tiles in plan:
        for items in tiles.rounds:
            assert not isinstance(items, SymbolicBlocks)
            found += [(i, j) for i, j in items]
    return found

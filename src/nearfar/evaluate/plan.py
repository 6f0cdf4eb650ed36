"""Which tiles there are and what is known of them: plain numbers, no arrays."""

from collections.abc import Iterable, Sequence
from itertools import combinations
from math import ceil
from typing import NamedTuple

from nearfar.frameworks import Block

# 512 x 512 float32 fills an L2 cache of 1 MB; measured best or within 15 % for 1,024 to 8,192 rows
# of 32 to 512 dimensions.
TILE = 512


class Kind(NamedTuple):
    """What may stand in a tile. `positives` and `negatives` together call for a mask."""

    positives: bool
    negatives: bool
    diagonal: bool = False

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
    rounds: tuple[tuple[tuple[Block, Block], ...], ...]


Plan = tuple[Tiles, ...]


def tile_side(tile: int | None, memory: int, itemsize: int) -> int:
    """Rows of a tile: as asked, else the default, else what four buffers leave of `memory`."""
    if tile is not None:
        return tile
    return max(16, min(TILE, int((memory / (4 * itemsize)) ** 0.5)))


def balanced(n: int, side: int) -> list[Block]:
    """Cut n rows into equal blocks of at most `side`; the last may be shorter."""
    size = ceil(n / ceil(n / side))
    return [Block(start, min(size, n - start)) for start in range(0, n, size)]


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


def symmetric(blocks: Sequence[tuple[Block, int | None]]) -> Plan:
    """Half of all tiles, for rows that are their own candidates and sorted by class."""
    numbers = [number for _, number in blocks]

    def alike(i: int, j: int) -> bool:
        return numbers[i] is not None and numbers[i] == numbers[j]

    rounds = list(tournament(len(blocks)))
    plan = [
        _tiles(DIAGONAL, blocks, [[(i, i) for i in range(len(blocks))]]),
        _tiles(POSITIVE, blocks, [[p for p in r if alike(*p)] for r in rounds]),
        _tiles(NEGATIVE, blocks, [[p for p in r if not alike(*p)] for r in rounds]),
    ]
    return tuple(tiles for tiles in plan if tiles.rounds)


def masked(blocks: Sequence[Block]) -> Plan:
    """Half of all tiles, where positives may stand anywhere."""
    named = [(block, None) for block in blocks]
    plan = [
        _tiles(DIAGONAL, named, [[(i, i) for i in range(len(blocks))]]),
        _tiles(MIXED, named, list(tournament(len(blocks)))),
    ]
    return tuple(tiles for tiles in plan if tiles.rounds)


def tournament(count: int) -> Iterable[list[tuple[int, int]]]:
    """All pairs i < j in rounds in which no number occurs twice (the circle method)."""
    if count <= 2:
        yield list(combinations(range(count), 2))
        return
    even = count + count % 2
    circle = list(range(even))
    for _ in range(even - 1):
        opposite = zip(circle[: even // 2], reversed(circle[even // 2 :]), strict=True)
        yield sorted((min(p), max(p)) for p in opposite if max(p) < count)
        circle = [circle[0], circle[-1], *circle[1:-1]]


def _tiles(
    kind: Kind,
    blocks: Sequence[tuple[Block, int | None]],
    rounds: Sequence[Sequence[tuple[int, int]]],
) -> Tiles:
    named = tuple(tuple((blocks[i][0], blocks[j][0]) for i, j in r) for r in rounds if r)
    return Tiles(kind, named)

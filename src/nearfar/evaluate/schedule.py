"""The two schedules: over tiles, and over blocks of anchors; serial or in a pool of threads.

`over_tiles`: the tiles of a round share no block, so they write to disjoint rows of the same
accumulators. `over_anchor_blocks`: the parts of a block run side by side; first each does what
concerns its own anchors, then stripes of the candidates take what the whole block leaves for them.
Nobody writes where another does, and rounds, parts and stripes do not depend on the number of
threads: the result is bit-identical for any.
"""

from collections.abc import Callable, Iterator
from functools import partial
from math import ceil
from typing import Any, NamedTuple, Protocol, TypeVar

from nearfar.evaluate.plan import MIXED, NEGATIVE, Kind, Plan, Tiles, balanced
from nearfar.frameworks import Array, Block, BlockTuples, Namespace, Run, Scratch, SymbolicBlocks
from nearfar.similarity import PairWeights, Rows

Carry = TypeVar("Carry")
Step = Callable[[Carry, Block, Block, Scratch | None], Carry]
Body = Callable[[Kind], Step[Carry]]


def over_tiles(
    ns: Namespace,
    plan: Plan,
    body: Body[Carry],
    carry: Carry,
    workers: int | None,
    mixed: Callable[[Block, Block], Array] | None = None,
) -> Carry:
    """Fold ``carry = body(kind)(carry, i, j, scratch)`` over all tiles of a plan.

    `mixed(i, j)` decides on the device whether a MIXED tile holds positives; where it does not, the
    NEGATIVE step runs. With workers, the tiles of a round run in threads.
    """
    with ns.scratch() as scratch:
        if workers is None:
            for tiles in plan:
                step = _on(ns, body, tiles.kind, scratch, mixed)
                for items in _runs(tiles):
                    carry = ns.loop(items, step, carry)
            return carry
        with ns.pool(workers) as run:
            for tiles in plan:
                step = _on(ns, body, tiles.kind, scratch, mixed)
                for items in tiles.rounds:
                    assert not isinstance(items, SymbolicBlocks)
                    # The body writes into the carry it is given and returns those same arrays.
                    run(partial(_at, step, carry), items)
        return carry


def unchanged(carry: Carry, i: Block, j: Block, scratch: Scratch | None) -> Carry:
    """The step of tiles that have nothing to say."""
    return carry


def _at(step: Callable[..., Carry], carry: Carry, blocks: tuple[Block, ...]) -> None:
    step(carry, *blocks)


def _runs(tiles: Tiles) -> Iterator[BlockTuples]:
    """All rounds as one, so that a traced loop is one loop."""
    known = [items for items in tiles.rounds if not isinstance(items, SymbolicBlocks)]
    if known:
        yield [item for items in known for item in items]
    yield from (items for items in tiles.rounds if isinstance(items, SymbolicBlocks))


def _on(
    ns: Namespace,
    body: Body[Carry],
    kind: Kind,
    scratch: Scratch | None,
    mixed: Callable[[Block, Block], Array] | None,
) -> Callable[..., Carry]:
    step = body(kind)
    if mixed is None or kind != MIXED:
        return lambda carry, i, j: step(carry, i, j, scratch)
    negative = body(NEGATIVE)

    def either(carry: Carry, i: Block, j: Block) -> Carry:
        found: Carry = ns.cond(
            mixed(i, j),
            lambda: step(carry, i, j, scratch),
            lambda: negative(carry, i, j, scratch),
        )
        return found

    return either


# A block has so many parts, and the candidates so many stripes: more than most machines have cores
# to share out.
_PARTS = 8

# Logits that a part has at least: fewer are sooner computed than handed out.
_WORTH = 2**17


class CandidatePart(NamedTuple):
    """What some anchors leave for the gradient of their candidates."""

    anchors: Rows
    flow: PairWeights


class AnchorStep(Protocol[Carry]):
    def anchors(
        self, carry: Carry, i: Block, window: Block | None, scratch: Scratch | None
    ) -> tuple[Carry, CandidatePart | None]:
        """All that is written at the anchors of a block."""

    def candidates(
        self, carry: Carry, left: CandidatePart, columns: Block, scratch: Scratch | None
    ) -> Carry:
        """What they leave, at some of the candidates."""

    def rows(self, i: Block) -> Rows:
        """The anchors of a block."""


def over_anchor_blocks(
    ns: Namespace,
    blocks: BlockTuples,
    work: AnchorStep[Carry],
    carry: Carry,
    width: Any,
    workers: int | None,
) -> Carry:
    """Fold a step over blocks (anchors,) or (anchors, window), against `width` candidates each."""
    with ns.scratch() as scratch:
        if workers is None:

            def body(carry: Carry, i: Block, window: Block | None = None) -> Carry:
                carry, left = work.anchors(carry, i, window, scratch)
                if left is None:
                    return carry
                return work.candidates(carry, left, Block(0, width), scratch)

            return ns.loop(blocks, body, carry)
        assert scratch is not None
        assert not isinstance(blocks, SymbolicBlocks)
        with ns.pool(workers) as run:
            for i, *window in blocks:
                _side_by_side(ns, work, carry, i, next(iter(window), None), width, scratch, run)
        return carry


def _side_by_side(
    ns: Namespace,
    work: AnchorStep[Carry],
    carry: Carry,
    i: Block,
    window: Block | None,
    width: int,
    scratch: Scratch,
    run: Run,
) -> None:
    whole = scratch.buffer("block", (i.size, width), work.rows(i).p)
    parts = _cut(i.size, ceil(_WORTH / max(1, width)))

    def one(number: int) -> CandidatePart | None:
        part = parts[number]
        place = ns.rows(whole, part)
        own = scratch.lending({"tile": place}, part=number)
        # Arrays are written in place, so that what is carried stays what it is.
        _, left = work.anchors(carry, Block(i.start + part.start, part.size), window, own)
        if left is not None and left.flow.weights is not place:
            ns.set_rows_(whole, part, left.flow.weights)
        return left

    found = run(one, range(len(parts)))
    made = [(part.start, x.flow.near) for part, x in zip(parts, found, strict=True) if x]
    if not made:
        return
    left = CandidatePart(work.rows(i), PairWeights.joined(ns, whole, made))
    run(lambda columns: work.candidates(carry, left, columns, scratch), _cut(width, 64))


def _cut(n: int, least: int) -> list[Block]:
    return balanced(n, max(ceil(n / _PARTS), least))

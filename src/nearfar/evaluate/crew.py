"""Going over blocks of anchors, each block against all candidates, alone or in threads.

In threads the parts of a block run side by side. First each does what concerns its own anchors;
then stripes of the candidates take what the whole block leaves for them. Nobody writes where
another does, and parts and stripes do not depend on the number of threads: nor does any bit.
"""

from math import ceil
from typing import Any, NamedTuple, Protocol, TypeVar

from nearfar.evaluate.plan import balanced
from nearfar.frameworks import Block, Every, Items, Namespace, Run, Scratch
from nearfar.similarity import Flow, Rows

Carry = TypeVar("Carry")

# A block has so many parts, and the candidates so many stripes: more than most machines have cores
# to share out.
_PARTS = 8

# Logits that a part has at least: fewer are sooner computed than handed out.
_WORTH = 2**17


class Left(NamedTuple):
    """What some anchors leave for the gradient of their candidates."""

    anchors: Rows
    flow: Flow


class Work(Protocol[Carry]):
    def anchors(
        self, carry: Carry, i: Block, window: Block | None, scratch: Scratch | None
    ) -> tuple[Carry, Left | None]:
        """All that is written at the anchors of a block."""

    def candidates(
        self, carry: Carry, left: Left, columns: Block, scratch: Scratch | None
    ) -> Carry:
        """What they leave, at some of the candidates."""

    def rows(self, i: Block) -> Rows:
        """The anchors of a block."""


def sweep_anchors(
    ns: Namespace,
    blocks: Items,
    work: Work[Carry],
    carry: Carry,
    width: Any,
    workers: int | None,
) -> Carry:
    """Fold over blocks (anchors,) or (anchors, window) a work of `width` candidates."""
    with ns.scratch() as scratch:
        if workers is None:

            def body(carry: Carry, i: Block, window: Block | None = None) -> Carry:
                carry, left = work.anchors(carry, i, window, scratch)
                if left is None:
                    return carry
                return work.candidates(carry, left, Block(0, width), scratch)

            return ns.loop(blocks, body, carry)
        assert scratch is not None
        assert not isinstance(blocks, Every)
        with ns.pool(workers) as run:
            for i, *window in blocks:
                _side_by_side(ns, work, carry, i, next(iter(window), None), width, scratch, run)
        return carry


def _side_by_side(
    ns: Namespace,
    work: Work[Carry],
    carry: Carry,
    i: Block,
    window: Block | None,
    width: int,
    scratch: Scratch,
    run: Run,
) -> None:
    whole = scratch.buffer("block", (i.size, width), work.rows(i).p)
    parts = _cut(i.size, ceil(_WORTH / max(1, width)))

    def one(number: int) -> Left | None:
        part = parts[number]
        place = ns.rows(whole, part)
        own = scratch.lending({"tile": place}, part=number)
        # Arrays are written in place, so that what is carried stays what it is.
        _, left = work.anchors(carry, Block(i.start + part.start, part.size), window, own)
        if left is not None and left.flow.weights is not place:
            ns.set_rows_(whole, part, left.flow.weights)
        return left

    found = [left for left in run(one, range(len(parts))) if left is not None]
    if not found:
        return
    near = any(bool(left.flow.near) for left in found)
    left = Left(work.rows(i), Flow(whole, near))
    run(lambda columns: work.candidates(carry, left, columns, scratch), _cut(width, 64))


def _cut(n: int, least: int) -> list[Block]:
    return balanced(n, max(ceil(n / _PARTS), least))

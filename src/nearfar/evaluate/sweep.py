"""Going over tiles: one after another, or those of a round side by side in threads."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from nearfar.evaluate.plan import MIXED, NEGATIVE, Kind, Plan, Tiles
from nearfar.frameworks import Array, Block, Every, Items, Namespace, Scratch

Carry = TypeVar("Carry")
Step = Callable[[Carry, Block, Block, Scratch | None], Carry]
Body = Callable[[Kind], Step[Carry]]


def sweep(
    ns: Namespace,
    plan: Plan,
    body: Body[Carry],
    carry: Carry,
    workers: int | None,
    mixed: Callable[[Block, Block], Array] | None = None,
) -> Carry:
    """Fold ``carry = body(kind)(carry, i, j, scratch)`` over all tiles of a plan.

    Where `mixed` is given it tells of mixed tiles whether they are; the others are negative.

    With workers, the tiles of a round run in threads. They share no block, so they write to
    disjoint rows of the same accumulators, in one order whatever the number of threads: the result
    does not depend on it.
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
                    assert not isinstance(items, Every)
                    # The body writes into the carry it is given and returns those same arrays.
                    run(partial(_at, step, carry), items)
        return carry


def unchanged(carry: Carry, i: Block, j: Block, scratch: Scratch | None) -> Carry:
    """The step of tiles that have nothing to say."""
    return carry


def _at(step: Callable[..., Carry], carry: Carry, blocks: tuple[Block, ...]) -> None:
    step(carry, *blocks)


def _runs(tiles: Tiles) -> Iterator[Items]:
    """All rounds as one, so that a traced loop is one loop."""
    known = [items for items in tiles.rounds if not isinstance(items, Every)]
    if known:
        yield [item for items in known for item in items]
    yield from (items for items in tiles.rounds if isinstance(items, Every))


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

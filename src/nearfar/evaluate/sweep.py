"""Going over tiles: one after another, or those of a round side by side in threads."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from nearfar.evaluate.plan import Plan, Tiles
from nearfar.frameworks import Every, Items, Namespace, Scratch

Carry = TypeVar("Carry")


def sweep(
    ns: Namespace,
    plan: Plan,
    body: Callable[..., Carry],
    carry: Carry,
    workers: int | None,
) -> Carry:
    """Fold ``carry = body(tiles, carry, i, j, scratch)`` over all tiles of a plan.

    With workers, the tiles of a round run in threads. They share no block, so they write to
    disjoint rows of the same accumulators, in one order whatever the number of threads: the result
    does not depend on it.
    """
    with ns.scratch() as scratch:
        if workers is None:
            for tiles in plan:
                for items in _runs(tiles):
                    carry = ns.loop(items, _on(body, tiles, scratch), carry)
            return carry
        with ns.pool(workers) as run:
            for tiles in plan:
                step = _on(body, tiles, scratch)
                for items in tiles.rounds:
                    assert not isinstance(items, Every)
                    # The body writes into the carry it is given and returns those same arrays.
                    for _ in run(lambda ij, step=step: step(carry, *ij), items):
                        pass
        return carry


def _runs(tiles: Tiles) -> Iterator[Items]:
    """All rounds as one, so that a traced loop is one loop."""
    known = [items for items in tiles.rounds if not isinstance(items, Every)]
    if known:
        yield [item for items in known for item in items]
    yield from (items for items in tiles.rounds if isinstance(items, Every))


def _on(body: Callable[..., Carry], tiles: Tiles, scratch: Scratch | None) -> Callable[..., Carry]:
    return lambda carry, i, j: body(tiles, carry, i, j, scratch)

"""Going over tiles: one after another, or those of a round side by side in threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from nearfar.evaluate.plan import Plan, Tiles
from nearfar.frameworks import Namespace

Carry = TypeVar("Carry")


def sweep(
    ns: Namespace,
    plan: Plan,
    body: Callable[..., Carry],
    carry: Carry,
    workers: int | None,
) -> Carry:
    """Fold ``carry = body(tiles, carry, i, j)`` over all tiles of a plan.

    With workers, the tiles of a round run in threads. They share no block, so they write to
    disjoint rows of the same accumulators, in one order whatever the number of threads: the result
    does not depend on it.
    """
    if workers is None or not ns.threads:
        for tiles in plan:
            carry = ns.loop(_flat(tiles), _on(body, tiles), carry)
        return carry
    with ns.one_thread_each(), ThreadPoolExecutor(workers) as pool:
        for tiles in plan:
            for tile_round in tiles.rounds:
                # The body writes into the carry it is given and returns those same arrays.
                for _ in pool.map(lambda ij, t=tiles: body(t, carry, *ij), tile_round):
                    pass
    return carry


def _flat(tiles: Tiles) -> list[tuple[Any, ...]]:
    return [pair for tile_round in tiles.rounds for pair in tile_round]


def _on(body: Callable[..., Carry], tiles: Tiles) -> Callable[..., Carry]:
    return lambda carry, i, j: body(tiles, carry, i, j)

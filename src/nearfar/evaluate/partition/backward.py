"""Backward pass over the tiles of a partition rule: the vector-Jacobian product.

The same tiles again. With L_i the loss of anchor i, weighted,

    G_ij = dL_i/ds_ij + dL_j/ds_ij,    dp_i = sum_j G_ij ds_ij/dp_i

so one tile of G serves its rows and its columns. Where rows and columns are the same embeddings,
half of the tiles are enough: two products a pair of rows in place of three.
"""

from collections.abc import Iterable
from functools import partial

from nearfar.evaluate.partition.exponentials import LogSum, State
from nearfar.evaluate.partition.forward import TileSums
from nearfar.evaluate.partition.tile import Only, TileContext, across, each_once, replaced, zeros
from nearfar.evaluate.plan import Kind
from nearfar.evaluate.schedule import Step, over_tiles, unchanged
from nearfar.frameworks import Array, Block, Namespace, Scratch
from nearfar.rules import Pair, Slopes
from nearfar.similarity import Place

_Gradients = tuple[Array, ...]
_Pulled = tuple[_Gradients, tuple[Array, ...]]
"""Gradients of the sides, and what the pairs add to the slopes of the first sum."""

# Spelt in a function these would be made at every call, of which a small batch takes notice.
_GradientsStep = Step[_Gradients]
_PulledStep = Step[_Pulled]


def vjp(
    tiling: TileContext, seen: tuple[TileSums, ...], slopes: tuple[Slopes, ...]
) -> tuple[Array, ...]:
    """Gradient of each side's rows, from the weighted slopes of its anchors."""
    ns = tiling.ns
    gradients = (
        tiling.partners.pull(ns, tiling.similarity, slopes)
        if tiling.partners and tiling.rule.linear
        else tuple(ns.zeros(ns.shape(rows.p), rows.p) for rows in tiling.sides)
    )
    first = tuple(s.logs[0] for s in slopes)
    if tiling.rule.pair:
        gradients, pulled = _vjp_pairs(tiling, tiling.rule.pair, seen, slopes, gradients)
        first = tuple(a + tiling.complete(b) for a, b in zip(first, pulled, strict=True))
    weights = [
        tuple(
            tiling.exponentials.weigh(
                ns, _times(first[side] if k == 0 else slopes[side].logs[k], s.times), one.logs[k]
            )
            for side, one in enumerate(seen)
        )
        for k, s in enumerate(tiling.rule.sums)
    ]
    linear = tuple(s.linear for s in slopes) if tiling.linear_in_tiles else ()
    return _vjp_sums(tiling, weights, linear, gradients)


def _times(x: Array, factor: float) -> Array:
    return x if factor == 1 else x * factor


def _vjp_pairs(
    tiling: TileContext,
    pair: Pair,
    seen: tuple[TileSums, ...],
    slopes: tuple[Slopes, ...],
    gradients: tuple[Array, ...],
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Add the positives' part; return too what their functions add to the first sum's slope."""
    ns = tiling.ns
    logs = tuple(one.logs[0] for one in seen)
    totals = tuple(one.pair for one in seen if isinstance(one.pair, LogSum))

    def along(
        logits: Array,
        only: Only,
        place: Place,
        axis: int,
        scratch: Scratch | None,
    ) -> Array:
        """slope_i phi'(u), times exp(phi(u) - log of the sum) where the rule takes that log."""
        u = tiling.relative(logits, logs, place, axis, scratch, f"slope{axis}")
        if pair.log:
            phi = pair.value(ns, ns.copy(u, scratch, "phi"))
            phi = only(phi, "positives", -float("inf"))
            share = ns.exp_(tiling.relative(phi, totals, place, axis, scratch, "phi"))
            out = ns.mul_(pair.slope(ns, u), share)
        else:
            out = only(pair.slope(ns, u), "positives", 0)
        return ns.mul_(out, across(ns, slopes[place.side].pair, place.block, axis))

    def body(kind: Kind) -> _PulledStep:
        # Logits are wanted once more, and what comes now may consume them.
        once_more = tiling.store and tiling.similarity.keeps_logits and tiling.sums(kind)
        mirrored = tiling.mirrored(kind)

        def step(carry: _Pulled, i: Block, j: Block, scratch: Scratch | None) -> _Pulled:
            gradients, pulled = carry
            rows = tiling.blocks(i, j)
            tile = tiling.tile(kind, i, j, rows, scratch)
            only = tiling.only(kind, i, j, scratch)
            places = tiling.places(kind, i, j)
            parts = []
            both = places if mirrored else (Place(0, i), Place(len(tiling.sides) - 1, j))
            for axis, place in enumerate(both):
                part = along(tile.logits, only, place, axis, scratch)
                if axis < len(places):
                    sums = ns.column_sums(part) if axis else ns.row_sums(part)
                    pulled = replaced(
                        pulled, place.side, ns.add_rows_(pulled[place.side], place.block, -sums)
                    )
                parts.append(part)
            if mirrored:
                g = ns.plus(part, ns.xp.matrix_transpose(part), scratch, "mirrored")
            else:
                g = ns.add_(parts[0], parts[1])
            if once_more:
                tile = tile._replace(logits=ns.copy(tile.logits, scratch, "once more"))
            return tiling.pull(gradients, places, rows, tile, g, scratch), pulled

        return step if kind.positives else unchanged

    plan = tuple(t for t in tiling.plan if t.kind.positives)
    start = (gradients, tuple(tiling.start_each(zeros)))
    return over_tiles(ns, plan, body, start, tiling.workers, tiling.mixed)


def _rows(ns: Namespace, state: State, block: Block) -> State:
    return tuple(ns.rows(x, block) for x in state)


def _vjp_sums(
    tiling: TileContext,
    weights: list[tuple[State, ...]],
    linear: tuple[Array | None, ...],
    gradients: tuple[Array, ...],
) -> tuple[Array, ...]:
    ns = tiling.ns
    last = len(tiling.sides) - 1
    times, coefficients = [s.times for s in tiling.rule.sums], tiling.exponentials.coefficients
    cuts = [tuple(each_once(ns, partial(_rows, ns, state)) for state in w) for w in weights]

    def body(kind: Kind) -> _GradientsStep:
        wanted, applied = tiling.sums(kind), tiling.keeps_applied(kind)
        in_tile, keep = linear and kind.positives, tiling.similarity.keeps_logits
        mirrored = tiling.mirrored(kind) and tiling.exponentials.guarded

        def step(gradients: _Gradients, i: Block, j: Block, scratch: Scratch | None) -> _Gradients:
            seen_before = tiling.store is not None and tiling.store.find(i, j) is not None
            rows = tiling.blocks(i, j)
            tile = tiling.tile(kind, i, j, rows, scratch)
            only = tiling.only(kind, i, j, scratch)
            if applied:
                y = tile.logits if seen_before else tiling.applied(tile.logits, wanted[-1], only)
                doubled = [tiling.exponentials.doubled(ns, y, scratch) for _ in wanted[:-1]]
                parts: Iterable[tuple[int, Array]] = zip(wanted, [*doubled, y], strict=True)
            else:
                parts = tiling.applied_each(tile.logits, wanted, only, keep, scratch)
            g: Array = None
            for k, y in parts:
                row, column = cuts[k][0](i), None if mirrored else cuts[k][last](j)
                part = coefficients(ns, y, times[k], row, column, scratch)
                g = part if g is None else ns.add_(g, part)
            if mirrored and wanted:
                g = ns.plus(g, ns.xp.matrix_transpose(g), scratch, "mirrored")
            if in_tile:
                a, b = ns.rows(linear[0], i), ns.rows(linear[last], j)
                pull = only(ns.outer_sum(a, b, scratch, "linear"), "positives", 0)
                g = ns.add_(g, pull) if wanted else pull
            return tiling.pull(gradients, tiling.places(kind, i, j), rows, tile, g, scratch)

        return step

    plan = tuple(t for t in tiling.plan if tiling.sums(t.kind) or (linear and t.kind.positives))
    return over_tiles(ns, plan, body, gradients, tiling.workers, tiling.mixed)

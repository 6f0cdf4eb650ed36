"""Backward pass over the tiles of a partition rule: the vector-Jacobian product.

The same tiles again. With L_i the loss of anchor i, weighted,

    G_ij = dL_i/ds_ij + dL_j/ds_ij,    dp_i = sum_j G_ij ds_ij/dp_i

so one tile of G serves its rows and its columns. Where rows and columns are the same embeddings,
half of the tiles are enough: two products a pair of rows in place of three.
"""

from collections.abc import Iterable, Sequence
from functools import partial

from nearfar.evaluate.partition.by_class import ByClass
from nearfar.evaluate.partition.exponentials import LogSum, State
from nearfar.evaluate.partition.forward import TileSums
from nearfar.evaluate.partition.thresholds import Thresholds
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
    walks: tuple[TileContext, ...], seen: tuple[TileSums, ...], slopes: tuple[Slopes, ...]
) -> tuple[Array, ...]:
    """Gradient of all rows, from the weighted slopes of every set of anchors."""
    tiling = walks[0]
    ns = tiling.ns
    gradients = (
        tiling.partners.pull(ns, tiling.similarity, slopes)
        if tiling.partners and tiling.rule.linear
        else tiling.start_gradients()
    )
    first = tuple(s.logs[0] for s in slopes)
    if tiling.rule.pair:
        carry = gradients, tuple(tiling.start_each(zeros))
        for walk in walks:
            carry = _vjp_pairs(walk, tiling.rule.pair, seen, slopes, carry)
        gradients, pulled = carry
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
    for walk in walks:
        along = _vjp_directed if walk.directed else _vjp_sums
        gradients = along(walk, weights, linear, gradients)
    return tuple(map(ns.accumulated, gradients))


def _times(x: Array, factor: float) -> Array:
    return x if factor == 1 else x * factor


def _vjp_pairs(
    tiling: TileContext,
    pair: Pair,
    seen: tuple[TileSums, ...],
    slopes: tuple[Slopes, ...],
    carry: _Pulled,
) -> _Pulled:
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
        offset: Array | None,
    ) -> Array:
        """slope_i phi'(u), times exp(phi(u) - log of the sum) where the rule takes that log."""
        u = tiling.relative(logits, logs, place, axis, scratch, f"slope{axis}", offset)
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
            both = places if mirrored else tiling.owned(i, j)
            for axis, place in enumerate(both):
                offset = tiling.offset(i, j, axis)
                part = along(tile.logits, only, place, axis, scratch, offset)
                if axis < len(places):
                    sums = ns.column_sums(part) if axis else ns.row_sums(part)
                    pulled = replaced(
                        pulled, place.side, ns.add_rows_(pulled[place.side], place.block, -sums)
                    )
                parts.append(part)
            if mirrored:
                g = ns.plus(part, ns.xp.matrix_transpose(part), scratch, "mirrored")
            else:
                g = ns.add_(*parts) if len(parts) == 2 else part
            if once_more:
                tile = tile._replace(logits=ns.copy(tile.logits, scratch, "once more"))
            to = tiling.pulled(kind, i, j)
            return tiling.pull(gradients, to, rows, tile, g, scratch), pulled

        return step if kind.positives else unchanged

    plan = tuple(t for t in tiling.plan if t.kind.positives)
    return over_tiles(ns, plan, body, carry, tiling.workers, tiling.mixed)


def _rows(ns: Namespace, state: State, block: Block) -> State:
    return tuple(ns.rows(x, block) for x in state)


def _vjp_sums(
    tiling: TileContext,
    weights: list[tuple[State, ...]],
    linear: tuple[Array | None, ...],
    gradients: tuple[Array, ...],
) -> tuple[Array, ...]:
    ns = tiling.ns
    of_rows, of_columns = tiling.owners
    times, coefficients = [s.times for s in tiling.rule.sums], tiling.exponentials.coefficients
    cuts = [tuple(each_once(ns, partial(_rows, ns, state)) for state in w) for w in weights]

    def body(kind: Kind) -> _GradientsStep:
        if tiling.shares_by_class(kind):
            return _vjp_class(tiling, kind, weights, linear)
        wanted, applied = tiling.sums(kind), tiling.keeps_applied(kind)
        in_tile, keep = linear and kind.positives, tiling.similarity.keeps_logits
        mirrored = tiling.mirrored(kind) and tiling.exponentials.guarded
        sides = (of_rows,) if mirrored or of_columns is None else (of_rows, of_columns)
        # Pass 1 left what the sums are made of.
        left = all(len(weights[k][side]) == 3 for k in wanted for side in sides)

        def step(gradients: _Gradients, i: Block, j: Block, scratch: Scratch | None) -> _Gradients:
            seen_before = tiling.store is not None and tiling.store.find(i, j) is not None
            rows = tiling.blocks(i, j)
            tile = tiling.tile(kind, i, j, rows, scratch)
            only = tiling.only(kind, i, j, scratch)
            parts: Iterable[tuple[int, Array]]
            if left:
                y, parts = None, [(k, tile.logits) for k in wanted]
            elif applied:
                y = tile.logits if seen_before else tiling.applied(tile.logits, wanted[-1], only)
                doubled = [tiling.exponentials.doubled(ns, y, scratch) for _ in wanted[:-1]]
                parts = zip(wanted, [*doubled, y], strict=True)
            else:
                y, parts = None, tiling.applied_each(tile.logits, wanted, only, keep, scratch)
            g, once_more = None, y
            for k, y in parts:
                row = cuts[k][of_rows](i)
                column = None
                if of_columns is not None and not mirrored:
                    column = cuts[k][of_columns](j)
                kept = y is once_more if k != wanted[-1] else seen_before and len(wanted) == 1
                part = coefficients(ns, y, times[k], row, column, scratch, kept)
                g = part if g is None else ns.add_(g, part)
            if mirrored and wanted:
                g = ns.plus(g, ns.xp.matrix_transpose(g), scratch, "mirrored")
            if in_tile:
                a = ns.rows(linear[of_rows], i)
                b = 0 * rows[1].p[:, 0] if of_columns is None else ns.rows(linear[of_columns], j)
                runs = tiling.runs(kind) if wanted else 0
                if runs:
                    g = ns.add_partnered_(g, a, b, runs)
                else:
                    pull = only(ns.outer_sum(a, b, scratch, "linear"), "positives", 0)
                    g = ns.add_(g, pull) if wanted else pull
            return tiling.pull(gradients, tiling.pulled(kind, i, j), rows, tile, g, scratch)

        return step

    plan = tuple(t for t in tiling.plan if tiling.sums(t.kind) or (linear and t.kind.positives))
    return over_tiles(ns, plan, body, gradients, tiling.workers, tiling.mixed)


def _vjp_class(
    tiling: TileContext,
    kind: Kind,
    weights: list[tuple[State, ...]],
    linear: tuple[Array | None, ...],
) -> _GradientsStep:
    """The same where positives and negatives share exponentials."""
    ns, by_class = tiling.ns, ByClass(tiling, kind)
    of_rows, of_columns = tiling.owners
    times = tiling.rule.sums[0].times

    def of_tile(each: Sequence[Array], i: Block, j: Block) -> tuple[Array, Array | None]:
        return ns.rows(each[of_rows], i), (
            None if of_columns is None else ns.rows(each[of_columns], j)
        )

    def step(gradients: _Gradients, i: Block, j: Block, scratch: Scratch | None) -> _Gradients:
        seen_before = tiling.store is not None and tiling.store.find(i, j) is not None
        rows = tiling.blocks(i, j)
        tile = tiling.tile(kind, i, j, rows, scratch)
        y = tile.logits if seen_before else by_class.exponentials(tile.logits, i, j)
        found = by_class.positives(i, j, scratch)
        own = by_class.taken_off(y, found, scratch)
        row = _rows(ns, weights[0][of_rows], i)
        column = None if of_columns is None else _rows(ns, weights[0][of_columns], j)
        g = tiling.exponentials.coefficients(ns, y, times, row, column, scratch, seen_before)
        slopes = of_tile([weight for (weight,) in weights[1]], i, j)
        for some, x in zip(found, own, strict=True):
            x = ns.mul_(x, some.outer_sum(*slopes, scratch))
            if linear:
                x = ns.add_(x, some.outer_sum(*of_tile(linear, i, j), scratch))
            some.add_(g, x)
        return tiling.pull(gradients, tiling.pulled(kind, i, j), rows, tile, g, scratch)

    return step


def _vjp_directed(
    tiling: TileContext,
    weights: list[tuple[State, ...]],
    linear: tuple[Array | None, ...],
    gradients: tuple[Array, ...],
) -> tuple[Array, ...]:
    """The same where a pair is one thing to the anchor of its row, another to that of its column:
    each has a part of its own."""
    ns = tiling.ns
    times, coefficients = (
        [s.times for s in tiling.rule.sums],
        tiling.exponentials.coefficients_along,
    )

    def body(kind: Kind) -> _GradientsStep:
        if tiling.shares_by_threshold(kind):
            return _vjp_threshold(tiling, kind, weights)
        wanted, in_tile = tiling.sums(kind), linear and kind.positives
        mirrored = tiling.mirrored(kind)

        def step(gradients: _Gradients, i: Block, j: Block, scratch: Scratch | None) -> _Gradients:
            rows = tiling.blocks(i, j)
            tile = tiling.tile(kind, i, j, rows, scratch)
            g: Array = None
            for axis, place in enumerate(tiling.owned(i, j)[: 1 if mirrored else 2]):
                x = tiling.seen(tile.logits, i, j, axis, scratch, f"seen{axis}")
                only = tiling.only(kind, i, j, scratch, axis, tile.logits)
                if in_tile:
                    slope = across(ns, linear[place.side], place.block, axis)
                    pull = ns.plus(ns.xp.zeros_like(x), slope, scratch, f"linear{axis}")
                    pull = tiling.positives(pull, only, i, j, axis)
                    g = pull if g is None else ns.add_(g, pull)
                for k, y in tiling.applied_each(x, wanted, only, False, scratch, str(axis)):
                    state = _rows(ns, weights[k][place.side], place.block)
                    part = coefficients(ns, y, times[k], state, axis)
                    g = part if g is None else ns.add_(g, part)
            if mirrored:
                g = ns.plus(g, ns.xp.matrix_transpose(g), scratch, "mirrored")
            return tiling.pull(gradients, tiling.pulled(kind, i, j), rows, tile, g, scratch)

        return step

    plan = tuple(t for t in tiling.plan if tiling.sums(t.kind) or (linear and t.kind.positives))
    return over_tiles(ns, plan, body, gradients, tiling.workers, tiling.mixed)


def _vjp_threshold(
    tiling: TileContext, kind: Kind, weights: list[tuple[State, ...]]
) -> _GradientsStep:
    """The same where only thresholds tell the two apart, and exponentials serve both."""
    ns, mirrored = tiling.ns, tiling.mirrored(kind)
    (k,) = tiling.sums(kind)
    of_rows, of_columns = tiling.owners
    times, coefficients = tiling.rule.sums[k].times, tiling.exponentials.coefficients
    thresholds = Thresholds(tiling, times)
    factors = thresholds.of_anchors(tuple(weight for (weight,) in weights[k]))

    def nested(
        y: Array,
        held: Array,
        wider: int,
        signs: bool,
        seen_before: bool,
        i: Block,
        j: Block,
        scratch: Scratch | None,
    ) -> None:
        """Where who is in for one axis is in for the wider one."""
        places = tiling.owned(i, j)
        for some, part, below in thresholds.each(y, held, places, i, j, scratch, signed=signs):
            if not seen_before:
                ns.mul_(part, below(wider))
            blocks, other = (some, j), 1 - wider
            in_wider, in_other = (factors[axis](blocks[axis]) for axis in (wider, other))
            factor = ns.add_times_(in_wider, below(other), in_other)
            ns.mul_(ns.abs_(part) if signs else part, factor)

    def step(gradients: _Gradients, i: Block, j: Block, scratch: Scratch | None) -> _Gradients:
        seen_before = tiling.store is not None and tiling.store.find(i, j) is not None
        rows = tiling.blocks(i, j)
        tile = tiling.tile(kind, i, j, rows, scratch)
        y = tile.logits
        if not seen_before:
            y = tiling.applied(y, k, tiling.either_way(kind, i, j, scratch))
        places = tiling.owned(i, j)[: 1 if mirrored else 2]
        wider = tiling.wider(i, j)
        signs = seen_before and thresholds.signs(i, j)
        held = thresholds.held_again(y, i, j, scratch, signs)
        if held is None:
            row = _rows(ns, weights[k][of_rows], i)
            column = None if of_columns is None else _rows(ns, weights[k][of_columns], j)
            g = coefficients(ns, y, times, row, column, scratch, seen_before)
            return tiling.pull(gradients, tiling.pulled(kind, i, j), rows, tile, g, scratch)
        if wider is not None:
            nested(y, held, wider, signs, seen_before, i, j, scratch)
        else:
            each = thresholds.each(y, held, places, i, j, scratch, apart=True)
            for some, part, below in each:
                factor = ns.mul_(below(0), factors[0](some))
                if len(places) == 2:
                    factor = ns.add_times_(factor, below(1), factors[1](j))
                ns.mul_(part, factor)
        g = y
        if mirrored:
            g = ns.plus(g, ns.xp.matrix_transpose(g), scratch, "mirrored")
        return tiling.pull(gradients, tiling.pulled(kind, i, j), rows, tile, g, scratch)

    return step

"""Forward pass over the tiles of a partition rule: log-sum-exp of each anchor, then the value.

A tile is exponentiated once and summed along its rows for the anchors there and along its columns
for the anchors there. A rule with a function of each positive pair needs the first sum complete and
sees its positives in a pass of their own; where rows are sorted by class, those are tiles that the
first pass skipped. So does the sum of the positives' logits where these are large: each is taken
less the largest logit of its anchor, which is known last.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

from nearfar.evaluate.partition.by_class import ByClass
from nearfar.evaluate.partition.exponentials import STREAMING, LogSum, State, nothing_yet, relative
from nearfar.evaluate.partition.thresholds import Thresholds
from nearfar.evaluate.partition.tile import Only, TileContext, across, replaced, zeros
from nearfar.evaluate.plan import Kind
from nearfar.evaluate.schedule import Step, over_tiles, unchanged
from nearfar.frameworks import Array, Block, Scratch
from nearfar.rules import Pair


class TileSums(NamedTuple):
    """What pass 1 found for the anchors of one side; every array is (n,)."""

    logs: tuple[LogSum, ...]
    linear: Array | None
    """Each logit less the shift of its anchor: see `relative`."""
    pair: LogSum | Array | None
    """A `LogSum` where the rule's function of pairs is aggregated as one."""
    pair_slope: Array | None = None
    """Its derivative by the first sum's logarithm, where a kernel gives it."""
    relative: tuple[Any, tuple[Array, ...]] | None = None
    """What `relative` says of the logarithms, where it was asked already."""


Carry = TypeVar("Carry")
_States = tuple[State, ...]
_Sums = tuple[list[_States], tuple[Array, ...]]
"""Of every declared sum a state for each side; and the linear sums of each side."""

# Spelt in a function these would be made at every call, of which a small batch takes notice.
_SumsStep = Step[_Sums]
_StatesStep = Step[_States]


def accumulate(*walks: TileContext) -> tuple[TileSums, ...]:
    """Sum up what the rule asks for over all walks, for every set of anchors."""
    tiling = walks[0]
    rule, sets = tiling.rule, range(len(tiling.anchors or tiling.sides))
    logs, linear = _accumulate_sums(walks)
    of_sets = [tuple(log[k] for log in logs) for k in sets]
    known: list[Any] = [None for _ in sets]
    if tiling.exponentials.guarded and rule.linear:
        known = [relative(tiling.ns, rule.sums, each) for each in of_sets]
        shifts = tuple(shift for shift, _ in known)
        if tiling.linear_last:
            linear = _accumulate_linear(walks, shifts)
        else:
            linear = tuple(x - shift for x, shift in zip(linear, shifts, strict=True))
    pair = _accumulate_pairs(walks, rule.pair, logs) if rule.pair else (None,) * len(sets)
    return tuple(
        TileSums(of_sets[k], linear[k] if linear else None, pair[k], relative=known[k])
        for k in sets
    )


def _accumulate_sums(
    walks: tuple[TileContext, ...],
) -> tuple[list[tuple[LogSum, ...]], tuple[Array, ...]]:
    first = walks[0]
    ns, rule = first.ns, first.rule
    in_tiles = first.linear_in_tiles and not first.linear_last
    start = [tuple(first.start_each(first.exponentials.start)) for _ in rule.sums]
    nothing = first.start_each(lambda ns, n, like: ns.accumulator((n,), like)) if in_tiles else ()
    carry = start, nothing
    for tiling in walks:
        body = _directed_sums if tiling.directed else _tile_sums
        plan = tuple(
            t for t in tiling.plan if tiling.sums(t.kind) or (in_tiles and t.kind.positives)
        )
        step = partial(body, tiling, in_tiles)
        carry = over_tiles(ns, plan, step, carry, tiling.workers, tiling.mixed)
    sums, linear = carry[0], tuple(map(ns.accumulated, carry[1]))
    if first.partners and rule.linear:
        linear = first.partners.linear(ns, first.similarity)
    logs = [
        tuple(first.exponentials.log(ns, state, rule.empty(s.over)) for state in states)
        for s, states in zip(rule.sums, sums, strict=True)
    ]
    return logs, linear


def _tile_sums(tiling: TileContext, in_tiles: bool, kind: Kind) -> _SumsStep:
    if tiling.shares_by_class(kind):
        return _class_sums(tiling, in_tiles, kind)
    ns = tiling.ns
    times = [s.times for s in tiling.rule.sums]
    wanted, applied = tiling.sums(kind), tiling.keeps_applied(kind)
    in_tile = in_tiles and kind.positives
    add = tiling.exponentials.add_

    def step(carry: _Sums, i: Block, j: Block, scratch: Scratch | None) -> _Sums:
        sums, linear = list(carry[0]), carry[1]
        places = tiling.places(kind, i, j)
        logits = tiling.tile(kind, i, j, tiling.blocks(i, j), scratch).logits
        kept = tiling.store is not None and tiling.store.has_place(i, j)
        only = tiling.only(kind, i, j, scratch)
        if in_tile:
            linear = _add_linear(tiling, kind, (i, j), logits, only, linear, scratch)
        if applied:
            y = tiling.applied(logits, wanted[-1], only)
            *others, k = wanted
            sums[k] = add(ns, sums[k], places, y, times[k], scratch, kept or bool(others))
            for other in others:
                squares = tiling.exponentials.squared(ns, sums[k], places)
                if squares is None:
                    twice = tiling.exponentials.doubled(ns, y, scratch)
                    last = other == others[-1] and not (kept and twice is y)
                    squares = add(ns, sums[other], places, twice, times[other], scratch, not last)
                sums[other] = squares
            return sums, linear
        for k, y in tiling.applied_each(logits, wanted, only, kept, scratch):
            sums[k] = add(ns, sums[k], places, y, times[k], scratch, False)
        return sums, linear

    return step


def _class_sums(tiling: TileContext, in_tiles: bool, kind: Kind) -> _SumsStep:
    """Of tiles whose positives and negatives share exponentials."""
    ns, by_class = tiling.ns, ByClass(tiling, kind)
    times, add = tiling.rule.sums[0].times, tiling.exponentials.add_

    def step(carry: _Sums, i: Block, j: Block, scratch: Scratch | None) -> _Sums:
        (negatives, positives), linear = carry
        places = tiling.places(kind, i, j)
        logits = tiling.tile(kind, i, j, tiling.blocks(i, j), scratch).logits
        found = by_class.positives(i, j, scratch)
        for some in found if in_tiles else ():
            linear = some.add_sums(linear, places, some.taken(logits, scratch))
        y = by_class.exponentials(logits, i, j)
        own = by_class.taken_off(y, found, scratch)
        negatives = add(ns, negatives, places, y, times, scratch, False)
        sums = tuple(total for (total,) in positives)
        for some, x in zip(found, own, strict=True):
            sums = some.add_sums(sums, places, x)
            some.add_(y, x)  # the tile may be kept
        return [negatives, tuple((total,) for total in sums)], linear

    return step


def _directed_sums(tiling: TileContext, in_tiles: bool, kind: Kind) -> _SumsStep:
    """Of tiles whose pairs are one thing to the anchors of the rows, and another to those of the
    columns."""
    if tiling.shares_by_threshold(kind):
        return _threshold_sums(tiling, kind)
    ns = tiling.ns
    wanted, in_tile = tiling.sums(kind), in_tiles and kind.positives
    add = tiling.exponentials.add_along_

    def step(carry: _Sums, i: Block, j: Block, scratch: Scratch | None) -> _Sums:
        sums, linear = list(carry[0]), carry[1]
        logits = tiling.tile(kind, i, j, tiling.blocks(i, j), scratch).logits
        for axis, place in enumerate(tiling.places(kind, i, j)):
            x = tiling.seen(logits, i, j, axis, scratch, "seen")
            only = tiling.only(kind, i, j, scratch, axis, logits)
            if in_tile:
                copy = ns.copy(x, scratch, "linear")
                positives = tiling.positives(copy, only, i, j, axis)
                part = ns.column_sums(positives) if axis else ns.row_sums(positives)
                added = ns.add_rows_(linear[place.side], place.block, part)
                linear = replaced(linear, place.side, added)
            for k, y in tiling.applied_each(x, wanted, only, False, scratch):
                state = sums[k][place.side]
                times = tiling.rule.sums[k].times
                state = add(ns, state, place.block, y, axis, times)
                sums[k] = replaced(sums[k], place.side, state)
        return sums, linear

    return step


def _threshold_sums(tiling: TileContext, kind: Kind) -> _SumsStep:
    """The same where only thresholds tell the two apart, and exponentials serve both."""
    ns = tiling.ns
    (k,) = tiling.sums(kind)
    times, add = tiling.rule.sums[k].times, tiling.exponentials.add_along_
    thresholds = Thresholds(tiling, times)

    def step(carry: _Sums, i: Block, j: Block, scratch: Scratch | None) -> _Sums:
        sums = list(carry[0])
        guide = thresholds.guide(i, j, scratch)
        logits = tiling.tile(kind, i, j, tiling.blocks(i, j), scratch).logits
        y = tiling.applied(logits, k, tiling.either_way(kind, i, j, scratch))
        places = tiling.places(kind, i, j)
        held = thresholds.held(y if guide is None else guide, i, j)
        if held is None:
            sums[k] = tiling.exponentials.add_(ns, sums[k], places, y, times, scratch, True)
            return sums, carry[1]
        wider, signs = tiling.wider(i, j), thresholds.signs(i, j)
        axes = range(len(places)) if wider is None else (wider, 1 - wider)
        for rows, part, below in thresholds.each(y, held, places, i, j, scratch):
            for axis in axes:
                side, block = places[axis]
                both = (part, below(axis)) if axis == wider else (below(axis), part)
                x = ns.mul_(*both)
                state = add(ns, sums[k][side], block if axis else rows, x, axis, times)
                sums[k] = replaced(sums[k], side, state)
            if signs:
                ns.sub_twice_(part, x)
        return sums, carry[1]

    return step


def _accumulate_linear(
    walks: tuple[TileContext, ...], shifts: tuple[Array, ...]
) -> tuple[Array, ...]:
    ns = walks[0].ns

    def body(tiling: TileContext, kind: Kind) -> Step[tuple[Array, ...]]:
        def step(
            out: tuple[Array, ...], i: Block, j: Block, scratch: Scratch | None
        ) -> tuple[Array, ...]:
            logits = tiling.tile(kind, i, j, tiling.blocks(i, j), scratch).logits
            only = tiling.only(kind, i, j, scratch)
            for axis, (side, block) in enumerate(tiling.places(kind, i, j)):
                shift = across(ns, shifts[side], block, axis)
                x = ns.minus(logits, shift, scratch, "linear")
                if tiling.offsets[axis] is not None:
                    x = ns.add_(x, tiling.offset(i, j, axis))
                x = tiling.positives(x, only, i, j, axis)
                sums = ns.column_sums(x) if axis else ns.row_sums(x)
                out = replaced(out, side, ns.add_rows_(out[side], block, sums))
            return out

        return step if kind.positives else unchanged

    return _over_positives(walks, body, tuple(walks[0].start_each(zeros)))


def _over_positives(
    walks: tuple[TileContext, ...], body: Callable[[TileContext, Kind], Step[Carry]], carry: Carry
) -> Carry:
    for tiling in walks:
        plan = tuple(t for t in tiling.plan if t.kind.positives)
        step = partial(body, tiling)
        carry = over_tiles(tiling.ns, plan, step, carry, tiling.workers, tiling.mixed)
    return carry


def _accumulate_pairs(
    walks: tuple[TileContext, ...], pair: Pair, logs: list[tuple[LogSum, ...]]
) -> tuple[LogSum | Array, ...]:
    ns = walks[0].ns

    def body(tiling: TileContext, kind: Kind) -> _StatesStep:
        def step(out: _States, i: Block, j: Block, scratch: Scratch | None) -> _States:
            logits = tiling.tile(kind, i, j, tiling.blocks(i, j), scratch).logits
            only = tiling.only(kind, i, j, scratch)
            for axis, place in enumerate(tiling.places(kind, i, j)):
                offset = tiling.offset(i, j, axis)
                u = tiling.relative(logits, logs[0], place, axis, scratch, "u", offset)
                phi = only(pair.value(ns, u), "positives", -float("inf") if pair.log else 0)
                if pair.log:
                    state = STREAMING.absorb(ns, out[place.side], place.block, phi, 1 - axis)
                else:
                    sums = ns.column_sums(phi) if axis else ns.row_sums(phi)
                    state = (ns.add_rows_(out[place.side][0], place.block, sums),)
                out = replaced(out, place.side, state)
            return out

        return step if kind.positives else unchanged

    start = nothing_yet if pair.log else (lambda ns, n, like: (zeros(ns, n, like),))
    states = _over_positives(walks, body, tuple(walks[0].start_each(start)))
    if not pair.log:
        return tuple(sums for (sums,) in states)
    found = tuple(STREAMING.log(ns, state, 0.0) for state in states)
    if walks[0].exponentials.guarded:
        return found
    # Where logits are small, so are the functions of them: one number is enough.
    return tuple(LogSum(None, ns.finite(log.peak) + log.log) for log in found)


def _add_linear(
    tiling: TileContext,
    kind: Kind,
    blocks: tuple[Block, Block],
    logits: Array,
    only: Only,
    sums: tuple[Array, ...],
    scratch: Scratch | None,
) -> tuple[Array, ...]:
    """The logits of the anchors' positives in a tile, which stays as it is."""
    ns, runs = tiling.ns, tiling.runs(kind)
    if runs:
        x = ns.partnered(logits, runs)
    else:
        x = only(ns.copy(logits, scratch, "linear"), "positives", 0)
    for axis, (side, block) in enumerate(tiling.places(kind, *blocks)):
        part = x if runs else ns.column_sums(x) if axis else ns.row_sums(x)
        sums = replaced(sums, side, ns.add_rows_(sums[side], block, part))
    return sums

"""Forward pass over the tiles of a partition rule: log-sum-exp of each anchor, then the value.

A tile is exponentiated once and summed along its rows for the anchors there and along its columns
for the anchors there. A rule with a function of each positive pair needs the first sum complete and
sees its positives in a pass of their own; where rows are sorted by class, those are tiles that the
first pass skipped. So does the sum of the positives' logits where these are large: each is taken
less the largest logit of its anchor, which is known last.
"""

from typing import NamedTuple

from nearfar.evaluate.partition.exponentials import STREAMING, LogSum, State, finite, relative
from nearfar.evaluate.partition.tile import TileContext, across, replaced, zeros
from nearfar.evaluate.plan import Kind
from nearfar.evaluate.schedule import Step, over_tiles, unchanged
from nearfar.frameworks import Array, Block, Scratch
from nearfar.rules import Pair
from nearfar.similarity import Place


class TileSums(NamedTuple):
    """What pass 1 found for the anchors of one side; every array is (n,)."""

    logs: tuple[LogSum, ...]
    linear: Array | None
    """Each logit less the shift of its anchor: see `relative`."""
    pair: LogSum | Array | None
    """A `LogSum` where the rule's function of pairs is aggregated as one."""
    pair_slope: Array | None = None
    """Its derivative by the first sum's logarithm, where a kernel gives it."""


_States = tuple[State, ...]
_Sums = tuple[list[_States], tuple[Array, ...]]
"""Of every declared sum a state for each side; and the linear sums of each side."""

# Spelt in a function these would be made at every call, of which a small batch takes notice.
_SumsStep = Step[_Sums]
_StatesStep = Step[_States]


def accumulate(tiling: TileContext) -> tuple[TileSums, ...]:
    """Sum up what the rule asks for, for every side."""
    rule, sides = tiling.rule, range(len(tiling.sides))
    logs, linear = _accumulate_sums(tiling)
    if tiling.exponentials.guarded and rule.linear:
        each = (relative(tiling.ns, rule.sums, tuple(log[k] for log in logs))[0] for k in sides)
        shifts = tuple(each)
        if tiling.linear_last:
            linear = _accumulate_linear(tiling, shifts)
        else:
            linear = tuple(x - shift for x, shift in zip(linear, shifts, strict=True))
    pair = _accumulate_pairs(tiling, rule.pair, logs) if rule.pair else (None,) * 2
    return tuple(
        TileSums(tuple(log[k] for log in logs), linear[k] if linear else None, pair[k])
        for k in sides
    )


def _accumulate_sums(tiling: TileContext) -> tuple[list[tuple[LogSum, ...]], tuple[Array, ...]]:
    ns, rule = tiling.ns, tiling.rule
    in_tiles = tiling.linear_in_tiles and not tiling.linear_last
    times = [s.times for s in rule.sums]

    def body(kind: Kind) -> _SumsStep:
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
                x = only(ns.copy(logits, scratch, "linear"), "positives", 0)
                linear = _add_sums(tiling, linear, places, x)
            if applied:
                y = tiling.applied(logits, wanted[-1], only)
                for k in wanted[:-1]:
                    twice = tiling.exponentials.doubled(ns, y, scratch)
                    sums[k] = add(ns, sums[k], places, twice, times[k], scratch, False)
                k = wanted[-1]
                sums[k] = add(ns, sums[k], places, y, times[k], scratch, kept)
                return sums, linear
            for k, y in tiling.applied_each(logits, wanted, only, kept, scratch):
                sums[k] = add(ns, sums[k], places, y, times[k], scratch, False)
            return sums, linear

        return step

    start = [tuple(tiling.start_each(tiling.exponentials.start)) for _ in rule.sums]
    linear = tuple(tiling.start_each(zeros)) if in_tiles else ()
    plan = tuple(t for t in tiling.plan if tiling.sums(t.kind) or (linear and t.kind.positives))
    sums, linear = over_tiles(ns, plan, body, (start, linear), tiling.workers, tiling.mixed)
    if tiling.partners and rule.linear:
        linear = tiling.partners.linear(ns, tiling.similarity)
    logs = [
        tuple(tiling.exponentials.log(ns, state, rule.empty(s.over)) for state in states)
        for s, states in zip(rule.sums, sums, strict=True)
    ]
    return logs, linear


def _accumulate_linear(tiling: TileContext, shifts: tuple[Array, ...]) -> tuple[Array, ...]:
    ns = tiling.ns

    def body(kind: Kind) -> Step[tuple[Array, ...]]:
        def step(
            out: tuple[Array, ...], i: Block, j: Block, scratch: Scratch | None
        ) -> tuple[Array, ...]:
            logits = tiling.tile(kind, i, j, tiling.blocks(i, j), scratch).logits
            only = tiling.only(kind, i, j, scratch)
            for axis, (side, block) in enumerate(tiling.places(kind, i, j)):
                shift = across(ns, shifts[side], block, axis)
                x = only(ns.minus(logits, shift, scratch, "linear"), "positives", 0)
                sums = ns.column_sums(x) if axis else ns.row_sums(x)
                out = replaced(out, side, ns.add_rows_(out[side], block, sums))
            return out

        return step if kind.positives else unchanged

    plan = tuple(t for t in tiling.plan if t.kind.positives)
    start = tuple(tiling.start_each(zeros))
    return over_tiles(ns, plan, body, start, tiling.workers, tiling.mixed)


def _accumulate_pairs(
    tiling: TileContext, pair: Pair, logs: list[tuple[LogSum, ...]]
) -> tuple[LogSum | Array, ...]:
    ns = tiling.ns

    def body(kind: Kind) -> _StatesStep:
        def step(out: _States, i: Block, j: Block, scratch: Scratch | None) -> _States:
            logits = tiling.tile(kind, i, j, tiling.blocks(i, j), scratch).logits
            only = tiling.only(kind, i, j, scratch)
            for axis, place in enumerate(tiling.places(kind, i, j)):
                u = tiling.relative(logits, logs[0], place, axis, scratch, "u")
                phi = only(pair.value(ns, u), "positives", -float("inf") if pair.log else 0)
                if pair.log:
                    state = STREAMING.absorb(ns, out[place.side], place.block, phi, 1 - axis)
                else:
                    sums = ns.column_sums(phi) if axis else ns.row_sums(phi)
                    state = (ns.add_rows_(out[place.side][0], place.block, sums),)
                out = replaced(out, place.side, state)
            return out

        return step if kind.positives else unchanged

    start = STREAMING.start if pair.log else (lambda ns, n, like: (zeros(ns, n, like),))
    plan = tuple(t for t in tiling.plan if t.kind.positives)
    states = over_tiles(
        ns, plan, body, tuple(tiling.start_each(start)), tiling.workers, tiling.mixed
    )
    if not pair.log:
        return tuple(sums for (sums,) in states)
    found = tuple(STREAMING.log(ns, state, 0.0) for state in states)
    if tiling.exponentials.guarded:
        return found
    # Where logits are small, so are the functions of them: one number is enough.
    return tuple(LogSum(None, finite(ns, log.peak) + log.log) for log in found)


def _add_sums(
    tiling: TileContext, sums: tuple[Array, ...], places: tuple[Place, ...], x: Array
) -> tuple[Array, ...]:
    ns = tiling.ns
    for axis, (side, block) in enumerate(places):
        part = ns.column_sums(x) if axis else ns.row_sums(x)
        sums = replaced(sums, side, ns.add_rows_(sums[side], block, part))
    return sums

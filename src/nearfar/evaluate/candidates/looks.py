"""What is known of anchors before their sums: the least similar positive, how many are left out."""

from functools import partial
from math import inf

from nearfar.evaluate.partition.tile import TileContext, replaced, zeros
from nearfar.evaluate.plan import Kind
from nearfar.evaluate.schedule import Step, over_tiles
from nearfar.frameworks import Array, Block, Scratch

_Carry = tuple[Array, ...]


def least_positives(walks: tuple[TileContext, ...]) -> tuple[Array, ...]:
    """Of each anchor, for every set: the guide's similarity where there is a guide, else the logit;
    infinity for an anchor without positives. The anchor itself is none."""

    def body(tiling: TileContext, kind: Kind) -> Step[_Carry]:
        ns, xp = tiling.ns, tiling.ns.xp

        def step(carry: _Carry, i: Block, j: Block, scratch: Scratch | None) -> _Carry:
            if tiling.left_out is not None and tiling.left_out.guide is not None:
                g = tiling.guide(i, j, scratch)
            else:
                g = tiling.tile(kind, i, j, tiling.blocks(i, j), scratch).logits
            row, column = tiling.relation.compared(ns, i, j)
            positive = row == column
            if len(tiling.sides) == 1:
                positive = positive & ~ns.same(i, j, g)
            g = xp.where(positive, g, xp.full_like(g, inf))
            for axis, place in enumerate(tiling.places(kind, i, j)):
                known = ns.rows(carry[place.side], place.block)
                least = xp.min(g, axis=1 - axis)
                least = xp.where(least < known, least, known)
                carry = replaced(
                    carry, place.side, ns.set_rows_(carry[place.side], place.block, least)
                )
            return carry

        return step

    carry = tuple(x + inf for x in walks[0].start_each(zeros))
    for tiling in walks:
        plan = tuple(t for t in tiling.plan if t.kind.positives)
        carry = over_tiles(tiling.ns, plan, partial(body, tiling), carry, None)
    return carry


def left_out(walks: tuple[TileContext, ...]) -> tuple[Array, ...]:
    """How many negatives of each anchor are left out or padding, for every set."""

    def body(tiling: TileContext, kind: Kind) -> Step[_Carry]:
        ns, xp = tiling.ns, tiling.ns.xp

        def step(carry: _Carry, i: Block, j: Block, scratch: Scratch | None) -> _Carry:
            logits = tiling.tile(kind, i, j, tiling.blocks(i, j), scratch).logits
            for axis, place in enumerate(tiling.places(kind, i, j)):
                everyone = tiling.members(kind, i, j, scratch)
                x = everyone(xp.ones_like(logits), "negatives", 0)
                before = ns.column_sums(x) if axis else ns.row_sums(x)
                x = tiling.only(kind, i, j, scratch, axis, logits)(x, "negatives", 0)
                offset = tiling.offset(i, j, axis)
                if offset is not None:
                    x = xp.where(offset == -inf, xp.zeros_like(x), x)
                after = ns.column_sums(x) if axis else ns.row_sums(x)
                added = ns.add_rows_(carry[place.side], place.block, before - after)
                carry = replaced(carry, place.side, added)
            return carry

        return step

    carry = walks[0].start_each(zeros)
    for tiling in walks:
        plan = tuple(t for t in tiling.plan if t.kind.negatives)
        carry = over_tiles(tiling.ns, plan, partial(body, tiling), carry, None)
    return carry

"""The rule of Smooth-AP: ranks by sigmoids of differences."""

from dataclasses import dataclass
from typing import ClassVar

from nearfar.frameworks import Array, Block, BlockTuples, Namespace, SymbolicBlocks
from nearfar.rules.protocol import Others, WithinRule
from nearfar.rules.triplets import classmates, unknown


@dataclass(frozen=True)
class SmoothRanks(WithinRule):
    """1 - mean over positives of (rank among positives) / (rank among all), one positive of every
    anchor of a block at a time."""

    count_self: bool
    steps: ClassVar[bool] = True

    def buffers(self, most: int | None) -> int:
        return 10

    def usable(self, positives: Array, negatives: Array) -> Array:
        return positives >= 0 if self.count_self else positives > 0

    def rows(
        self, ns: Namespace, logits: Array, others: Others, weight: Array | None
    ) -> tuple[Array, Array, Array | None]:
        xp, window = ns.xp, others.window
        same, mates = classmates(ns, others)
        mates = same if self.count_self else mates
        n = ns.shape(logits)[1]
        own = ns.same(*others.diagonal, logits)
        outside = xp.zeros_like(logits) > 0
        positives = ns.set_columns_(outside, window, mates)
        counted = xp.ones_like(logits) > 0
        counted = counted if self.count_self else counted & ~own
        number = ns.row_sums(ns.cast(mates, logits.dtype))
        some = number > 0
        share = 1 / xp.where(some, number, xp.ones_like(number))
        # Positives first, so that as many steps are made as an anchor has positives.
        order = ns.argsort(ns.cast(~mates, logits.dtype))
        members = ns.cast(ns.gather(mates, order), logits.dtype)
        reached = ns.gather(ns.columns(logits, window), order)
        numbers = ns.numbers(Block(0, 1), Block(0, n), logits)[1]
        places = ns.gather(
            ns.columns(numbers + 0 * ns.cast(positives, numbers.dtype), window), order
        )
        members, reached, places = (xp.matrix_transpose(x) for x in (members, reached, places))
        found = xp.zeros_like(number)
        by_all = 0 * logits if weight is not None else xp.zeros_like(logits[:1, :1])
        by_reached = xp.zeros_like(members) if weight is not None else by_all

        def body(carry: tuple[Array, Array, Array], k: Block) -> tuple[Array, Array, Array]:
            found, by_all, by_reached = carry
            member, at, place = (ns.rows(x, k)[0, :] for x in (members, reached, places))
            above = ns.sigmoid(logits - at[:, None])
            above = xp.where(counted & (numbers != place[:, None]), above, xp.zeros_like(above))
            among = xp.where(positives, above, xp.zeros_like(above))
            rank, rank_among = 1 + ns.row_sums(above), 1 + ns.row_sums(among)
            found = found + member * rank_among / rank
            if weight is None:
                return found, by_all, by_reached
            worth = member * share * weight / rank
            down = (worth * rank_among / rank)[:, None]
            by_above = xp.where(positives, down - worth[:, None], down)
            flow = by_above * above * (1 - above)
            at_place = ns.set_rows_(by_reached, k, -ns.row_sums(flow)[None, :])
            return found, ns.add_(by_all, flow), at_place

        steps = self._steps(ns, others, ns.shape(members)[0])
        found, by_all, by_reached = ns.loop(steps, body, (found, by_all, by_reached))
        nothing = unknown(ns, logits)
        losses = xp.where(some, 1 - share * found, xp.zeros_like(found)) + nothing
        terms = ns.cast(some, losses.dtype)
        if weight is None:
            return losses, terms, None
        back = ns.scatter(xp.matrix_transpose(by_reached), order, window.size)
        near = ns.columns(by_all, window) + back + nothing[:, None]
        return losses, terms, ns.set_columns_(by_all, window, near)

    def _steps(self, ns: Namespace, others: Others, width: object) -> BlockTuples:
        if not isinstance(width, int):
            return SymbolicBlocks("blocks", width, 1)
        most = width if others.most is None else min(width, others.most + self.count_self)
        return [(Block(k, 1),) for k in range(most)]

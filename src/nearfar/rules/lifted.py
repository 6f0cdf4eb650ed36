"""The rules of lifted structure; logits are distances taken negative."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from nearfar.frameworks import Array, Namespace
from nearfar.rules.protocol import Anchors, Others, Over, PartitionRule, Slopes, Sum, WithinRule
from nearfar.rules.triplets import classmates, only_strangers_, unknown


@dataclass(frozen=True)
class LiftedAnchors(PartitionRule):
    """max(0, log of the sum of exp(d) over positives + that of exp(margin - d) over negatives)."""

    margin: float
    without_positives: str
    """"count": the logarithm of a sum over none of them is 0, and the anchor counts."""

    sums: ClassVar[tuple[Sum, ...]] = (Sum("negatives"), Sum("positives", -1.0))

    @property
    def needs_positives(self) -> bool:
        return self.without_positives != "count"

    @property
    def takes_shift(self) -> bool:
        # With both sums it is a matter of differences.
        return self.needs_positives

    def empty(self, over: Over) -> float:
        return -inf

    def finish(self, ns: Namespace, a: Anchors) -> tuple[Array, Slopes]:
        xp = ns.xp
        push, pull = a.logs
        pull = xp.where(pull == -inf, xp.zeros_like(pull), pull)
        u = push + pull + self.margin
        idle, zero = u <= 0, xp.zeros_like(u)
        slope = xp.where(idle, zero, xp.ones_like(u) + 0 * xp.where(idle, zero, u))
        return xp.where(idle, zero, u), Slopes((slope, slope))


@dataclass(frozen=True)
class LiftedPairs(WithinRule):
    """1/2 max(0, log of the sum of exp(margin - d) over the negatives of both ends + d)**2."""

    margin: float

    meets: ClassVar[bool] = True

    def buffers(self, most: int | None) -> int:
        return 10

    def usable(self, positives: Array, negatives: Array) -> Array:
        return positives > 0

    def first(self, ns: Namespace, logits: Array, others: Others) -> Array:
        """The logarithm of an anchor's sum over its negatives."""
        return self._pushed(ns, logits, others)[0]

    def rows(
        self, ns: Namespace, logits: Array, others: Others, weight: Array | None
    ) -> tuple[Array, Array, Array | None]:
        xp, window = ns.xp, others.window
        assert others.met is not None
        here, there = (x[:, None] for x in others.met.numbers)
        there = xp.matrix_transpose(ns.rows(there, window))
        mates = classmates(ns, others)[1]
        zero = xp.zeros_like(ns.columns(logits, window))
        some, facing = here + zero > -inf, there + zero > -inf
        here, there = xp.where(some, here + zero, zero), xp.where(facing, there + zero, zero)
        apart = here - there
        both = xp.where(some & facing, there + ns.softplus(apart), xp.where(some, here, there))
        u = xp.where(mates & (some | facing), both - ns.columns(logits, window), zero)
        hinge = xp.where(u > 0, u, zero)
        nothing = unknown(ns, logits)
        losses = ns.row_sums(hinge * hinge) / 2 + nothing
        terms = ns.row_sums(ns.cast(mates, losses.dtype))
        if weight is None:
            return losses, terms, None
        assert others.met.weights is not None
        weights = xp.matrix_transpose(ns.rows(others.met.weights[:, None], window))
        share = xp.where(facing, xp.where(some, ns.sigmoid(apart), zero), zero + 1)
        # A pair is met from both of its ends, and each has its anchor's weight.
        pushed = ns.row_sums(hinge * share * (weight[:, None] + weights)) + nothing
        _, e, total = self._pushed(ns, logits, others)
        slopes = ns.mul_(e, (pushed / total)[:, None])
        near = ns.columns(slopes, window) - hinge * weight[:, None]
        return losses, terms, ns.set_columns_(slopes, window, near)

    def _pushed(self, ns: Namespace, logits: Array, others: Others) -> tuple[Array, Array, Array]:
        away = only_strangers_(ns, ns.copy(logits, others.scratch, "away"), others)
        e, shift, total, log = ns.exponentials_(away)
        return shift + log + self.margin, e, total

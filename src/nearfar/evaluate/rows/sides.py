"""Two sides of which ids tell who is alike, and some pairs are left out: each pair has a term."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from nearfar.evaluate.rows.evaluation import RowBatch, RowEvaluation
from nearfar.evaluate.rows.queries import POSITIVE, QUERY, Carry, QueryBatch, added
from nearfar.evaluate.schedule import CandidatePart
from nearfar.evaluate.threshold import Threshold
from nearfar.frameworks import Array, Block, Namespace, Scratch
from nearfar.rules import PairRule

Same = Literal["positive", "ignore", "negative"]


class SidesBatch(QueryBatch):
    def __init__(
        self,
        settings: "SidesEvaluation",
        ns: Namespace,
        inputs: tuple[Array, ...],
        wanted: tuple[bool, ...],
    ) -> None:
        super().__init__(settings, ns, inputs, wanted)
        ours, theirs = (self.given.fact(name) for name in ("ids.0", "ids.1"))
        if theirs is None:
            ours = theirs = self.given.fact("ids")
        self._ids = None if ours is None or theirs is None else (ours, theirs)
        guides = (self.given.fact(f"guide.{k}") for k in (QUERY, POSITIVE))
        self._guide = tuple(ns.unit_rows(x, 1.0)[0] for x in guides if x is not None)

    def anchors(
        self, carry: Carry, i: Block, window: Block | None, scratch: Scratch | None
    ) -> tuple[Carry, CandidatePart | None]:
        ns = self.ns
        loss, gradients = carry
        query, others = self.rows(i), self.sides[POSITIVE]
        weight = None if self._weights is None else ns.rows(self._weights, i)
        tile = self.similarity.tile(ns, query, others, None, scratch)
        logits = tile.logits
        if weight is not None and self.similarity.keeps_logits:
            logits = ns.copy(logits, scratch, "logits")
        positives, left_out = self._who(i, logits, scratch)
        if self.has_bias:
            logits = ns.add_(logits, self.bias)
        losses, slopes = self.rule.pairs(ns, logits, positives, left_out, weight)
        loss = ns.add_rows_(loss, i, losses)
        if slopes is None:
            return (loss, gradients), None
        if self.learns_bias:
            gradients = added(ns, gradients, -1, i, ns.row_sums(slopes))
        flow = self.similarity.pair_weights_(ns, slopes, tile)
        gradients = self.flows(gradients, QUERY, i, flow, query, others, scratch)
        return (loss, gradients), CandidatePart(query, flow) if self.pulls_candidates() else None

    def _who(self, i: Block, logits: Array, scratch: Scratch | None) -> tuple[Array, Array | None]:
        """Which pairs of a block are positives, and which are left out."""
        ns, settings = self.ns, self.settings
        positives = ns.same(i, Block(0, self.width), logits)
        left_out = None
        if self._ids is not None and settings.same != "negative":
            ours, theirs = self._ids
            alike = ns.rows(ours, i)[:, None] == theirs[None, :]
            if settings.same == "positive":
                positives = alike
            else:
                left_out = alike & ~positives
        if settings.threshold is None:
            return positives, left_out
        g = self._nearness(i, logits, scratch)
        theta = ns.xp.min(ns.xp.where(positives, g, ns.xp.full_like(g, float("inf"))), axis=1)
        near = g > settings.threshold.over(ns, theta, self.temperature)[:, None]
        near = near & ~positives
        return positives, near if left_out is None else left_out | near

    def _nearness(self, i: Block, logits: Array, scratch: Scratch | None) -> Array:
        if not self._guide:
            return logits
        ours, theirs = self._guide
        return self.ns.product(self.ns.rows(ours, i), theirs, scratch, "guide")


@dataclass(frozen=True, kw_only=True)
class SidesEvaluation(RowEvaluation):
    """Rows of the first side are the anchors; without ids row i of each is row i's positive."""

    rule: PairRule
    same: Same
    """What equal ids mean: positives, left out but for the partner, nothing."""
    threshold: Threshold | None

    negatives: ClassVar[str] = "batch"
    batch: ClassVar[type[RowBatch]] = SidesBatch

    def problem(self, ns: Namespace, inputs: tuple[Array, ...], own: Any) -> str:
        return "there are no fused kernels for a call of SigLIP with ids or exclude"

"""Losses that compare no rows but neighbours, given pairs, or features: value and gradient at once.

Every process of several computes the whole, of which each has an equal part.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from nearfar.evaluate.plan import each_block, row_block
from nearfar.evaluate.rows.evaluation import Found, RowBatch, RowEvaluation
from nearfar.frameworks import Array, Namespace
from nearfar.rules import AtOnceRule, Batch


class AtOnceBatch(RowBatch):
    def __init__(
        self,
        settings: "AtOnceEvaluation",
        ns: Namespace,
        inputs: tuple[Array, ...],
        wanted: tuple[bool, ...],
    ) -> None:
        super().__init__(settings, ns, inputs, wanted)
        given = self.given
        flat = tuple(ns.matrix(z) for z in given.embeddings)
        sides = self.similarity.prepare(ns, flat, 1.0)
        like = sides[0].p
        n = ns.shape(like)[0]
        buffers = self.rule.buffers()
        cached = not ns.accelerated(like)
        side = row_block(self.options, n, ns.itemsize(like), buffers, False, cached)
        rows = ns.ones((n,), like)
        self.looked_at = Batch(
            sides, given.fact("targets"), given.temperature, n, rows, each_block(n, side)
        )
        self.one = rows if self.rule.each else ns.ones((1,), like)

    def run(self, weights: Array | None) -> Found:
        ns, parts = self.ns, self.settings.share[1]
        taken = self.rule.take(ns, self.looked_at, weights)
        losses = taken.losses / parts
        if taken.gradients is None:
            return Found(losses, None, (None,) * len(self.inputs))
        embeddings: tuple[Array, ...] = tuple(
            self.similarity.restore(ns, rows, g / parts, 1.0)[0]
            for rows, g in zip(self.looked_at.sides, taken.gradients, strict=True)
        )
        slope: Any = taken.temperature / parts
        return Found(
            losses, None, self.settings.align(ns, self.inputs, self.wanted, embeddings, (slope,))
        )


@dataclass(frozen=True, kw_only=True)
class AtOnceEvaluation(RowEvaluation):
    rule: AtOnceRule

    batch: ClassVar[type[RowBatch]] = AtOnceBatch

"""Losses that need all logits of an anchor at once: value and gradient in one pass over rows.

A block of anchors meets all candidates; the rule turns its logits into losses and their
derivatives, which become gradients of the embeddings before the next block. One similarity, one
exponential and three products a pair, and nothing larger than a block of rows.
"""

from dataclasses import dataclass
from typing import Any, Literal

from nearfar.evaluate.options import Options
from nearfar.evaluate.plan import each_block, row_block
from nearfar.evaluate.protocol import RowRule
from nearfar.evaluate.reduction import Reduction
from nearfar.frameworks import Array, Block, Namespace, Scratch
from nearfar.similarity import SIMILARITIES, Place, Similarity

Negatives = Literal["batch", "shared", "own"]
Result = tuple[Array, tuple[Array, ...]]

_QUERY, _POSITIVE, _NEGATIVE = 0, 1, 2


@dataclass(frozen=True)
class RowEvaluation:
    """A row rule on queries with one positive each, and negatives.

    `negatives` are the other queries' positives ("batch"), an array (K, d) for all ("shared"), or
    one (N, K, d) with each query's own.
    """

    rule: RowRule
    similarity: str
    negatives: Negatives
    parts: int
    temperature: float | None
    reduction: Reduction
    options: Options

    def forward(
        self, ns: Namespace, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> tuple[Array, tuple[Array, ...]]:
        # With the weights known beforehand the gradient costs no second look at the logits.
        at_once = self.reduction.reduction != "none" and any(wanted)
        batch = _Batch(self, ns, inputs, wanted)
        loss, gradients = batch.run(batch.weights if at_once else None)
        loss = loss * batch.weights
        return (loss if self.reduction.reduction == "none" else ns.xp.sum(loss)), gradients

    def backward(
        self,
        ns: Namespace,
        inputs: tuple[Array, ...],
        saved: tuple[Array, ...],
        upstream: Array,
        wanted: tuple[bool, ...],
    ) -> tuple[Array | None, ...]:
        if self.reduction.reduction == "none":
            batch = _Batch(self, ns, inputs, wanted)
            _, gradients = batch.run(batch.weights * upstream)
        else:
            gradients = tuple(g * upstream for g in saved)
        found = iter(gradients)
        return tuple(
            ns.cast(ns.xp.reshape(next(found), ns.shape(x)), x.dtype) if w else None
            for x, w in zip(inputs, wanted, strict=True)
        )

    def outline(
        self, ns: Namespace, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> tuple[tuple[Any, ...], ...]:
        if self.reduction.reduction == "none":
            return ((ns.shape(inputs[0])[0],),)
        own = ns.shape(inputs[_NEGATIVE])[1] if self.negatives == "own" else None
        flat = [ns.shape(_matrix(ns, z, k, own)) for k, z in enumerate(inputs[: self.parts])]
        shapes = [*flat, *((),) * (len(inputs) - self.parts)]
        return ((), *(shape for shape, w in zip(shapes, wanted, strict=True) if w))


class _Batch:
    def __init__(
        self,
        settings: RowEvaluation,
        ns: Namespace,
        inputs: tuple[Array, ...],
        wanted: tuple[bool, ...],
    ) -> None:
        self.ns, self.rule, self.wanted = ns, settings.rule, wanted
        parts = inputs[: settings.parts]
        dtype = ns.compute_dtype(*parts)
        self.temperature: Any = settings.temperature
        if self.temperature is None:
            self.temperature = ns.cast(inputs[-1], dtype)
        self.own = ns.shape(parts[_NEGATIVE])[1] if settings.negatives == "own" else None
        self.similarity: Similarity = SIMILARITIES[settings.similarity]
        flat = [ns.cast(_matrix(ns, z, k, self.own), dtype) for k, z in enumerate(parts)]
        self.sides = self.similarity.prepare(ns, tuple(flat), self.temperature)
        self.candidates = _POSITIVE if settings.negatives == "batch" else _NEGATIVE
        n = ns.shape(parts[_QUERY])[0]
        ones = ns.zeros((n,), self.sides[_QUERY].p) + 1
        self.weights = settings.reduction.weights(ns, ones, ones > 0)
        # Four arrays of a block of logits, or of the rows that `own` negatives compare.
        width = ns.shape(self.sides[self.candidates].p)[0]
        if self.own is not None:
            width = self.own * ns.shape(self.sides[_QUERY].p)[1]
        side = row_block(settings.options, width, ns.itemsize(self.sides[_QUERY].p))
        self.blocks = each_block(n, side)

    def run(self, weights: Array | None) -> Result:
        """Losses (n,) and, given the anchors' weights, the gradients that are wanted."""
        ns = self.ns
        scratch = ns.scratch()
        start = (
            ns.zeros((ns.shape(self.weights)[0],), self.weights),
            tuple(ns.zeros(ns.shape(s.p), s.p) for s in self.sides) if weights is not None else (),
        )

        def body(carry: Result, i: Block) -> Result:
            weight = None if weights is None else ns.rows(weights, i)
            return self._block(carry, i, weight, scratch)

        loss, gradients = ns.loop(self.blocks, body, start)
        if weights is None:
            return loss, ()
        restored = [
            self.similarity.restore(ns, rows, g, self.temperature)
            for rows, g in zip(self.sides, gradients, strict=True)
        ]
        found = [z for (z, _), w in zip(restored, self.wanted, strict=False) if w]
        if len(self.wanted) > len(self.sides) and self.wanted[-1]:
            found.append(sum((slope for _, slope in restored[1:]), restored[0][1]))
        return loss, tuple(found)

    def _block(
        self, carry: Result, i: Block, weight: Array | None, scratch: Scratch | None
    ) -> Result:
        ns = self.ns
        loss, gradients = carry
        query, positive = (self.sides[k].block(ns, i) for k in (_QUERY, _POSITIVE))
        paired = self.similarity.paired(ns, query, positive)
        if self.own is None:
            columns = Block(0, ns.shape(self.sides[self.candidates].p)[0])
            others = self.sides[self.candidates]
            tile = self.similarity.tile(ns, query, others, False, scratch)
            logits = tile.logits
            if weight is not None and self.similarity.keeps_logits:
                logits = ns.copy(logits, scratch, "logits")
            if self.candidates == _POSITIVE:
                logits = ns.fill_(logits, ns.same(i, columns, query.p), -float("inf"))
        else:
            columns = Block(i.start * self.own, i.size * self.own)
            others = self.sides[_NEGATIVE].block(ns, columns)
            repeated = query.repeat(ns, self.own)
            logits = ns.xp.reshape(self.similarity.paired(ns, repeated, others), (i.size, self.own))
        losses, slopes, slope = self.rule.rows(ns, logits, paired, weight)
        loss = ns.add_rows_(loss, i, losses)
        if slopes is None or slope is None:
            return loss, gradients
        if self.own is None:
            places: tuple[Place, ...] = (Place(_QUERY, i),)
            if self._pulls_candidates():
                places += (Place(self.candidates, columns),)
            gradients = self.similarity.pull_(
                ns, gradients, places, query, others, tile, slopes, scratch
            )
        else:
            flat = ns.xp.reshape(slopes, (columns.size,))
            to_query, to_others = self.similarity.pull_paired(ns, repeated, others, flat)
            to_query = ns.xp.sum(ns.xp.reshape(to_query, (i.size, self.own, -1)), axis=1)
            gradients = _added(ns, gradients, _QUERY, i, to_query)
            gradients = _added(ns, gradients, _NEGATIVE, columns, to_others)
        to_query, to_positive = self.similarity.pull_paired(ns, query, positive, slope)
        gradients = _added(ns, gradients, _QUERY, i, to_query)
        return loss, _added(ns, gradients, _POSITIVE, i, to_positive)

    def _pulls_candidates(self) -> bool:
        """The temperature's gradient is a sum over all sides, wanted or not."""
        learns_temperature = len(self.wanted) > len(self.sides) and self.wanted[-1]
        return self.wanted[self.candidates] or learns_temperature


def _matrix(ns: Namespace, z: Array, k: int, own: int | None) -> Array:
    """Rows of features: (n, d), or (N K, d) for negatives that come per query."""
    return ns.matrix(z, 2 if own is not None and k == _NEGATIVE else 1)


def _added(
    ns: Namespace, gradients: tuple[Array, ...], side: int, block: Block, part: Array
) -> tuple[Array, ...]:
    added = ns.add_rows_(gradients[side], block, part)
    return (*gradients[:side], added, *gradients[side + 1 :])

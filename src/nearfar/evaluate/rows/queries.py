"""Queries with one positive each, against negatives."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from nearfar.evaluate.partition.small import SmallEvaluation
from nearfar.evaluate.partition.tile import replaced
from nearfar.evaluate.plan import each_block, row_block
from nearfar.evaluate.rows.evaluation import Found, RowBatch, RowEvaluation
from nearfar.evaluate.rows.fused import FusedQueries
from nearfar.evaluate.schedule import CandidatePart, over_anchor_blocks
from nearfar.evaluate.whole import Finish, Gradients, Saved, WholeQueries
from nearfar.frameworks import Array, Block, Namespace, Prepared, Problem, Residuals, Scratch
from nearfar.rules import OnePositive, QueryRule
from nearfar.similarity import PairWeights, Rows

Negatives = Literal["batch", "shared", "own", "matched"]
Carry = tuple[Array, tuple[Array, ...]]

QUERY, POSITIVE, NEGATIVE = 0, 1, 2
_BIAS = -1  # after the sides: what every query's logits together gain from a bias


class QueryBatch(RowBatch):
    def __init__(
        self,
        settings: Any,
        ns: Namespace,
        inputs: tuple[Array, ...],
        wanted: tuple[bool, ...],
    ) -> None:
        super().__init__(settings, ns, inputs, wanted)
        given = self.given
        self.temperature, self.bias = given.temperature, given.bias
        self.has_bias = len(settings.parameters) == 2
        self.learns_bias = self.has_bias and settings.parameters[1] is None
        own = settings.negatives == "own"
        flat = tuple(
            ns.matrix(z, 2 if own and k == NEGATIVE else 1) for k, z in enumerate(given.embeddings)
        )
        self.sides = self.similarity.prepare(ns, flat, self.temperature)
        self.facing = POSITIVE if settings.negatives == "batch" else NEGATIVE
        self.own: int | None = None
        if own or settings.negatives == "matched":
            self.own = ns.shape(inputs[NEGATIVE])[1] if own else 1
        n = ns.shape(inputs[QUERY])[0]
        self.one = ns.ones((n,), self.sides[QUERY].p)
        # Four arrays of a block of logits, or of the rows that `own` negatives compare; where none
        # is written in place, twice as many.
        buffers = 4 if ns.in_place else 8
        self.width = ns.shape(self.sides[self.facing].p)[0]
        held = self.width if self.own is None else self.own * ns.shape(self.sides[QUERY].p)[1]
        itemsize, split = ns.itemsize(self.sides[QUERY].p), self.workers is not None
        cached = not ns.accelerated(self.one)
        side = row_block(self.options, held, itemsize, buffers, split, cached)
        self.blocks = settings.mine(each_block(n, settings.side(n, side)))

    def run(self, weights: Array | None) -> Found:
        ns = self.ns
        one = self.one
        n = ns.shape(one)
        start: Carry = (ns.accumulator(n, one), ())
        if weights is not None:
            shapes = [ns.shape(s.p) for s in self.sides] + [n] * self.learns_bias
            start = (start[0], tuple(ns.accumulator(shape, one) for shape in shapes))
        self._weights = weights
        width = self.width if self.own is None else 0
        loss, gradients = over_anchor_blocks(ns, self.blocks, self, start, width, self.workers)
        loss, gradients = ns.accumulated(loss), tuple(map(ns.accumulated, gradients))
        if weights is None:
            return Found(loss, None, (None,) * len(self.inputs))
        embeddings, slope = self.similarity.restore_all(
            ns, self.sides, gradients[: len(self.sides)], self.temperature
        )
        slopes = [slope]
        if self.learns_bias:
            slopes.append(ns.xp.sum(gradients[_BIAS]))
        aligned = self.settings.align(ns, self.inputs, self.wanted, embeddings, tuple(slopes))
        return Found(loss, None, aligned)

    def rows(self, i: Block) -> Rows:
        return self.sides[QUERY].block(self.ns, i)

    def anchors(
        self, carry: Carry, i: Block, window: Block | None, scratch: Scratch | None
    ) -> tuple[Carry, CandidatePart | None]:
        ns = self.ns
        loss, gradients = carry
        query, positive = (self.sides[k].block(ns, i) for k in (QUERY, POSITIVE))
        weight = None if self._weights is None else ns.rows(self._weights, i)
        if self.own is None:
            others = self.sides[self.facing]
            tile = self.similarity.tile(ns, query, others, None, scratch)
            logits = tile.logits
            if weight is not None and self.similarity.keeps_logits:
                logits = ns.copy(logits, scratch, "logits")
            if self.settings.negatives == "batch":
                everyone = Block(0, self.width)
                paired = ns.diagonal(logits, i, everyone)
                logits = ns.fill_diagonal_(logits, i, everyone, -float("inf"))
        else:
            columns = Block(i.start * self.own, i.size * self.own)
            others = self.sides[NEGATIVE].block(ns, columns)
            repeated = query.repeat(ns, self.own)
            logits = ns.xp.reshape(self.similarity.paired(ns, repeated, others), (i.size, self.own))
        if self.settings.negatives != "batch":
            paired = self.similarity.paired(ns, query, positive)
        if self.has_bias:
            logits, paired = ns.add_(logits, self.bias), paired + self.bias
        losses, slopes, slope = self.rule.rows(ns, logits, paired, weight)
        if self.rule.norms:
            norms = ns.dots(query.p, query.p) + ns.dots(positive.p, positive.p)
            losses = losses + self.rule.norms / 2 * norms
        loss = ns.add_rows_(loss, i, losses)
        if slopes is None or slope is None:
            return (loss, gradients), None
        if self.learns_bias:
            gradients = added(ns, gradients, _BIAS, i, ns.row_sums(slopes) + slope)
        if self.settings.negatives == "batch" and not self.similarity.keeps_logits:
            # The positive's logit is one of the tile's: what it pulls comes with the products.
            slopes = ns.set_diagonal_(slopes, i, everyone, slope)
        else:
            to_query, to_positive = self.similarity.paired_vjp(ns, query, positive, slope)
            gradients = added(ns, gradients, QUERY, i, to_query)
            gradients = added(ns, gradients, POSITIVE, i, to_positive)
        if self.rule.norms and weight is not None:
            by_norm = (self.rule.norms * weight)[:, None]
            gradients = added(ns, gradients, QUERY, i, by_norm * query.p)
            gradients = added(ns, gradients, POSITIVE, i, by_norm * positive.p)
        if self.own is None:
            flow = self.similarity.pair_weights_(ns, slopes, tile)
            gradients = self.flows(gradients, QUERY, i, flow, query, others, scratch)
            return (loss, gradients), CandidatePart(
                query, flow
            ) if self.pulls_candidates() else None
        flat = ns.xp.reshape(slopes, (columns.size,))
        to_query, to_others = self.similarity.paired_vjp(ns, repeated, others, flat)
        to_query = ns.xp.sum(ns.xp.reshape(to_query, (i.size, self.own, -1)), axis=1)
        gradients = added(ns, gradients, QUERY, i, to_query)
        return (loss, added(ns, gradients, NEGATIVE, columns, to_others)), None

    def candidates(
        self, carry: Carry, left: CandidatePart, columns: Block, scratch: Scratch | None
    ) -> Carry:
        ns, side = self.ns, self.facing
        loss, gradients = carry
        flow = left.flow.columns(ns, columns).turned(ns)
        others = self.sides[side].block(ns, columns)
        return loss, self.flows(gradients, side, columns, flow, others, left.anchors, scratch)

    def flows(
        self,
        gradients: tuple[Array, ...],
        side: int,
        block: Block,
        flow: PairWeights,
        x: Rows,
        y: Rows,
        scratch: Scratch | None,
    ) -> tuple[Array, ...]:
        add = self.similarity.accumulate_
        return replaced(gradients, side, add(self.ns, gradients[side], block, flow, x, y, scratch))

    def pulls_candidates(self) -> bool:
        """The temperature's gradient is a sum over all sides, wanted or not."""
        return self.wanted[self.facing] or self.settings.learns(self.wanted)


def added(
    ns: Namespace, gradients: tuple[Array, ...], side: int, block: Block, part: Array
) -> tuple[Array, ...]:
    return replaced(gradients, side, ns.add_rows_(gradients[side], block, part))


@dataclass(frozen=True, kw_only=True)
class QueryEvaluation(RowEvaluation):
    """`negatives` are the other queries' positives ("batch"), an array (K, d) for all ("shared"),
    one (N, K, d) with each query's own, or (N, d) with one for each query ("matched").
    """

    rule: QueryRule
    negatives: Negatives

    batch: ClassVar[type[RowBatch]] = QueryBatch

    def problem(self, ns: Namespace, inputs: tuple[Array, ...], own: Block | None) -> Problem | str:
        facts = self.names[self.parts :]
        if facts:
            return f"there are no fused kernels for calls with {', '.join(facts)}"
        return self._problem(
            ns,
            inputs,
            own,
            kind="queries",
            pairing=self.negatives,
            finish=Finish(OnePositive("all")),
        )

    def prepared(self, ns: Namespace, inputs: tuple[Array, ...]) -> Prepared | None:
        biased = len(self.parameters) > 1
        alone = self.negatives == "batch" and len(self.names) == self.parts and self.share[1] == 1
        if biased or not alone:
            return None
        return SmallEvaluation.of(self, ns, inputs, self.rule.by_sums, "queries")

    def _batch(
        self, ns: Namespace, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> RowBatch:
        own = self._own(ns, inputs)
        kernel, _ = self.kernel(ns, inputs, own)
        if kernel is None or kernel.whole:
            return super()._batch(ns, inputs, wanted)
        return FusedQueries(self, ns, inputs, wanted, kernel, own)

    def forward(
        self,
        ns: Namespace,
        inputs: tuple[Array, ...],
        wanted: tuple[bool, ...],
        residuals: Residuals | None = None,
    ) -> tuple[Array, Saved]:
        whole = self._whole(ns, inputs)
        if whole is None:
            return super().forward(ns, inputs, wanted, residuals)
        return whole.forward(wanted, residuals)

    def backward(
        self,
        ns: Namespace,
        inputs: tuple[Array, ...],
        saved: Saved,
        upstream: Array | None,
        wanted: tuple[bool, ...],
        residuals: Residuals | None = None,
    ) -> Gradients:
        whole = self._whole(ns, inputs)
        if whole is None:
            return super().backward(ns, inputs, saved, upstream, wanted, residuals)
        return whole.backward(saved, upstream, wanted, residuals)

    def _whole(self, ns: Namespace, inputs: tuple[Array, ...]) -> WholeQueries | None:
        """The kernel that does all of this, if there is one."""
        kernel, _ = self.kernel(ns, inputs, self._own(ns, inputs))
        if kernel is None or not kernel.whole:
            return None
        return WholeQueries(self, ns, inputs, kernel)

    def _own(self, ns: Namespace, inputs: tuple[Array, ...]) -> Block | None:
        """The queries of this process, where it does not compute all."""
        number, parts = self.share
        if parts == 1:
            return None
        n = ns.shape(inputs[QUERY])[0]
        start, end = n * number // parts, n * (number + 1) // parts
        return Block(start, end - start)

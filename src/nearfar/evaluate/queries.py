"""Queries with one positive each, against negatives."""

from dataclasses import dataclass
from typing import Literal

from nearfar.evaluate.plan import each_block, row_block
from nearfar.evaluate.protocol import QueryRule
from nearfar.evaluate.rows import Found, RowEvaluation
from nearfar.frameworks import Array, Block, Namespace, Scratch
from nearfar.similarity import Place

Negatives = Literal["batch", "shared", "own", "matched"]
Carry = tuple[Array, tuple[Array, ...]]

_QUERY, _POSITIVE, _NEGATIVE = 0, 1, 2
_BIAS = -1  # after the sides: what every query's logits together gain from a bias


@dataclass(frozen=True, kw_only=True)
class QueryEvaluation(RowEvaluation):
    """`negatives` are the other queries' positives ("batch"), an array (K, d) for all ("shared"),
    one (N, K, d) with each query's own, or (N, d) with one for each query ("matched").
    """

    rule: QueryRule
    negatives: Negatives

    def _batch(
        self, ns: Namespace, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> "_Batch":
        return _Batch(self, ns, inputs, wanted)


class _Batch:
    def __init__(
        self,
        settings: QueryEvaluation,
        ns: Namespace,
        inputs: tuple[Array, ...],
        wanted: tuple[bool, ...],
    ) -> None:
        self.ns, self.rule, self.settings = ns, settings.rule, settings
        self.inputs, self.wanted = inputs, wanted
        self.similarity = settings.similarity
        given = settings.sort_out(ns, inputs)
        self.temperature, self.bias = given.temperature, given.bias
        self.has_bias = len(settings.parameters) == 2
        self.learns_bias = self.has_bias and settings.parameters[1] is None
        own = settings.negatives == "own"
        flat = tuple(
            ns.matrix(z, 2 if own and k == _NEGATIVE else 1) for k, z in enumerate(given.embeddings)
        )
        self.sides = self.similarity.prepare(ns, flat, self.temperature)
        self.candidates = _POSITIVE if settings.negatives == "batch" else _NEGATIVE
        self.own: int | None = None
        if own or settings.negatives == "matched":
            self.own = ns.shape(inputs[_NEGATIVE])[1] if own else 1
        n = ns.shape(inputs[_QUERY])[0]
        self.one = ns.zeros((n,), self.sides[_QUERY].p) + 1
        self.usable = self.one > 0
        # Four arrays of a block of logits, or of the rows that `own` negatives compare; where none
        # is written in place, twice as many.
        buffers = 4 if ns.in_place else 8
        width = ns.shape(self.sides[self.candidates].p)[0]
        if self.own is not None:
            width = self.own * ns.shape(self.sides[_QUERY].p)[1]
        side = row_block(settings.options, width, ns.itemsize(self.sides[_QUERY].p), buffers)
        self.blocks = settings.mine(each_block(n, settings.side(n, side)))

    def restore(self, x: Array) -> Array:
        return x

    def arrange(self, x: Array) -> Array:
        return x

    def run(self, weights: Array | None) -> Found:
        ns = self.ns
        one = self.one
        n = ns.shape(one)
        start: Carry = (ns.zeros(n, one), ())
        if weights is not None:
            shapes = [ns.shape(s.p) for s in self.sides] + [n] * self.learns_bias
            start = (start[0], tuple(ns.zeros(shape, one) for shape in shapes))

        def body(carry: Carry, i: Block) -> Carry:
            weight = None if weights is None else ns.rows(weights, i)
            return self._block(carry, i, weight, scratch)

        with ns.scratch() as scratch:
            loss, gradients = ns.loop(self.blocks, body, start)
        terms = one / self.settings.share[1]  # of one query in all, whoever computes it
        if weights is None:
            return Found(loss, terms, (None,) * len(self.inputs))
        restored = [
            self.similarity.restore(ns, rows, g, self.temperature)
            for rows, g in zip(self.sides, gradients, strict=False)
        ]
        embeddings = tuple(z for z, _ in restored)
        slopes = [sum((slope for _, slope in restored[1:]), restored[0][1])]
        slopes += [ns.xp.sum(gradients[_BIAS])] * self.learns_bias
        aligned = self.settings.align(ns, self.inputs, self.wanted, embeddings, tuple(slopes))
        return Found(loss, terms, aligned)

    def _block(
        self, carry: Carry, i: Block, weight: Array | None, scratch: Scratch | None
    ) -> Carry:
        ns = self.ns
        loss, gradients = carry
        query, positive = (self.sides[k].block(ns, i) for k in (_QUERY, _POSITIVE))
        paired = self.similarity.paired(ns, query, positive) + self.bias
        if self.own is None:
            columns = Block(0, ns.shape(self.sides[self.candidates].p)[0])
            others = self.sides[self.candidates]
            tile = self.similarity.tile(ns, query, others, None, scratch)
            logits = tile.logits
            if weight is not None and self.similarity.keeps_logits:
                logits = ns.copy(logits, scratch, "logits")
            if self.settings.negatives == "batch":
                logits = ns.fill_(logits, ns.same(i, columns, query.p), -float("inf"))
        else:
            columns = Block(i.start * self.own, i.size * self.own)
            others = self.sides[_NEGATIVE].block(ns, columns)
            repeated = query.repeat(ns, self.own)
            logits = ns.xp.reshape(self.similarity.paired(ns, repeated, others), (i.size, self.own))
        if self.has_bias:
            logits = ns.add_(logits, self.bias)
        losses, slopes, slope = self.rule.rows(ns, logits, paired, weight)
        loss = ns.add_rows_(loss, i, losses)
        if slopes is None or slope is None:
            return loss, gradients
        if self.learns_bias:
            gradients = _added(ns, gradients, _BIAS, i, ns.row_sums(slopes) + slope)
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
        return self.wanted[self.candidates] or self.settings.learns(self.wanted)


def _added(
    ns: Namespace, gradients: tuple[Array, ...], side: int, block: Block, part: Array
) -> tuple[Array, ...]:
    added = list(gradients)
    added[side] = ns.add_rows_(added[side], block, part)
    return tuple(added)

"""One set of rows, each an anchor against all others, a block of anchors at a time."""

from dataclasses import dataclass

from nearfar.evaluate.plan import all_pairs, anchors_by_class, each_block, row_block
from nearfar.evaluate.protocol import Others, WithinRule
from nearfar.evaluate.rows import Found, RowEvaluation
from nearfar.frameworks import Array, Block, Namespace, Scratch
from nearfar.pairing import Pairing, PairingKind, pair_up
from nearfar.similarity import Place

Carry = tuple[Array, Array, tuple[Array, ...]]

_NOTHING_TO_DO = (
    "no anchor of this batch has a positive and what it is compared with: the loss is 0 and has no "
    "gradient; give batches of several rows, with labels two of a class and several classes"
)


@dataclass(frozen=True, kw_only=True)
class WithinEvaluation(RowEvaluation):
    rule: WithinRule
    pairing: PairingKind

    def _batch(
        self, ns: Namespace, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> "_Batch":
        return _Batch(self, ns, inputs, wanted)


class _Batch:
    def __init__(
        self,
        settings: WithinEvaluation,
        ns: Namespace,
        inputs: tuple[Array, ...],
        wanted: tuple[bool, ...],
    ) -> None:
        self.ns, self.rule, self.settings = ns, settings.rule, settings
        self.inputs, self.wanted = inputs, wanted
        self.similarity = settings.similarity
        given = settings.sort_out(ns, inputs)
        self.temperature = given.temperature
        self.pairing: Pairing = pair_up(ns, settings.pairing, inputs)
        self.targets = None
        if settings.pairing == "targets":
            self.targets = self.pairing.arrange(ns, given.facts[0])
        gathered = self.pairing.gather(ns, (ns.matrix(given.embeddings[0]),))
        (self.rows,) = self.similarity.prepare(ns, gathered, self.temperature)
        self.n = self.pairing.n
        side = row_block(settings.options, self.n, ns.itemsize(self.rows.p), self.rule.buffers)
        self.side = settings.side(self.n, side)
        empty = ns.zeros((self.n,), self.rows.p)
        positives = self.pairing.counts(ns, empty, all_pairs(self.n, self.side))
        self.one = ns.xp.ones_like(empty)
        negatives = ns.xp.sum(self.one) - 1 - positives
        self.usable = self.rule.usable(positives, negatives)
        ns.warn_if(~ns.xp.any(self.usable), _NOTHING_TO_DO)

    def restore(self, x: Array) -> Array:
        return self.pairing.restore(self.ns, x)

    def arrange(self, x: Array) -> Array:
        return self.pairing.arrange(self.ns, x)

    def run(self, weights: Array | None) -> Found:
        ns, rows = self.ns, self.rows
        everyone = Block(0, self.n)

        def body(carry: Carry, i: Block, window: Block = everyone) -> Carry:
            loss, terms, gradients = carry
            anchors = rows.block(ns, i)
            others = self._others(i, window, scratch)
            tile = self.similarity.tile(ns, anchors, rows, others.itself, scratch)
            weight = None if weights is None else ns.rows(weights, i)
            losses, counted, slopes = self.rule.rows(ns, tile.logits, others, weight)
            loss, terms = ns.add_rows_(loss, i, losses), ns.add_rows_(terms, i, counted)
            if slopes is None:
                return loss, terms, gradients
            places = (Place(0, i), Place(0, everyone))
            pull = self.similarity.pull_
            gradients = pull(ns, gradients, places, anchors, rows, tile, slopes, scratch)
            return loss, terms, gradients

        none = ns.zeros((self.n,), rows.p)
        flow: tuple[Array, ...] = ()
        if weights is not None:
            flow = (ns.zeros(ns.shape(rows.p), rows.p),)
        sizes = self.pairing.sizes
        blocks = (
            each_block(self.n, self.side) if sizes is None else anchors_by_class(sizes, self.side)
        )
        start: Carry = (none, ns.zeros((self.n,), rows.p), flow)
        with ns.scratch() as scratch:
            loss, terms, flow = ns.loop(self.settings.mine(blocks), body, start)
        if weights is None:
            return Found(loss, terms, (None,) * len(self.inputs))
        z, slope = self.similarity.restore(ns, rows, flow[0], self.temperature)
        embeddings = self.pairing.scatter(ns, (z,))
        aligned = self.settings.align(ns, self.inputs, self.wanted, embeddings, (slope,))
        return Found(loss, terms, aligned)

    def _others(self, i: Block, window: Block, scratch: Scratch | None) -> Others:
        ns, everyone = self.ns, Block(0, self.n)
        itself = ns.same(i, everyone, self.rows.p)
        if self.targets is not None:
            targets = ns.rows(self.targets, i), self.targets
            return Others(itself, None, window, targets, scratch, None)
        sizes = self.pairing.sizes
        most = None if sizes is None else max(sizes) - 1
        return Others(itself, self.pairing.same(ns, i, everyone), window, None, scratch, most)

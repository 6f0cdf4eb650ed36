"""One set of rows, each an anchor against all others, a block of anchors at a time."""

from dataclasses import dataclass
from typing import ClassVar

from nearfar.evaluate.plan import all_pairs, anchors_by_class, each_block, row_block
from nearfar.evaluate.rows.evaluation import Found, RowBatch, RowEvaluation
from nearfar.evaluate.schedule import CandidatePart, over_anchor_blocks
from nearfar.frameworks import Array, Block, Namespace, Scratch
from nearfar.pairing import Pairing, PairingKind, pair_up
from nearfar.rules import Met, Others, Picked, WithinRule
from nearfar.similarity import Rows, Tile

Carry = tuple[Array, Array, tuple[Array, ...]]
"""Losses, numbers of terms; then the gradient of the rows, or what is picked with its slopes."""

_NOTHING_TO_DO = (
    "no anchor of this batch has a positive and what it is compared with: the loss is 0 and has no "
    "gradient; give batches of several rows, with labels two of a class and several classes"
)


class InBatch(RowBatch):
    def __init__(
        self,
        settings: "InBatchEvaluation",
        ns: Namespace,
        inputs: tuple[Array, ...],
        wanted: tuple[bool, ...],
    ) -> None:
        super().__init__(settings, ns, inputs, wanted)
        self.temperature = self.given.temperature
        self.pairing: Pairing = pair_up(ns, settings.pairing, inputs)
        self.targets = None
        if settings.pairing == "targets":
            self.targets = self.pairing.arrange(ns, self.given.facts[0])
        gathered = self.pairing.gather(ns, (ns.matrix(self.given.embeddings[0]),))
        (self.all,) = self.similarity.prepare(ns, gathered, self.temperature)
        self.n = self.pairing.n
        itemsize, split = ns.itemsize(self.all.p), self.workers is not None
        sizes = self.pairing.sizes
        self.most = None if sizes is None else max(sizes) - 1
        buffers = self.rule.buffers(self.most)
        cached = not ns.accelerated(self.all.p)
        side = row_block(self.options, self.n, itemsize, buffers, split, cached)
        self.side = settings.side(self.n, side)
        empty = ns.zeros((self.n,), self.all.p)
        positives = self.pairing.counts(ns, empty, all_pairs(self.n, self.side))
        self.one = ns.xp.ones_like(empty)
        negatives = ns.xp.sum(self.one) - 1 - positives
        self._usable = self.rule.usable(positives, negatives)
        ns.warn_if(~ns.xp.any(self._usable), _NOTHING_TO_DO)
        blocks = (
            each_block(self.n, self.side) if sizes is None else anchors_by_class(sizes, self.side)
        )
        self.every = blocks
        self.blocks = settings.mine(blocks)
        self._numbers: Array | None = None

    @property
    def usable(self) -> Array:
        return self._usable

    def restore(self, x: Array) -> Array:
        return self.pairing.restore(self.ns, x)

    def arrange(self, x: Array) -> Array:
        return self.pairing.arrange(self.ns, x)

    def run(self, weights: Array | None) -> Found:
        ns = self.ns
        self._weights = weights
        if self.rule.meets and self._numbers is None:
            self._numbers = self._first()
        start = (ns.zeros((self.n,), self.all.p), ns.zeros((self.n,), self.all.p), self._start())
        loss, terms, found = over_anchor_blocks(ns, self.blocks, self, start, self.n, self.workers)
        if weights is None:
            return Found(loss, terms, (None,) * len(self.inputs))
        gradient = self._pull_picked(*found) if self.rule.picks else found[0]
        z, slope = self.similarity.restore(ns, self.all, gradient, self.temperature)
        embeddings = self.pairing.scatter(ns, (z,))
        aligned = self.settings.align(ns, self.inputs, self.wanted, embeddings, (slope,))
        return Found(loss, terms, aligned)

    def _first(self) -> Array:
        """What the rule says of every row before any loss."""
        ns = self.ns
        with ns.scratch() as scratch:

            def body(found: Array, i: Block, window: Block | None = None) -> Array:
                others = self._others(i, window, scratch)
                tile = self._tile(i, scratch)
                return ns.add_rows_(found, i, self.rule.first(ns, tile.logits, others))

            return ns.loop(self.every, body, ns.zeros((self.n,), self.all.p))

    def _tile(self, i: Block, scratch: Scratch | None) -> Tile:
        everyone = Block(0, self.n)
        return self.similarity.tile(self.ns, self.rows(i), self.all, (i, everyone), scratch)

    def _start(self) -> tuple[Array, ...]:
        ns = self.ns
        if self._weights is None:
            return ()
        if not self.rule.picks:
            return (ns.zeros(ns.shape(self.all.p), self.all.p),)
        none = ns.zeros((self.n, self.rule.picks), self.all.p)
        return ns.cast(none, ns.xp.int64), none

    def rows(self, i: Block) -> Rows:
        return self.all.block(self.ns, i)

    def anchors(
        self, carry: Carry, i: Block, window: Block | None, scratch: Scratch | None
    ) -> tuple[Carry, CandidatePart | None]:
        ns = self.ns
        loss, terms, found = carry
        anchors, tile = self.rows(i), self._tile(i, scratch)
        weight = None if self._weights is None else ns.rows(self._weights, i)
        others = self._others(i, window, scratch)
        losses, counted, slopes = self.rule.rows(ns, tile.logits, others, weight)
        loss, terms = ns.add_rows_(loss, i, losses), ns.add_rows_(terms, i, counted)
        if slopes is None:
            return (loss, terms, found), None
        if isinstance(slopes, Picked):
            columns = ns.cast(slopes.columns, ns.xp.int64)
            picked = ns.set_rows_(found[0], i, columns), ns.set_rows_(found[1], i, slopes.slopes)
            return (loss, terms, picked), None
        flow = self.similarity.pair_weights_(ns, slopes, tile)
        add = self.similarity.accumulate_
        gradient = add(ns, found[0], i, flow, anchors, self.all, scratch)
        return (loss, terms, (gradient,)), CandidatePart(anchors, flow)

    def candidates(
        self, carry: Carry, left: CandidatePart, columns: Block, scratch: Scratch | None
    ) -> Carry:
        ns = self.ns
        loss, terms, (gradient,) = carry
        flow = left.flow.columns(ns, columns).turned(ns)
        add = self.similarity.accumulate_
        gradient = add(ns, gradient, columns, flow, self.rows(columns), left.anchors, scratch)
        return loss, terms, (gradient,)

    def _pull_picked(self, columns: Array, slopes: Array) -> Array:
        ns = self.ns

        def body(gradient: Array, i: Block) -> Array:
            anchors = self.rows(i)
            places, g = ns.rows(columns, i), ns.rows(slopes, i)
            for k in range(self.rule.picks):
                others = self.all.take(ns, places[:, k])
                here, there = self.similarity.paired_vjp(ns, anchors, others, g[:, k])
                gradient = ns.add_rows_(gradient, i, here)
                gradient = ns.add_at_(gradient, places[:, k], there)
            return gradient

        # Of a process that does not compute all anchors the slopes of the others are 0.
        blocks = each_block(self.n, self.side)
        return ns.loop(blocks, body, ns.zeros(ns.shape(self.all.p), self.all.p))

    def _others(self, i: Block, window: Block | None, scratch: Scratch | None) -> Others:
        diagonal = i, Block(0, self.n)
        window = diagonal[1] if window is None else window
        if self.targets is not None:
            targets = self.ns.rows(self.targets, i), self.targets
            return Others(diagonal, None, window, targets, scratch, None)
        rows, columns = self.pairing.compared(self.ns, i, window)
        met = None
        if self._numbers is not None:
            met = Met((self.ns.rows(self._numbers, i), self._numbers), self._weights)
        return Others(diagonal, rows == columns, window, None, scratch, self.most, met)


@dataclass(frozen=True, kw_only=True)
class InBatchEvaluation(RowEvaluation):
    rule: WithinRule
    pairing: PairingKind

    batch: ClassVar[type[RowBatch]] = InBatch

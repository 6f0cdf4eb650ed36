"""Rows of a batch, each an anchor against all others, a reference or both, a block at a time."""

from dataclasses import dataclass
from typing import ClassVar

from nearfar.evaluate.plan import each_block, row_block, tile_side
from nearfar.evaluate.rows.among import Candidates, among
from nearfar.evaluate.rows.evaluation import Found, Gradients, RowBatch, RowEvaluation
from nearfar.evaluate.rows.hardest import hardest
from nearfar.evaluate.schedule import CandidatePart, over_anchor_blocks
from nearfar.frameworks import Array, Block, Namespace, Scratch
from nearfar.pairing import PairingKind
from nearfar.rules import Met, Others, Picked, WithinRule
from nearfar.similarity import Rows, Tile

Carry = tuple[Array, Array, tuple[Array, ...]]
"""Losses, numbers of terms; then the gradients of the sides, or what is picked with its slopes."""

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
        self.among = among(ns, settings.pairing, settings.candidates, self.given)
        self.n, self.m = self.among.n, self.among.m
        self.everyone = Block(0, self.m)
        parts = tuple(map(ns.matrix, self.given.embeddings))
        self.sides: tuple[Rows, ...] = ()
        if self.has_candidates:
            gathered = self.among.gather(ns, parts)
            self.sides = self.similarity.prepare(ns, gathered, self.temperature)
        like = parts[0]
        itemsize, split = ns.itemsize(like), self.workers is not None
        buffers = self.rule.buffers(self.among.most)
        cached = not ns.accelerated(like)
        width = max(1, self.m) if isinstance(self.m, int) else self.m
        side = row_block(self.options, width, itemsize, buffers, split, cached)
        self.side = settings.side(self.n, side)
        empty = ns.zeros((self.n,), like)
        positives = self.among.positives(ns, empty, self.side)
        self.most = self.among.most
        if self.most is None and self.rule.steps:
            self.most = ns.waited_for(ns.xp.max(positives))
        self.one = ns.xp.ones_like(empty)
        others = ns.number(self.m, like) - self.among.itself
        self._usable = self.rule.usable(positives, others - positives)
        ns.warn_if(~ns.xp.any(self._usable), _NOTHING_TO_DO)
        self.every = self.among.blocks(self.side)
        self.blocks = settings.mine(self.every)
        self._numbers: Array | None = None
        self._tile_side: int | None = None  # where tiles find what the rule picks
        alone = ns.in_place and cached and settings.share[1] == 1
        if self.rule.picks and alone and self.among.sizes is not None:
            side = tile_side(self.options, itemsize, ns.tile(1, self.n, like))
            self._tile_side = side if side < self.n else None
        # The temperature's gradient is a sum over all rows, wanted or not.
        pulled = [w or settings.learns(wanted) for w in wanted[: settings.parts]]
        self._pulls = pulled if len(self.sides) == len(pulled) else [any(pulled)]
        whole = settings.candidates != "both" or pulled[-1]
        self._pulled_columns = self.m if whole else self.n

    @property
    def has_candidates(self) -> bool:
        """False where it is known that there are no candidates."""
        return not isinstance(self.m, int) or self.m > 0

    @property
    def usable(self) -> Array:
        return self._usable

    def restore(self, x: Array) -> Array:
        return self.among.restore(self.ns, x)

    def arrange(self, x: Array) -> Array:
        return self.among.arrange(self.ns, x)

    def run(self, weights: Array | None) -> Found:
        ns, one = self.ns, self.one
        self._weights = weights
        if not self.has_candidates:
            nothing = (
                ns.zeros(ns.shape(x), one) if w and weights is not None else None
                for x, w in zip(self.inputs, self.wanted, strict=True)
            )
            return Found(0 * one, 0 * one, tuple(nothing))
        if self.rule.meets and self._numbers is None:
            self._numbers = self._first()
        if self._tile_side is not None:
            return self._run_by_tiles(self._tile_side)
        start = (0 * one, 0 * one, self._start())
        loss, terms, found = over_anchor_blocks(ns, self.blocks, self, start, self.m, self.workers)
        if weights is None:
            return Found(loss, terms, (None,) * len(self.inputs))
        gradients = self._pull_picked(*found) if self.rule.picks else found
        return Found(loss, terms, self._restored(gradients))

    def _run_by_tiles(self, side: int) -> Found:
        """Where half of all tiles tell which logits the rule picks."""
        ns, one, weights = self.ns, self.one, self._weights
        rows, who = self.sides[0], self.among
        assert who.sizes is not None
        found = hardest(ns, self.similarity, rows, who, who.sizes, side, self.workers)
        # 0, but NaN for an anchor that meets one, which nobody sees in two of its logits.
        unknown = 0 * one
        for x in found:
            unknown = unknown + 0 * ns.xp.where(x.values == -float("inf"), 0 * one, x.values)

        def body(carry: Carry, i: Block) -> Carry:
            loss, terms, gradients = carry
            anchors, nothing = self.rows(i), ns.rows(unknown, i)
            places = [ns.rows(x.places, i) for x in found]
            others = [rows.take(ns, x) for x in places]
            logits = [self.similarity.paired(ns, anchors, x) for x in others]
            weight = None if weights is None else ns.rows(weights, i)
            losses, counted, slopes = self.rule.picked(
                ns, *logits, ns.rows(self._usable, i), weight
            )
            loss, terms = ns.set_rows_(loss, i, losses + nothing), ns.set_rows_(terms, i, counted)
            if slopes is not None:
                for k, x in enumerate(others):
                    g = slopes[:, k] + nothing
                    gradients = self._pulled(gradients, i, anchors, places[k], x, g)
            return loss, terms, gradients

        gradients = () if weights is None else self._no_gradients()
        carry = 0 * one, 0 * one, gradients
        loss, terms, gradients = ns.loop(each_block(self.n, side), body, carry)
        if weights is None:
            return Found(loss, terms, (None,) * len(self.inputs))
        return Found(loss, terms, self._restored(gradients))

    def _restored(self, gradients: tuple[Array, ...]) -> Gradients:
        ns = self.ns
        sides: list[Array | None] = []
        slopes = []
        for rows, gradient, pulls in zip(self.sides, gradients, self._pulls, strict=True):
            if not pulls:
                sides.append(None)
                continue
            z, slope = self.similarity.restore(ns, rows, gradient, self.temperature)
            sides.append(z)
            slopes.append(slope)
        embeddings = self.among.scatter(ns, tuple(sides))
        slope = sum(slopes[1:], slopes[0])
        found: Gradients = self.settings.align(ns, self.inputs, self.wanted, embeddings, (slope,))
        return found

    def _first(self) -> Array:
        """What the rule says of every row before any loss."""
        ns = self.ns
        with ns.scratch() as scratch:

            def body(found: Array, i: Block, window: Block | None = None) -> Array:
                others = self._others(i, window, scratch)
                tile = self._tile(i, scratch)
                return ns.add_rows_(found, i, self.rule.first(ns, tile.logits, others))

            return ns.loop(self.every, body, 0 * self.one)

    def _tile(self, i: Block, scratch: Scratch | None) -> Tile:
        diagonal = (i, self.everyone) if self.among.itself else None
        return self.similarity.tile(self.ns, self.rows(i), self.sides[-1], diagonal, scratch)

    def _start(self) -> tuple[Array, ...]:
        ns, one = self.ns, self.one
        if self._weights is None:
            return ()
        if not self.rule.picks:
            return self._no_gradients()
        none = ns.zeros((self.n, self.rule.picks), one)
        return ns.cast(none, ns.xp.int64), none

    def _no_gradients(self) -> tuple[Array, ...]:
        """Of the sides; where nobody wants one it has no rows."""
        ns, found = self.ns, []
        for rows, pulls in zip(self.sides, self._pulls, strict=True):
            n, d = ns.shape(rows.p)
            found.append(ns.zeros((n if pulls else 0, d), rows.p))
        return tuple(found)

    def rows(self, i: Block) -> Rows:
        return self.sides[0].block(self.ns, i)

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
        if self._pulls[0]:
            add = self.similarity.accumulate_
            gradient = add(ns, found[0], i, flow, anchors, self.sides[-1], scratch)
            found = (gradient, *found[1:])
        return (loss, terms, found), CandidatePart(anchors, flow) if self._pulls[-1] else None

    def candidates(
        self, carry: Carry, left: CandidatePart, columns: Block, scratch: Scratch | None
    ) -> Carry:
        ns = self.ns
        loss, terms, found = carry
        if self._pulled_columns is not self.m:
            end = min(columns.start + columns.size, self._pulled_columns)
            columns = Block(columns.start, max(0, end - columns.start))
            if columns.size == 0:
                return carry
        flow = left.flow.columns(ns, columns).turned(ns)
        add = self.similarity.accumulate_
        rows = self.sides[-1].block(ns, columns)
        gradient = add(ns, found[-1], columns, flow, rows, left.anchors, scratch)
        return loss, terms, (*found[:-1], gradient)

    def _pull_picked(self, columns: Array, slopes: Array) -> tuple[Array, ...]:
        ns = self.ns

        def body(found: tuple[Array, ...], i: Block) -> tuple[Array, ...]:
            anchors = self.rows(i)
            places, g = ns.rows(columns, i), ns.rows(slopes, i)
            for k in range(self.rule.picks):
                others = self.sides[-1].take(ns, places[:, k])
                found = self._pulled(found, i, anchors, places[:, k], others, g[:, k])
            return found

        # Of a process that does not compute all anchors the slopes of the others are 0.
        return ns.loop(each_block(self.n, self.side), body, self._no_gradients())

    def _pulled(
        self,
        found: tuple[Array, ...],
        i: Block,
        anchors: Rows,
        places: Array,
        others: Rows,
        g: Array,
    ) -> tuple[Array, ...]:
        """Gradients of the sides with those of one logit each of some anchors."""
        ns = self.ns
        here, there = self.similarity.paired_vjp(ns, anchors, others, g)
        if self._pulls[0]:
            found = (ns.add_rows_(found[0], i, here), *found[1:])
        if self._pulls[-1]:
            found = (*found[:-1], ns.add_at_(found[-1], places, there))
        return found

    def _others(self, i: Block, window: Block | None, scratch: Scratch | None) -> Others:
        who = self.among
        diagonal = i, Block(who.first, self.m)
        window = self.everyone if window is None else window
        targets = who.targets(self.ns, i)
        if targets is not None:
            return Others(diagonal, None, window, targets, scratch, None, itself=who.itself)
        rows, columns = who.compared(self.ns, i, window)
        met = None
        if self._numbers is not None:
            met = Met((self.ns.rows(self._numbers, i), self._numbers), self._weights)
        same = rows == columns
        return Others(diagonal, same, window, None, scratch, self.most, met, who.itself)


@dataclass(frozen=True, kw_only=True)
class InBatchEvaluation(RowEvaluation):
    rule: WithinRule
    pairing: PairingKind
    candidates: Candidates = "batch"

    batch: ClassVar[type[RowBatch]] = InBatch

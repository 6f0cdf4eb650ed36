"""Rows against proxies, a block of proxies at a time: nothing of the size of rows times classes.

A cross-entropy over classes takes two passes: the logarithms of its sums, then slopes, which are
complete for the proxies of a block at once. Where proxies are the anchors one pass is enough.
"""

from dataclasses import dataclass
from math import exp
from typing import Any, ClassVar

import numpy as np

from nearfar.evaluate.plan import each_block, row_block
from nearfar.evaluate.rows.evaluation import Found, RowBatch, RowEvaluation
from nearfar.frameworks import Array, Block, Namespace, Scratch
from nearfar.rules import AnchoredProxies, ProxyRule
from nearfar.similarity import PairWeights, Rows

_NONE = -float("inf")
_BUFFERS = 6

# Exponentials of logits up to these, of a hundred million classes, stay inside the dtype, by item
# size.
_DIRECT = {4: 65.0, 8: 600.0}


class _Proxies(RowBatch):
    def __init__(
        self,
        settings: "ProxyEvaluation",
        ns: Namespace,
        inputs: tuple[Array, ...],
        wanted: tuple[bool, ...],
    ) -> None:
        super().__init__(settings, ns, inputs, wanted)
        x, w = self.given.embeddings
        labels = self.given.fact("labels")
        assert labels is not None
        # Rows in the order of their classes, where the host knows them: those of a block of classes
        # are a window, outside of which nobody meets a proxy of its own.
        known = ns.peek(labels)
        self.order: np.ndarray | None = None
        self.sorted: np.ndarray | None = None
        if known is not None:
            order = self.order = np.argsort(known, kind="stable")
            self.sorted = known[order]
            self.back = np.argsort(order, kind="stable")
            x, labels = self.arrange(x), ns.take(labels, order)
        self.centres = w.shape[1] if len(w.shape) == 3 else 1
        self.sharp = self.rule.sharp
        self.t = self.given.temperature / self.sharp
        if settings.parameters == (None,) and ns.on_host:
            self.t = ns.asarray(self.t, x)  # a number of NumPy's is a float, and known
        flat = ns.matrix(x), ns.matrix(w, len(w.shape) - 1)
        self.x, self.w = self.similarity.prepare(ns, flat, self.t)
        self.n, self.classes = ns.shape(x)[0], ns.shape(w)[0]
        # A label beside the classes, which a compiled program cannot refuse, makes its loss NaN.
        below = ns.cast(labels, self.x.p.dtype) < ns.number(self.classes, self.x.p)
        known = (labels >= 0) & below
        nan = ns.xp.full_like(self.x.p[:, 0], float("nan"))
        self.unknown = ns.xp.where(known, ns.xp.zeros_like(nan), nan)
        self.labels = ns.xp.where(known, labels, ns.xp.zeros_like(labels))
        held = self.n * self.centres if isinstance(self.n, int) else self.n
        # As many classes as there is memory for: of a thousand rows and a hundred thousand classes
        # products in blocks of 384 take three times as long.
        side = row_block(self.options, held, ns.itemsize(self.x.p), _BUFFERS, False, False)
        self.blocks = each_block(self.classes, side)

    def restore(self, x: Array) -> Array:
        return x if self.order is None else self.ns.take(x, self.back)

    def arrange(self, x: Array) -> Array:
        return x if self.order is None else self.ns.take(x, self.order)

    def _window(self, j: Block) -> Block:
        """The rows among which are those of some classes."""
        if self.sorted is None:
            return Block(0, self.n)
        ends = np.searchsorted(self.sorted, [j.start, j.start + j.size])
        return Block(int(ends[0]), int(ends[1] - ends[0]))

    def _own_class(self, window: Block, j: Block) -> Array:
        """Where a row of the window meets the class of its own, (window.size, j.size)."""
        ns = self.ns
        numbers = ns.cast(ns.positions(j, self.x.p), self.labels.dtype)
        return ns.rows(self.labels, window)[:, None] == numbers[None, :]

    def _of_classes(self, j: Block) -> Block:
        return Block(j.start * self.centres, j.size * self.centres)

    def _aligned(self, x: Array, w: Array, explicit: Any) -> tuple[Array | None, ...]:
        ns = self.ns
        found = [
            self.similarity.restore(ns, rows, g, self.t) for rows, g in ((self.x, x), (self.w, w))
        ]
        slope = (found[0][1] + found[1][1] + explicit) / self.sharp
        embeddings = self.restore(found[0][0]), found[1][0]
        aligned: tuple[Array | None, ...] = self.settings.align(
            ns, self.inputs, self.wanted, embeddings, (slope,)
        )
        return aligned


class CrossEntropy(_Proxies):
    """Of the classes, a row with its own."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.one = self.ns.ones((self.n,), self.x.p)
        bound = self.similarity.bound(self.ns, (self.x, self.w), self.t)
        self.direct = self.centres == 1 and bound <= _DIRECT[self.ns.itemsize(self.one)]

    def run(self, weights: Array | None) -> Found:
        ns, xp = self.ns, self.ns.xp
        places = self.labels
        if self.centres > 1:
            steps = ns.cast(ns.positions(Block(0, self.centres), self.x.p), places.dtype)
            places = xp.reshape(places[:, None] * self.centres + steps[None, :], (-1,))
        mine = self.w.take(ns, places)
        everyone = self.x.repeat(ns, self.centres) if self.centres > 1 else self.x
        own = xp.reshape(self.similarity.paired(ns, everyone, mine), (-1, self.centres))
        value, by_centre, by_t = self._relaxed(own, (self.centres,))
        target = self.rule.own(ns, value[:, 0], self.t)
        log = self._log_sums()
        u = log - target.value
        losses = ns.softplus(u) + self.unknown
        if weights is None:
            return Found(losses, None, (None,) * len(self.inputs))
        share = (weights + self.unknown) * ns.sigmoid(u)
        explicit = -xp.sum(share * (target.temperature + target.slope * by_t[:, 0]))
        pull = xp.reshape((-share * target.slope)[:, None] * by_centre, (-1,))
        to_x, to_w = self.similarity.paired_vjp(ns, everyone, mine, pull)
        if self.centres > 1:
            to_x = xp.sum(xp.reshape(to_x, (-1, self.centres, to_x.shape[1])), axis=1)
        gradients = self._pushed(log, share)
        by_x = ns.add_(gradients[0], to_x)
        by_w = ns.add_at_(gradients[1], places, to_w)
        return Found(losses, None, self._aligned(by_x, by_w, explicit + gradients[2]))

    def _relaxed(self, logits: Array, shape: tuple[int, ...]) -> tuple[Array, Array, Array]:
        """Of logits (n, c * centres) those of classes (n, c), with their slopes by the former and
        by the temperature, where logits stay as they are."""
        ns, xp = self.ns, self.ns.xp
        if self.rule.gamma is None:
            # Of a class the one logit, of which nothing else is asked but at rows' own.
            few = logits[:, :1]
            return logits, xp.ones_like(few), xp.zeros_like(few)
        gamma = self.rule.gamma
        z = xp.reshape(logits, (ns.shape(logits)[0], -1, self.centres))
        sharp = z * (self.t / gamma)
        e = xp.exp(sharp - ns.stop_gradient(xp.max(sharp, axis=2, keepdims=True)))
        share = e / xp.sum(e, axis=2, keepdims=True)
        value = xp.sum(share * z, axis=2)
        away = z - value[:, :, None]
        slope = share * (1 + away * (self.t / gamma))
        spread = xp.sum(share * away * away, axis=2)
        return value, xp.reshape(slope, ns.shape(logits)), spread / gamma

    def _against(self, j: Block, scratch: Scratch | None) -> tuple[Array, Array, Array, Rows]:
        """Logits of all rows and some classes, -inf for a row's own; their slopes, and proxies."""
        ns = self.ns
        w = self.w.block(ns, self._of_classes(j))
        tile = self.similarity.tile(ns, self.x, w, None, scratch)
        value, slope, by_t = self._relaxed(tile.logits, (j.size, self.centres))
        window = self._window(j)
        if isinstance(window.size, int) and window.size == 0:
            return value, slope, by_t, w
        mine = ns.rows(value, window)
        filled = ns.fill_(mine, self._own_class(window, j), _NONE)
        return ns.set_rows_(value, window, filled), slope, by_t, w

    def _log_sums(self) -> Array:
        ns, xp = self.ns, self.ns.xp
        if self.direct:
            with ns.scratch() as scratch:

                def add(total: Array, j: Block) -> Array:
                    return total + ns.row_sums(ns.exp_(self._against(j, scratch)[0]))

                total = ns.loop(self.blocks, add, 0 * self.one)
            none = total == 0
            log = xp.log(xp.where(none, self.one, total))
            return xp.where(none, xp.full_like(log, _NONE), log)
        with ns.scratch() as scratch:

            def body(log: Array, j: Block) -> Array:
                _, shift, _, more = ns.exponentials_(self._against(j, scratch)[0])
                more = shift + more
                peak = xp.maximum(log, more)
                empty = peak == _NONE
                known = xp.where(empty, xp.zeros_like(peak), peak)
                total = xp.exp(log - known) + xp.exp(more - known)
                total = xp.where(empty, xp.ones_like(total), total)
                return xp.where(empty, peak, known + xp.log(total))

            start = xp.full_like(self.one, _NONE)
            return ns.loop(self.blocks, body, start)

    def _pushed(self, log: Array, share: Array) -> tuple[Array, Array, Array]:
        """Gradients by the rows and the proxies of what is not their own, and by t."""
        ns, xp = self.ns, self.ns.xp
        known = xp.where(log == _NONE, xp.zeros_like(log), log)
        factor = share * xp.exp(-known)
        everyone = Block(0, self.n)
        add = self.similarity.accumulate_
        with ns.scratch() as scratch:

            def body(found: tuple[Array, Array, Array], j: Block) -> tuple[Array, Array, Array]:
                by_x, by_w, by_t = found
                logits, slope, spread, w = self._against(j, scratch)
                if self.direct:
                    g = ns.mul_(ns.exp_(logits), factor[:, None])
                else:
                    each = share[:, None]
                    g = ns.mul_(ns.exp_beside_one_(ns.sub_(logits, known[:, None]), each), each)
                if self.rule.gamma is not None:
                    by_t = by_t + xp.sum(g * spread)
                    wide = (ns.shape(g)[0], -1, self.centres)
                    g = xp.reshape(g[:, :, None] * xp.reshape(slope, wide), ns.shape(slope))
                flow = PairWeights(g, False)
                by_x = add(ns, by_x, everyone, flow, self.x, w, scratch)
                by_w = add(ns, by_w, self._of_classes(j), flow.turned(ns), w, self.x, scratch)
                return by_x, by_w, by_t

            zero = xp.sum(0 * self.one)
            start = ns.zeros(ns.shape(self.x.p), self.one), ns.zeros(ns.shape(self.w.p), self.one)
            return ns.loop(self.blocks, body, (*start, zero))


class Anchored(_Proxies):
    """Proxies are the anchors of all rows; logits are alpha times the cosine."""

    def __init__(self, settings: Any, *given: Any) -> None:
        super().__init__(settings, *given)
        self.one = self.ns.ones((1,), self.x.p)
        rule = self.rule
        largest = rule.alpha * (1 + abs(rule.margin))
        self.direct = largest <= _DIRECT[self.ns.itemsize(self.one)]

    def run(self, weights: Array | None) -> Found:
        ns, xp = self.ns, self.ns.xp
        ordered = xp.sort(self.labels)
        steps = ns.cast(ordered[1:] != ordered[:-1], self.one.dtype)
        present = 1 + xp.sum(steps)
        every = ns.number(self.classes, self.one)
        each = self._direct if self.direct else self._guarded
        total, by_x, by_w = each(weights, present, every)
        losses = xp.reshape(total + xp.sum(self.unknown), (1,))
        if weights is None:
            return Found(losses, None, (None,) * len(self.inputs))
        nothing = xp.sum(self.unknown)
        return Found(losses, None, self._aligned(by_x + nothing, by_w + nothing, 0.0))

    def _start(self, weights: Array | None) -> tuple[Array, Array, Array]:
        ns = self.ns
        zero = ns.xp.sum(0 * self.one)
        shapes = (self.x.p, self.w.p) if weights is not None else (self.one, self.one)
        by_x, by_w = (ns.zeros(ns.shape(z), self.one) for z in shapes)
        return zero, by_x, by_w

    def _direct(
        self, weights: Array | None, present: Array, every: Array
    ) -> tuple[Array, Array, Array]:
        """Where exponentials need no shift; a row is pulled by one proxy alone."""
        ns, xp = self.ns, self.ns.xp
        raised = self.rule.alpha * self.rule.margin
        lift = exp(raised)
        add = self.similarity.accumulate_
        everyone = Block(0, self.n)
        mine = self.w.take(ns, self.labels)
        own = xp.exp(raised - self.similarity.paired(ns, self.x, mine))
        sums = ns.add_at_(ns.zeros((self.classes, 1), self.one), self.labels, own[:, None])

        def body(found: tuple[Array, Array, Array], j: Block) -> tuple[Array, Array, Array]:
            total, by_x, by_w = found
            w = self.w.block(ns, j)
            e = ns.exp_(self.similarity.tile(ns, w, self.x, None, scratch).logits)
            window = self._window(j)
            if not isinstance(window.size, int) or window.size > 0:
                beside = xp.matrix_transpose(self._own_class(window, j))
                inside = ns.columns(e, window)
                e = ns.set_columns_(e, window, xp.where(beside, xp.zeros_like(inside), inside))
            pushed = lift * ns.row_sums(e)
            total = total + xp.sum(xp.log1p(pushed))
            if weights is None:
                return total, by_x, by_w
            flow = PairWeights(ns.mul_(e, (weights * lift / every / (1 + pushed))[:, None]), False)
            by_w = add(ns, by_w, j, flow, w, self.x, scratch)
            by_x = add(ns, by_x, everyone, flow.turned(ns), self.x, w, scratch)
            return total, by_x, by_w

        with ns.scratch() as scratch:
            total, by_x, by_w = ns.loop(self.blocks, body, self._start(weights))
        total = total / every + xp.sum(xp.log1p(sums)) / present
        if weights is None:
            return total, by_x, by_w
        pull = -weights / present * own / (1 + ns.take(sums, self.labels)[:, 0])
        to_x, to_w = self.similarity.paired_vjp(ns, self.x, mine, pull)
        return total, by_x + to_x, ns.add_at_(by_w, self.labels, to_w)

    def _guarded(
        self, weights: Array | None, present: Array, every: Array
    ) -> tuple[Array, Array, Array]:
        ns, xp = self.ns, self.ns.xp
        raised = self.rule.alpha * self.rule.margin
        add = self.similarity.accumulate_
        everyone = Block(0, self.n)

        def body(found: tuple[Array, Array, Array], j: Block) -> tuple[Array, Array, Array]:
            total, by_x, by_w = found
            w = self.w.block(ns, j)
            logits = self.similarity.tile(ns, w, self.x, None, scratch).logits
            mine = xp.matrix_transpose(self._own_class(everyone, j))
            nobody = xp.full_like(logits, _NONE)
            e, shift, some, log = ns.exponentials_(xp.where(mine, raised - logits, nobody))
            pull = shift + log
            f, shift, others, log = ns.exponentials_(xp.where(mine, nobody, logits + raised))
            push = shift + log
            loss = ns.softplus(pull) / present + ns.softplus(push) / every
            total = total + xp.sum(loss)
            if weights is None:
                return total, by_x, by_w
            down = weights * ns.sigmoid(pull) / present / some
            up = weights * ns.sigmoid(push) / every / others
            g = ns.sub_(ns.mul_(f, up[:, None]), ns.mul_(e, down[:, None]))
            flow = PairWeights(g, False)
            by_w = add(ns, by_w, j, flow, w, self.x, scratch)
            by_x = add(ns, by_x, everyone, flow.turned(ns), self.x, w, scratch)
            return total, by_x, by_w

        with ns.scratch() as scratch:
            found: tuple[Array, Array, Array] = ns.loop(self.blocks, body, self._start(weights))
        return found


@dataclass(frozen=True, kw_only=True)
class ProxyEvaluation(RowEvaluation):
    """Embeddings are rows (n, d) and proxies (C, d), or (C, K, d) with K centres of each class."""

    rule: ProxyRule | AnchoredProxies

    batch: ClassVar[type[RowBatch]] = CrossEntropy

    def _batch(
        self, ns: Namespace, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> RowBatch:
        kind = Anchored if isinstance(self.rule, AnchoredProxies) else CrossEntropy
        return kind(self, ns, inputs, wanted)

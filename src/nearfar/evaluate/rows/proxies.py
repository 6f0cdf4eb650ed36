"""Rows against proxies, a block of proxies at a time: nothing of the size of rows times classes.

A cross-entropy over classes takes two passes: the logarithms of its sums, then slopes, which are
complete for the proxies of a block at once. Where proxies are the anchors one pass is enough.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from nearfar.evaluate.plan import each_block, row_block
from nearfar.evaluate.rows.evaluation import Found, RowBatch, RowEvaluation
from nearfar.frameworks import Array, Block, Namespace, Scratch
from nearfar.rules import AnchoredProxies, ProxyRule
from nearfar.similarity import PairWeights, Rows

_NONE = -float("inf")
_BUFFERS = 6


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
        self.centres = w.shape[1] if len(w.shape) == 3 else 1
        self.sharp = getattr(self.rule, "sharp", 1.0)
        self.t = self.given.temperature / self.sharp
        if settings.parameters == (None,) and ns.on_host:
            self.t = ns.asarray(self.t, x)  # a number of NumPy's is a float, and known
        flat = ns.matrix(x), ns.matrix(w, len(w.shape) - 1)
        self.x, self.w = self.similarity.prepare(ns, flat, self.t)
        self.n, self.classes = ns.shape(x)[0], ns.shape(w)[0]
        labels = self.given.fact("labels")
        assert labels is not None
        # A label beside the classes, which a compiled program cannot refuse, makes its loss NaN.
        below = ns.cast(labels, self.x.p.dtype) < ns.number(self.classes, self.x.p)
        known = (labels >= 0) & below
        nan = ns.xp.full_like(self.x.p[:, 0], float("nan"))
        self.unknown = ns.xp.where(known, ns.xp.zeros_like(nan), nan)
        self.labels = ns.xp.where(known, labels, ns.xp.zeros_like(labels))
        cached = not ns.accelerated(self.x.p)
        held = self.n * self.centres if isinstance(self.n, int) else self.n
        side = row_block(self.options, held, ns.itemsize(self.x.p), _BUFFERS, False, cached)
        self.blocks = each_block(self.classes, side)

    def _own_class(self, j: Block) -> Array:
        """Where a row meets the class of its own, (n, j.size)."""
        numbers = self.ns.positions(j, self.x.p)
        return self.labels[:, None] == self.ns.cast(numbers, self.labels.dtype)[None, :]

    def _of_classes(self, j: Block) -> Block:
        return Block(j.start * self.centres, j.size * self.centres)

    def _aligned(self, x: Array, w: Array, explicit: Any) -> tuple[Array | None, ...]:
        ns = self.ns
        found = [
            self.similarity.restore(ns, rows, g, self.t) for rows, g in ((self.x, x), (self.w, w))
        ]
        slope = (found[0][1] + found[1][1] + explicit) / self.sharp
        aligned: tuple[Array | None, ...] = self.settings.align(
            ns, self.inputs, self.wanted, tuple(z for z, _ in found), (slope,)
        )
        return aligned


class CrossEntropy(_Proxies):
    """Of the classes, a row with its own."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.one = self.ns.ones((self.n,), self.x.p)

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
            return logits, xp.ones_like(logits), xp.zeros_like(logits)
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
        return ns.fill_(value, self._own_class(j), _NONE), slope, by_t, w

    def _log_sums(self) -> Array:
        ns, xp = self.ns, self.ns.xp
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
        everyone = Block(0, self.n)
        add = self.similarity.accumulate_
        with ns.scratch() as scratch:

            def body(found: tuple[Array, Array, Array], j: Block) -> tuple[Array, Array, Array]:
                by_x, by_w, by_t = found
                logits, slope, spread, w = self._against(j, scratch)
                g = ns.mul_(ns.exp_(ns.sub_(logits, known[:, None])), share[:, None])
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
    """Proxies are the anchors of all rows."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.one = self.ns.ones((1,), self.x.p)

    def run(self, weights: Array | None) -> Found:
        ns, xp = self.ns, self.ns.xp
        alpha, margin = self.rule.alpha, self.rule.margin
        ordered = xp.sort(self.labels)
        steps = ns.cast(ordered[1:] != ordered[:-1], self.one.dtype)
        present = 1 + xp.sum(steps)
        every = ns.number(self.classes, self.one)
        add = self.similarity.accumulate_
        everyone = Block(0, self.n)
        numbers = self.labels[None, :]

        with ns.scratch() as scratch:

            def body(found: tuple[Array, Array, Array], j: Block) -> tuple[Array, Array, Array]:
                total, by_x, by_w = found
                w = self.w.block(ns, j)
                logits = self.similarity.tile(ns, w, self.x, None, scratch).logits
                mine = ns.cast(ns.positions(j, self.x.p), self.labels.dtype)[:, None] == numbers
                nobody = xp.full_like(logits, _NONE)
                pulled = xp.where(mine, alpha * (margin - logits), nobody)
                e, shift, some, log = ns.exponentials_(pulled)
                pull = shift + log
                pushed = xp.where(mine, nobody, alpha * (logits + margin))
                f, shift, others, log = ns.exponentials_(pushed)
                push = shift + log
                loss = ns.softplus(pull) / present + ns.softplus(push) / every
                total = total + xp.sum(loss)
                if weights is None:
                    return total, by_x, by_w
                down = weights * alpha * ns.sigmoid(pull) / present / some
                up = weights * alpha * ns.sigmoid(push) / every / others
                g = ns.sub_(ns.mul_(f, up[:, None]), ns.mul_(e, down[:, None]))
                flow = PairWeights(g, False)
                by_w = add(ns, by_w, j, flow, w, self.x, scratch)
                by_x = add(ns, by_x, everyone, flow.turned(ns), self.x, w, scratch)
                return total, by_x, by_w

            zero = xp.sum(0 * self.one)
            shapes = (self.x.p, self.w.p) if weights is not None else (self.one, self.one)
            start = tuple(ns.zeros(ns.shape(z), self.one) for z in shapes)
            total, by_x, by_w = ns.loop(self.blocks, body, (zero, *start))
        losses = xp.reshape(total + xp.sum(self.unknown), (1,))
        if weights is None:
            return Found(losses, None, (None,) * len(self.inputs))
        nothing = xp.sum(self.unknown)
        return Found(losses, None, self._aligned(by_x + nothing, by_w + nothing, 0.0))


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

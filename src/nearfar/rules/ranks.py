"""The rule of SupCR: denominators over the rows whose target is at least as far."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nearfar.frameworks import Array, Block, Namespace, Scratch
from nearfar.rules.protocol import Others, WithinRule
from nearfar.similarity import PairwiseDifferences

Shared = Callable[[Array, bool], Array]
"""Every entry replaced by the first, or the last, of its run of ties."""

# exp of minus this, summed over a million rows and inverted, stays inside the dtype, by item size.
_SAFE_SPREAD = {4: 60.0, 8: 600.0}


@dataclass(frozen=True)
class Ranks(WithinRule):
    """Each other row k as a positive, against the rows whose label is as far as k's or farther.

    Sorted by label distance those rows are the tail of the sequence, so that all denominators of
    an anchor are running sums from the end, and a row's pull is e_k times the running sum from the
    start of the inverse denominators that it is part of. Ties share the sums of their run. With
    `order="nearer"` start and end change places.
    """

    order: str
    label_distance: str

    def buffers(self, most: int | None) -> int:
        return 16

    def usable(self, positives: Array, negatives: Array) -> Array:
        return positives > 0

    def rows(
        self, ns: Namespace, logits: Array, others: Others, weight: Array | None
    ) -> tuple[Array, Array, Array | None]:
        xp = ns.xp
        assert others.targets is not None
        n = ns.shape(logits)[1]
        if isinstance(n, int) and n == others.itself:
            none = 0 * logits[:, 0]
            return none, none, None if weight is None else 0 * logits
        apart = self._label_distances(ns, others)
        if others.itself:
            # The anchor itself comes first, and is left out.
            apart = ns.fill_diagonal_(apart, *others.diagonal, -1)
        order = ns.merge(apart, others.scratch, "order")
        apart = ns.gather(apart, order, others.scratch, "apart")
        s = ns.gather(logits, order, others.scratch, "sorted")
        starts = apart[:, 1:] != apart[:, :-1]
        if others.itself:
            s, order = s[:, 1:], order[:, 1:]
        else:
            starts = xp.concat([xp.ones_like(apart[:, :1]) > 0, starts], axis=1)
        ties = xp.any(~starts)

        def shared(x: Array, last: bool) -> Array:
            return ns.cond(ties, lambda: ns.segment_fill(x, starts, last), lambda: x)

        peaks = ns.stop_gradient(xp.max(s, axis=1, keepdims=True))
        spread = xp.max(peaks) - xp.min(s)
        pairs = self._pairs(ns, s)
        share = None if weight is None else (weight / pairs)[:, None]
        loss, slopes = ns.cond(
            ns.decide(~(spread <= _SAFE_SPREAD[ns.itemsize(s)])),  # or it is NaN
            lambda: self._guarded(ns, s, peaks, shared, share),
            lambda: self._plain(ns, s, peaks, shared, share, others.scratch),
        )
        loss = loss / pairs
        if ns.is_floating(apart):
            loss = loss + 0 * ns.cast(xp.sum(others.targets[1]), loss.dtype)  # NaN has no rank
        slopes = None if slopes is None else ns.scatter(slopes, order, n, others.scratch, "slopes")
        return loss, xp.ones_like(loss), slopes

    def _pairs(self, ns: Namespace, s: Array) -> Any:
        """Of an anchor; an array where only the traced program knows."""
        n = ns.shape(s)[1]
        if isinstance(n, int):
            return n
        pairs = ns.xp.sum(ns.xp.ones_like(s), axis=1)
        return ns.xp.where(pairs > 0, pairs, ns.xp.ones_like(pairs))  # a batch of one

    def _label_distances(self, ns: Namespace, others: Others) -> Array:
        """In the dtype of the targets (or their squares, for whole numbers), (b, n)."""
        assert others.targets is not None
        anchors, everyone = (t[:, None] if len(t.shape) == 1 else t for t in others.targets)
        apart = PairwiseDifferences(ns, anchors, everyone, others.scratch)
        if everyone.shape[1] == 1:
            return ns.abs_(apart(Block(0, 1), "labels"))
        if self.label_distance == "l1":
            return apart.fold(lambda total, e: ns.add_(total, ns.abs_(e)), "labels")
        squares = apart.fold(lambda total, e: ns.add_(total, ns.mul_(e, e)), "labels")
        return ns.xp.sqrt(squares) if ns.is_floating(squares) else squares

    def _plain(
        self,
        ns: Namespace,
        s: Array,
        peaks: Array,
        shared: Shared,
        share: Array | None,
        scratch: Scratch | None,
    ) -> tuple[Array, Array | None]:
        farther = self.order == "farther"
        e = ns.exp_(ns.sub_(s, peaks))

        def but_itself(sums: Array, whole: Array, reverse: bool, key: str) -> Array:
            """Exclusive running sum with ties: entries beyond the run, and those of the run before
            this one."""
            rest = ns.minus(whole, sums, scratch, key)
            last = ns.shape(sums)[1] - 1
            here, there = (0, 1) if reverse else (1, 0)
            return ns.add_columns_(rest, Block(here, last), ns.columns(sums, Block(there, last)))

        sums = ns.running_sum(e, reverse=farther)
        whole = shared(sums, not farther)
        rest = but_itself(sums, whole, farther, "rest")
        ratio = ns.over(rest, e, scratch, "ratio")
        loss = ns.xp.sum(ns.log1p_(ratio), axis=1)
        if share is None:
            return loss, None
        inverse = ns.inverse_(whole)
        sums = ns.running_sum(inverse, reverse=not farther)
        others = but_itself(sums, shared(sums, farther), not farther, "ratio")
        return loss, ns.mul_(ns.sub_(ns.mul_(e, others), ns.mul_(rest, inverse)), share)

    def _guarded(
        self, ns: Namespace, s: Array, peaks: Array, shared: Shared, share: Array | None
    ) -> tuple[Array, Array | None]:
        """The same in logarithms, for logits whose exponentials would underflow.

        In float64 where there is one: the count of equal denominators is added to logarithms as
        large as the logits.
        """
        xp, dtype = ns.xp, s.dtype
        farther = self.order == "farther"
        none = -float("inf")
        s = ns.double(s) - ns.double(peaks)
        sums = ns.running_log_sum(s, reverse=farther)
        whole = shared(sums, not farther)
        rest = _log_add(ns, self._beyond(ns, sums, farther, none), _log_subtract(ns, whole, sums))
        loss = ns.cast(xp.sum(ns.softplus(rest - s), axis=1), dtype)
        if share is None:
            return loss, None
        sums = ns.running_log_sum(-whole, reverse=not farther)
        others = _log_add(
            ns,
            self._beyond(ns, sums, not farther, none),
            _log_subtract(ns, shared(sums, farther), sums),
        )
        slopes = ns.cast(ns.sub_(ns.exp_(s + others), ns.exp_(rest - whole)), dtype)
        return loss, ns.mul_(slopes, share)

    def _beyond(self, ns: Namespace, sums: Array, reverse: bool, empty: float) -> Array:
        """Running sums without the entry itself."""
        edge = ns.xp.full_like(sums[:, :1], empty)
        parts = [sums[:, 1:], edge] if reverse else [edge, sums[:, :-1]]
        return ns.xp.concat(parts, axis=1)


def _log_add(ns: Namespace, x: Array, y: Array) -> Array:
    """log(exp(x) + exp(y)), where both may be -inf."""
    xp = ns.xp
    empty = xp.maximum(x, y) == -float("inf")
    x, y = (xp.where(empty, xp.zeros_like(z), z) for z in (x, y))
    sums = xp.maximum(x, y) + xp.log1p(xp.exp(-xp.abs(x - y)))
    return xp.where(empty, xp.full_like(x, -float("inf")), sums)


def _log_subtract(ns: Namespace, x: Array, y: Array) -> Array:
    """log(exp(x) - exp(y)) for finite x and y; -inf where y is not below x but by rounding."""
    xp = ns.xp
    zero = xp.zeros_like(x)
    ratio = xp.exp(xp.where(y < x, y - x, zero))
    below = ratio < 1
    rest = xp.log1p(-xp.where(below, ratio, zero))
    return xp.where(below, x + rest, xp.full_like(x, -float("inf")))

"""What is known of a set of anchors: counts, weights, and the rule's view of their sums."""

from collections.abc import Iterator
from typing import Any

from nearfar.evaluate.partition.exponentials import LogSum, relative
from nearfar.evaluate.partition.forward import TileSums
from nearfar.evaluate.settings import Reduction
from nearfar.frameworks import Array, Namespace
from nearfar.rules import Anchors, PartitionRule, Slopes

NOTHING_TO_DO = (
    "no anchor of this batch has a positive (or every denominator is empty): the loss is 0 and has "
    "no gradient; give batches with at least two rows of a class and more than one class"
)


class AnchorSet:
    """Anchors with sums of their own; arrays are in the order of the sums."""

    ns: Namespace
    rule: PartitionRule
    temperature: Any
    guarded: bool
    """Whether logarithms of sums come in two parts."""
    with_pair_slope: bool
    """Whether pass 1 gives the derivative of a function of pairs."""
    count: Any
    """Of positives; an array (n,), or a number for all anchors."""
    counted: Array | None
    """Which anchors have a loss; None: all."""
    negatives: Any
    """How many, as `count`."""
    weights: Any
    """As `count`."""

    def weigh(
        self,
        reduction: Reduction,
        count: Array,
        negatives: Array,
        sets: int = 1,
        among: Array | None = None,
        given: Array | None = None,
    ) -> None:
        """Set how many each has, which count (of those `among`, if not all may) and by what weight.

        `sets`: so many are averaged; `given`: how much each counts, as the caller says.
        """
        counted = count > 0 if self.rule.needs_positives else count >= 0
        if among is not None:
            counted = counted & among
        if self.rule.needs_negatives:
            counted = counted & (negatives > 0)
        self.count, self.negatives, self.counted = count, negatives, counted
        self.weights = reduction.weights(self.ns, count, counted, given) / sets

    def warn_if_none_counts(self) -> None:
        if self.counted is not None:
            self.ns.warn_if(~self.ns.xp.any(self.counted), NOTHING_TO_DO)

    def anchors(self, seen: TileSums) -> Anchors:
        ns, rule, count = self.ns, self.rule, self.count
        shift, logs = seen.relative or relative(ns, rule.sums, seen.logs)
        linear, pair = seen.linear, seen.pair
        if not rule.takes_shift and seen.logs[0].peak is not None:
            logs = tuple(log + s.times * shift for s, log in zip(rule.sums, logs, strict=True))
            linear = None if linear is None else linear + count * shift
            shift = 0.0
        if isinstance(pair, LogSum):
            pair = pair.whole()
        if self.counted is not None:
            count = ns.xp.where(self.counted & (count > 0), count, ns.xp.ones_like(count))
        return Anchors(logs, linear, pair, count, self.negatives, self.temperature, shift)

    def flattened(self, seen: TileSums) -> Iterator[Array]:
        """The arrays of what pass 1 found; see `recalled`."""
        for log in seen.logs:
            yield from self._parts(log)
        if seen.linear is not None:
            yield seen.linear
        if seen.pair is not None:
            yield from self._parts(seen.pair) if isinstance(seen.pair, LogSum) else (seen.pair,)
        if seen.pair_slope is not None:
            yield seen.pair_slope

    def recalled(self, found: Iterator[Array]) -> TileSums:
        """Undo `flattened`."""
        rule = self.rule
        logs = tuple(self._log_sum(found) for _ in rule.sums)
        linear = next(found) if rule.linear else None
        if rule.pair is None:
            return TileSums(logs, linear, None)
        pair = self._log_sum(found) if rule.pair.log else next(found)
        return TileSums(logs, linear, pair, next(found) if self.with_pair_slope else None)

    def _parts(self, log: LogSum) -> tuple[Array, ...]:
        return (log.peak, log.log) if self.guarded else (log.log,)

    def _log_sum(self, found: Iterator[Array]) -> LogSum:
        return LogSum(next(found) if self.guarded else None, next(found))

    def only_counted(self, x: Array) -> Array:
        """Values of the anchors, 0 for those that do not count: these may be infinite."""
        if self.counted is None:
            return x
        return self.ns.xp.where(self.counted, x, self.ns.xp.zeros_like(x))

    def weighted(self, slopes: Slopes, upstream: Array | None) -> Slopes:
        weights = self.weights if upstream is None else self.weights * upstream

        def one(slope: Array | None) -> Array | None:
            return None if slope is None else self.only_counted(slope * weights)

        _, *others = slopes
        return Slopes(tuple(one(s) for s in slopes.logs), *(one(s) for s in others))

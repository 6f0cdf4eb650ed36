"""Both passes by a fused kernel, in the words of the evaluators."""

from typing import Any, NamedTuple

from nearfar.evaluate.partition.exponentials import LogSum, relative
from nearfar.evaluate.partition.forward import TileSums
from nearfar.frameworks import Array, KernelSlopes, KernelSums, Namespace, PartitionPasses
from nearfar.rules import PartitionRule, Slopes


class FusedPasses(NamedTuple):
    ns: Namespace
    rule: PartitionRule
    passes: PartitionPasses

    def forward(self, count: Any) -> tuple[TileSums, ...]:
        """`count` is the number of positives of these anchors."""
        return tuple(self._seen(sums, count) for sums in self.passes.forward())

    def _seen(self, sums: KernelSums, count: Any) -> TileSums:
        ns, rule = self.ns, self.rule
        logs = []
        for s, (peak, log) in zip(rule.sums, sums.logs, strict=True):
            empty = rule.empty(s.over)
            log = ns.xp.where(log == -float("inf"), ns.xp.full_like(log, empty), log)
            logs.append(LogSum(peak, log))
        linear = sums.linear
        if linear is not None:
            shift, _ = relative(ns, rule.sums, tuple(logs))
            linear = linear + count * (_finite_peak(ns, logs[0]) - shift)
        pair = sums.pair
        if isinstance(pair, tuple):
            pair = LogSum(*pair)
        return TileSums(tuple(logs), linear, pair, sums.pair_slope)

    def backward(
        self, seen: tuple[TileSums, ...], slopes: tuple[Slopes, ...]
    ) -> tuple[tuple[Array, ...], Array | None]:
        """Gradients of the embeddings as they were given, and of the temperature."""
        sums = tuple(map(self._sums, seen))
        return self.passes.backward(sums, tuple(map(self._slopes, seen, slopes)))

    def _sums(self, seen: TileSums) -> KernelSums:
        ns = self.ns
        empty = -float("inf")
        logs = tuple(
            (log.peak, ns.xp.where(log.peak == empty, ns.xp.full_like(log.log, empty), log.log))
            for log in seen.logs
        )
        pair = seen.pair[:2] if isinstance(seen.pair, LogSum) else seen.pair
        # The derivative of what is linear does not depend on its value.
        return KernelSums(logs, None, pair, seen.pair_slope)

    def _slopes(self, seen: TileSums, slopes: Slopes) -> KernelSlopes:
        first, *rest = slopes.logs
        if slopes.pair is not None:
            first = first + slopes.pair * seen.pair_slope
        return KernelSlopes((first, *rest), slopes.linear, slopes.pair)


def _finite_peak(ns: Namespace, log: LogSum) -> Array:
    return ns.xp.where(log.peak == -float("inf"), ns.xp.zeros_like(log.log), log.peak)

"""The rule of HCL: an estimate of the true negatives, in which hard ones weigh more."""

from dataclasses import dataclass
from math import inf, log, log1p
from typing import ClassVar

from nearfar.frameworks import Array, Namespace
from nearfar.rules.protocol import Anchors, PartitionRule, Slopes, Sum


@dataclass(frozen=True)
class HardNegatives(PartitionRule):
    """softplus(log G - s_p), all in logarithms, so that no temperature underflows."""

    tau_plus: float
    beta: float
    detach_weights: bool

    linear: ClassVar[bool] = True
    takes_shift: ClassVar[bool] = True
    counts_negatives: ClassVar[bool] = True

    @property
    def sums(self) -> tuple[Sum, ...]:
        """Of weight times exp(logit), and of the weights; those are all 1 without beta."""
        weighted = Sum("negatives", 1 + self.beta)
        return (weighted, Sum("negatives", self.beta)) if self.beta else (weighted,)

    def finish(self, ns: Namespace, a: Anchors) -> tuple[Array, Slopes]:
        xp = ns.xp
        one, zero = xp.ones_like(a.linear), xp.zeros_like(a.linear)
        log_tau_plus = log(self.tau_plus) if self.tau_plus else -inf
        number = a.negatives + zero
        alone = number == 0
        count = xp.log(xp.where(alone, one, number))
        # The weighted mean of exp(logit) over the negatives, and the share of it that is expected
        # to be the positive's class.
        weights = a.logs[1] if self.beta else count
        mean = a.logs[0] - xp.where(alone, zero, weights)
        excess = a.linear - xp.where(alone, zero, mean) + log_tau_plus
        share = xp.exp(xp.where(excess >= 0, zero, excess))
        clamped = share >= 1
        left = xp.where(clamped, one, 1 - share)
        estimate = count + mean + xp.log1p(-xp.where(clamped, zero, share)) - log1p(-self.tau_plus)
        floor = count - 1 / a.temperature - a.shift  # the one that is no difference of logits
        free = ~(clamped | (estimate <= floor))  # NaN is free
        u = xp.where(alone, mean, xp.where(free, estimate, floor)) - a.linear

        pull = ns.sigmoid(u)
        by_mean = xp.where(free & ~alone, pull / left, zero)
        by_positive = -pull - xp.where(free & ~alone, pull * share / left, zero)
        by_temperature = xp.where(free | alone, zero, pull) / a.temperature**2
        if self.detach_weights:
            # The first sum's logarithm moves by (1 + beta) exp(...); the weights' part is beta's.
            by_sums: tuple[Array, ...] = (by_mean / (1 + self.beta), zero)
        else:
            by_sums = (by_mean, -by_mean)
        slopes = Slopes(by_sums[: len(self.sums)], by_positive, temperature=by_temperature)
        return ns.softplus(u), slopes

"""The rules of the softmax family: what a loss makes of its partition sums.

Notation, for an anchor i with temperature t: s_p the logits of its positives P, N the logarithm of
the sum of exp(logit) over its negatives (and over itself with `include_self`), Q that over its
positives. A single positive always takes softplus(N - s_p): as log(exp(N) + exp(s_p)) - s_p a loss
of 1e-9 would drown in the rounding of logits.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from nearfar.frameworks import Array, Namespace
from nearfar.rules.protocol import Anchors, Pair, PartitionRule, QueryRule, Slopes, Sum


class _Softplus(Pair):
    """softplus(-u) = log(1 + exp(N - s_p)), summed over the positives."""

    name: ClassVar[str] = "softplus"
    log: ClassVar[bool] = False

    def value(self, ns: Namespace, u: Array) -> Array:
        return ns.softplus_(ns.mul_(u, -1))

    def slope(self, ns: Namespace, u: Array) -> Array:
        # -sigmoid(-u), and not sigmoid(u) - 1, which is 0 for all confident pairs.
        return ns.mul_(ns.sigmoid_(ns.mul_(u, -1)), -1)


class _LogSigmoid(Pair):
    """-softplus(-u) = log(exp(s_p) / (exp(s_p) + exp(N))), for a log of a sum over positives."""

    name: ClassVar[str] = "log_sigmoid"
    log: ClassVar[bool] = True

    def value(self, ns: Namespace, u: Array) -> Array:
        return ns.mul_(SOFTPLUS.value(ns, u), -1)

    def slope(self, ns: Namespace, u: Array) -> Array:
        return ns.mul_(SOFTPLUS.slope(ns, u), -1)


SOFTPLUS = _Softplus()
LOG_SIGMOID = _LogSigmoid()

NEGATIVES = Sum("negatives")
POSITIVES = Sum("positives")


@dataclass(frozen=True)
class OnePositive(PartitionRule):
    """log(exp(s_p) + exp(N)) - s_p, or N - s_p without the positive in the denominator."""

    denominator: str  # "all" and "own_positive" are the same with one positive; "negatives"

    sums: ClassVar[tuple[Sum, ...]] = (NEGATIVES,)
    linear: ClassVar[bool] = True
    takes_shift: ClassVar[bool] = True

    @property
    def needs_negatives(self) -> bool:
        return self.denominator == "negatives"

    def finish(self, ns: Namespace, a: Anchors) -> tuple[Array, Slopes]:
        u = a.logs[0] - a.linear
        if self.denominator == "negatives":
            one = ns.xp.ones_like(u)
            return u, Slopes((one,), -one)
        loss, share = ns.softplus_and_sigmoid(u)
        return loss, Slopes((share,), -share)


@dataclass(frozen=True)
class HardOnePositive(PartitionRule):
    """`OnePositive` whose negatives' logits are `times` as large and keep their slopes."""

    denominator: str
    times: float

    linear: ClassVar[bool] = True

    @property
    def sums(self) -> tuple[Sum, ...]:
        return (Sum("negatives", self.times),)

    @property
    def needs_negatives(self) -> bool:
        return self.denominator == "negatives"

    def finish(self, ns: Namespace, a: Anchors) -> tuple[Array, Slopes]:
        u = a.logs[0] - a.linear
        if self.denominator == "negatives":
            one = ns.xp.ones_like(u)
            return u, Slopes((one / self.times,), -one)
        loss, share = ns.softplus_and_sigmoid(u)
        return loss, Slopes((share / self.times,), -share)


@dataclass(frozen=True)
class OverLogs(PartitionRule):
    """Sum or mean over the positives of log D - s_p, with one denominator for all of them."""

    mean: bool
    denominator: str  # "all", "negatives"

    linear: ClassVar[bool] = True
    takes_shift: ClassVar[bool] = True

    @property
    def sums(self) -> tuple[Sum, ...]:
        return (NEGATIVES, POSITIVES) if self.denominator == "all" else (NEGATIVES,)

    @property
    def needs_negatives(self) -> bool:
        return self.denominator == "negatives"

    def finish(self, ns: Namespace, a: Anchors) -> tuple[Array, Slopes]:
        xp, count = ns.xp, a.count
        each: Any = 1 / count if self.mean else 1.0
        terms: Any = 1.0 if self.mean else count
        n, linear = a.logs[0], each * a.linear
        if self.denominator == "negatives":
            one = xp.ones_like(a.linear)
            return terms * n - linear, Slopes((terms * one,), -each * one)
        # With one positive its logit is the logarithm of its sum, to the last digit.
        single = count == 1
        q = xp.where(single, a.linear, a.logs[1])
        u = n - q
        soft, share = ns.softplus_and_sigmoid(u)
        loss = terms * soft + (terms * q - linear)
        positives = xp.where(single, xp.zeros_like(share), terms * (1 - share))
        return loss, Slopes(
            (terms * share, positives), -xp.where(single, share, each * xp.ones_like(share))
        )


@dataclass(frozen=True)
class SoftPositives(PartitionRule):
    """The sum over all others of w (log D - s), each by its weight w; D over all others."""

    sums: ClassVar[tuple[Sum, ...]] = (NEGATIVES,)
    linear: ClassVar[bool] = True
    takes_shift: ClassVar[bool] = True

    def finish(self, ns: Namespace, a: Anchors) -> tuple[Array, Slopes]:
        # Positives are counted by their weights, and their logits added by them.
        return a.count * a.logs[0] - a.linear, Slopes((a.count,), -ns.xp.ones_like(a.linear))


@dataclass(frozen=True)
class LogOver(PartitionRule):
    """log D - log of the sum (or mean) of exp(s_p) over the positives."""

    mean: bool
    denominator: str  # "all", "negatives"

    sums: ClassVar[tuple[Sum, ...]] = (NEGATIVES, POSITIVES)
    takes_shift: ClassVar[bool] = True

    @property
    def needs_negatives(self) -> bool:
        return self.denominator == "negatives"

    def finish(self, ns: Namespace, a: Anchors) -> tuple[Array, Slopes]:
        u = a.logs[0] - a.logs[1]
        offset = ns.xp.log(a.count) if self.mean else 0
        if self.denominator == "negatives":
            one = ns.xp.ones_like(u)
            return u + offset, Slopes((one, -one))
        loss, share = ns.softplus_and_sigmoid(u)
        return loss + offset, Slopes((share, -share))


@dataclass(frozen=True)
class OwnPositive(PartitionRule):
    """Each positive in a denominator of its own: exp(s_p) / (exp(s_p) + exp(N))."""

    mean: bool
    log_inside: bool  # a sum of logarithms, or the logarithm of a sum

    sums: ClassVar[tuple[Sum, ...]] = (NEGATIVES,)
    takes_shift: ClassVar[bool] = True

    @property
    def pair(self) -> Pair | None:
        return SOFTPLUS if self.log_inside else LOG_SIGMOID

    def finish(self, ns: Namespace, a: Anchors) -> tuple[Array, Slopes]:
        one = ns.xp.ones_like(a.count)
        none = (0 * one,)  # the first sum's slope flows through the pairs
        if self.log_inside:
            each = 1 / a.count if self.mean else one
            return each * a.pair, Slopes(none, pair=each)
        offset = ns.xp.log(a.count) if self.mean else 0
        return offset - a.pair, Slopes(none, pair=-one)


@dataclass(frozen=True)
class OneWay(QueryRule):
    """Row rule: softplus(N - s_p) over a block of anchors, N over the row's logits."""

    @property
    def by_sums(self) -> PartitionRule | None:
        return OnePositive("all")

    def rows(
        self, ns: Namespace, logits: Array, positive: Array, weight: Array | None
    ) -> tuple[Array, Array | None, Array | None]:
        e, shift, total, log = ns.exponentials_(logits)
        # Less the largest first: it may be what the positive cancels with.
        u = (shift - positive) + log
        if weight is None:
            return ns.softplus(u), None, None
        share = weight * ns.sigmoid(u)
        return ns.softplus(u), ns.mul_(e, (share / total)[:, None]), -share


@dataclass(frozen=True)
class HardOneWay(OneWay):
    """`OneWay` whose negatives' logits are `times` as large and keep their slopes."""

    times: float

    @property
    def by_sums(self) -> PartitionRule:
        return HardOnePositive("all", self.times)

    def rows(
        self, ns: Namespace, logits: Array, positive: Array, weight: Array | None
    ) -> tuple[Array, Array | None, Array | None]:
        return super().rows(ns, ns.mul_(logits, self.times), positive, weight)


@dataclass(frozen=True)
class OneWayAndNorms(OneWay):
    """`OneWay`, and l2/2 times the squared norms of a query and its positive."""

    l2: float

    @property
    def by_sums(self) -> PartitionRule | None:
        return None if self.l2 else super().by_sums

    @property
    def norms(self) -> float:
        return self.l2

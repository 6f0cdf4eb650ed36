"""Rules that weigh an anchor's pairs by sums over its positives and its negatives.

Multi-similarity and circle loss push negatives down and pull positives up by the softmax of their
own kind.
"""

from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from nearfar.frameworks import Array, Namespace
from nearfar.rules.protocol import Anchors, Others, Over, PartitionRule, Slopes, Sum, WithinRule
from nearfar.rules.triplets import classmates, unknown


@dataclass(frozen=True)
class TwoSums(PartitionRule):
    """1/alpha softplus of the positives' sum, and 1/beta softplus of the negatives'."""

    alpha: float
    beta: float
    base: float
    without_positives: str
    """"count": an anchor without positives has the part of its negatives."""

    @property
    def needs_positives(self) -> bool:
        return self.without_positives != "count"

    @property
    def sums(self) -> tuple[Sum, ...]:
        return Sum("negatives", self.beta), Sum("positives", -self.alpha)

    def empty(self, over: Over) -> float:
        return -inf

    def finish(self, ns: Namespace, a: Anchors) -> tuple[Array, Slopes]:
        push, pull = a.logs[0] - self.beta * self.base, a.logs[1] + self.alpha * self.base
        losses = ns.softplus(push) / self.beta + ns.softplus(pull) / self.alpha
        return losses, Slopes((ns.sigmoid(push) / self.beta, ns.sigmoid(pull) / self.alpha))


class _Sums(NamedTuple):
    """Logarithms of the sums of an anchor's exponents, and each one's share (b, n) or (b, w)."""

    push: Array
    pull: Array
    by_all: Array
    by_window: Array


class _Exponents(NamedTuple):
    """What is summed as exponentials, -inf where nothing is: negatives (b, n), positives (b, w)."""

    negatives: Array
    positives: Array


class _Groups(NamedTuple):
    """Who is an anchor's negative (b, n), and its positive among those of the window (b, w)."""

    negatives: Array
    positives: Array

    def exponents(self, ns: Namespace, push: Array, pull: Array) -> _Exponents:
        xp = ns.xp
        return _Exponents(
            *(
                xp.where(members, x, xp.full_like(x, -inf))
                for members, x in zip(self, (push, pull), strict=True)
            )
        )


def _groups(ns: Namespace, logits: Array, others: Others) -> _Groups:
    same, mates = classmates(ns, others)
    return _Groups(ns.set_columns_(ns.xp.ones_like(logits) > 0, others.window, ~same), mates)


def _summed(ns: Namespace, exponents: _Exponents) -> _Sums:
    e, shift, total, log = ns.exponentials_(exponents.negatives)
    f, shift_of_f, total_of_f, log_of_f = ns.exponentials_(exponents.positives)
    return _Sums(
        shift + log,
        shift_of_f + log_of_f,
        ns.mul_(e, (1 / total)[:, None]),
        ns.mul_(f, (1 / total_of_f)[:, None]),
    )


@dataclass(frozen=True)
class MinedSums(WithinRule):
    """`TwoSums` of the pairs that are hard: a negative within `epsilon` of the least similar
    positive or beyond it, a positive within it of the most similar negative or below."""

    alpha: float
    beta: float
    base: float
    epsilon: float
    without_positives: str

    def buffers(self, most: int | None) -> int:
        return 10

    def usable(self, positives: Array, negatives: Array) -> Array:
        return positives >= 0 if self.without_positives == "count" else positives > 0

    def rows(
        self, ns: Namespace, logits: Array, others: Others, weight: Array | None
    ) -> tuple[Array, Array, Array | None]:
        xp, window = ns.xp, others.window
        strangers, mates = _groups(ns, logits, others)
        inside = ns.columns(logits, window)
        least = xp.min(xp.where(mates, inside, xp.full_like(inside, inf)), axis=1)
        most = xp.max(xp.where(strangers, logits, xp.full_like(logits, -inf)), axis=1)
        hard = _Groups(
            strangers & (logits + self.epsilon > least[:, None]),
            mates & (inside - self.epsilon < most[:, None]),
        )
        push, pull, by_all, by_window = _summed(
            ns,
            hard.exponents(
                ns, self.beta * (logits - self.base), -self.alpha * (inside - self.base)
            ),
        )
        counts = xp.any(mates, axis=1)
        counts = counts | (self.without_positives == "count")
        nothing = unknown(ns, logits)
        losses = ns.softplus(push) / self.beta + ns.softplus(pull) / self.alpha
        losses = xp.where(counts, losses, xp.zeros_like(losses)) + nothing
        terms = ns.cast(counts, losses.dtype)
        if weight is None:
            return losses, terms, None
        weight = weight * terms + nothing
        slopes = ns.mul_(by_all, (weight * ns.sigmoid(push))[:, None])
        pulled = ns.mul_(by_window, (weight * ns.sigmoid(pull))[:, None])
        near = ns.columns(slopes, window) - pulled
        return losses, terms, ns.set_columns_(slopes, window, near)


@dataclass(frozen=True)
class Circles(WithinRule):
    """softplus of the sum of both logarithms, of exponents whose slope is a bracket."""

    margin: float
    gamma: float
    detach: bool
    average: str

    def buffers(self, most: int | None) -> int:
        return 12

    def usable(self, positives: Array, negatives: Array) -> Array:
        return (positives > 0) & (negatives > 0)

    def rows(
        self, ns: Namespace, logits: Array, others: Others, weight: Array | None
    ) -> tuple[Array, Array, Array | None]:
        xp, window, m = ns.xp, others.window, self.margin
        groups = _groups(ns, logits, others)
        inside = ns.columns(logits, window)
        above, below = ns.relu_(logits + m), ns.relu_(1 + m - inside)
        exponents = groups.exponents(
            ns, self.gamma * above * (logits - m), self.gamma * below * (1 - m - inside)
        )
        push, pull, by_all, by_window = _summed(ns, exponents)
        some = (push > -inf) & (pull > -inf)
        u = xp.where(some, push + pull, xp.full_like(push, -inf))
        nothing = unknown(ns, logits)
        losses = ns.softplus(u) + nothing
        counts = losses > 0 if self.average == "active" else some
        terms = ns.cast(counts, losses.dtype)
        if weight is None:
            return losses, terms, None
        weight = (self.gamma * (weight + nothing) * ns.sigmoid(u))[:, None]
        if not self.detach:
            above, below = self._slopes(ns, logits, above), self._slopes(ns, 1 - inside, below)
        slopes = ns.mul_(ns.mul_(by_all, above), weight)
        near = ns.columns(slopes, window) - ns.mul_(ns.mul_(by_window, below), weight)
        return losses, terms, ns.set_columns_(slopes, window, near)

    def _slopes(self, ns: Namespace, x: Array, bracket: Array) -> Array:
        """Of [x + margin]_+ (x - margin), which is x**2 - margin**2 where the bracket is open."""
        return ns.xp.where(bracket > 0, 2 * x, ns.xp.zeros_like(x))

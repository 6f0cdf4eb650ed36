"""From anchors' losses to a value: averages, empty anchors and the scale are weights."""

from typing import NamedTuple

from nearfar.frameworks import Array, Namespace


class Reduction(NamedTuple):
    reduction: str  # "mean", "sum", "none"
    scale: float = 1.0
    average: str = "anchors"  # "anchors", "pairs"
    without_positives: str = "skip"  # "skip", "zero"

    def weights(self, ns: Namespace, count: Array, counted: Array) -> Array:
        """One weight per anchor (n,), from its number of positives; 0 where it does not count."""
        xp = ns.xp
        one = xp.ones_like(count)
        terms = xp.where(counted, count if self.average == "pairs" else one, xp.zeros_like(count))
        if self.reduction != "mean":
            return terms * self.scale
        zero_counts = self.average == "anchors" and self.without_positives == "zero"
        total = xp.sum(one if zero_counts else terms)
        return terms * (self.scale / xp.where(total > 0, total, xp.ones_like(total)))

    def weight(self, n: int) -> float:
        """The one weight of n anchors that all count and have one positive."""
        return self.scale / n if self.reduction == "mean" else self.scale

    def factor(self, ns: Namespace, terms: Array, usable: Array) -> Array:
        """What every anchor's sum is multiplied by; `usable` anchors have terms, so many (n,)."""
        xp = ns.xp
        if self.reduction != "mean":
            return self.scale * xp.ones_like(xp.sum(terms))
        total = xp.sum(terms)
        if self.without_positives == "zero":
            total = total + xp.sum(ns.cast(~usable, terms.dtype))
        return self.scale / xp.where(total > 0, total, xp.ones_like(total))

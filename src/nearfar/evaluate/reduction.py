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

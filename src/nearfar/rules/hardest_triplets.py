"""The hardest triplet of each anchor: two of its distances, however large the batch."""

from dataclasses import dataclass
from typing import ClassVar

from nearfar.frameworks import Array, Namespace
from nearfar.rules.protocol import Others, Picked, WithinRule
from nearfar.rules.triplets import classmates, only_strangers_, unknown


@dataclass(frozen=True)
class HardestTriplets(WithinRule):
    """max(0, d_ap - d_an + margin) for the farthest positive p and the nearest negative n."""

    margin: float

    picks: ClassVar[int] = 2

    def buffers(self, most: int | None) -> int:
        return 4

    def usable(self, positives: Array, negatives: Array) -> Array:
        return (positives > 0) & (negatives > 0)

    def rows(
        self, ns: Namespace, logits: Array, others: Others, weight: Array | None
    ) -> tuple[Array, Array, Picked | None]:
        xp = ns.xp
        never = -float("inf")
        nothing = unknown(ns, logits)
        inside = ns.columns(logits, others.window)
        mates = classmates(ns, others)[1]
        farthest, far = ns.largest(xp.where(mates, -inside, xp.full_like(inside, never)))
        nearest, near = ns.largest(only_strangers_(ns, logits, others))
        some = (far > never) & (near > never)
        losses, terms, slopes = self.picked(ns, -far, near, some, weight)
        if slopes is None:
            return losses + nothing, terms, None
        columns = xp.stack([farthest + others.window.start, nearest], axis=1)
        return losses + nothing, terms, Picked(columns, slopes + nothing[:, None])

    def picked(
        self, ns: Namespace, positive: Array, negative: Array, some: Array, weight: Array | None
    ) -> tuple[Array, Array, Array | None]:
        xp = ns.xp
        u = xp.where(some, negative - positive, xp.zeros_like(positive)) + self.margin
        active = some & (u > 0)
        none = xp.zeros_like(u)
        losses = xp.where(active, u, none)
        terms = ns.cast(some, u.dtype)
        if weight is None:
            return losses, terms, None
        slopes = xp.where(active, weight, none)
        return losses, terms, xp.stack([-slopes, slopes], axis=1)

"""The contrastive loss of pairs: rows of a class together, others apart up to a margin."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from nearfar.check.batches import Floats
from nearfar.check.identity.space.stack import ALL, NONE
from nearfar.check.identity.space.view import View


@dataclass(frozen=True)
class Pairs:
    """d**a of a class, max(0, margin - d)**b of others, for every ordered pair."""

    metric: str = "euclidean"
    normalised: str = NONE
    exponents: tuple[int, int] = (2, 2)
    halved: bool = False  # positive and negative pairs are averaged apart
    active: bool = False  # and only those above 0 count

    parameter = "margin"

    @property
    def cost(self) -> float:
        return (
            {"euclidean": 0}.get(self.metric, 0.5)
            + (self.normalised == ALL) * 1
            + (self.exponents != (2, 2))
            + 2 * self.halved
            + self.active
        )

    def divisors(self, view: View) -> dict[str, Floats]:
        anchors = view.stack.anchors.sum(axis=1).astype(float)
        if self.halved:
            return {"nothing": np.ones_like(anchors)}
        return {
            "nothing": np.ones_like(anchors),
            "anchors": anchors,
            "anchors times others": anchors * (anchors - 1),
            "anchors squared": anchors**2,
        }

    def each(self, view: View) -> Floats:
        stack = view.stack
        d = -stack.similarity(self.metric, self.normalised)
        if self.metric == "dot":
            d = d + 1
        near, far = stack.positives, stack.valid & ~stack.itself & ~stack.positives
        pulled = np.where(near, np.abs(d) ** self.exponents[0], 0) + 0 * view.spread()
        pushed = np.where(far, np.maximum(view.spread() - d, 0) ** self.exponents[1], 0)
        if not self.halved:
            return np.asarray(pulled.sum(axis=-1) + pushed.sum(axis=-1))
        both = []
        for terms, marks in ((pulled, near), (pushed, far)):
            counted = (terms > 0) & marks if self.active else marks
            count = np.maximum(counted.sum(axis=(-1, -2)), 1)[..., None]
            both.append(terms.sum(axis=-1) / count)
        return np.asarray(both[0] + both[1])


def pair_shapes() -> Iterator[Pairs]:
    """Every convention of the family."""
    manners = ((False, False), (True, False), (True, True))
    for metric, normalised, exponents, manner in product(
        ("euclidean", "sqeuclidean", "dot", "cityblock", "chebyshev"),
        (NONE, ALL), product((1, 2), (1, 2)), manners,
    ):  # fmt: skip
        if metric != "dot" or normalised == ALL:
            yield Pairs(metric, normalised, exponents, *manner)

"""SigLIP: a sigmoid for every pair."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from nearfar.check.batches import Floats
from nearfar.check.identity.space.softmax import reductions, similarities, similarity_cost
from nearfar.check.identity.space.view import View, soft


@dataclass(frozen=True)
class Sigmoid:
    """softplus(-(s_ip + bias)) and softplus(s_ij + bias) of the negatives, added up."""

    bias: float = -10.0
    metric: str = "dot"
    normalised: str = "all"
    sign: int = 1
    scope: str = "other"
    anchors: str = "first"
    averaged: bool = False  # over an anchor's negatives

    parameter = "temperature"

    @property
    def cost(self) -> float:
        return (
            similarity_cost(self.metric, self.normalised, self.sign)
            + 1
            + 2 * (self.scope != "other")
            + (self.anchors != "first")
            + 2 * self.averaged
        )

    def divisors(self, view: View) -> dict[str, Floats]:
        return reductions(view.stack.groups[self.anchors], None, None)

    def each(self, view: View) -> Floats:
        stack = view.stack
        logits = view.logits(self.metric, self.normalised, self.sign, 1) + self.bias
        negatives = stack.scopes[self.scope]
        pushed = np.where(negatives, soft(logits), 0).sum(axis=-1)
        if self.averaged:
            pushed = pushed / np.maximum(negatives.sum(axis=-1), 1)
        values = pushed + np.where(stack.positives, soft(-logits), 0).sum(axis=-1)
        return np.where(stack.groups[self.anchors], values, 0)


def sigmoid_shapes(parts: int, biases: Iterable[float]) -> Iterator[Sigmoid]:
    """Every convention of the family at given biases."""
    for bias, rows in product(biases, similarities(parts, "views")):
        for scope, anchors, averaged in product(
            ("other", "both"), ("first", "second", "all"), (False, True)
        ):
            yield Sigmoid(bias, *rows, scope, anchors, averaged)

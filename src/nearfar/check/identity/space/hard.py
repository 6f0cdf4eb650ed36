"""HCL and the debiased loss: negatives reweighted, false ones taken off, and a lower bound."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from nearfar.check.batches import Floats
from nearfar.check.identity.space.softmax import reductions, similarities, similarity_cost
from nearfar.check.identity.space.view import View, add_logs, log_sum


@dataclass(frozen=True)
class Hard:
    """log(exp(p) + G) - p with G estimated from weighted negatives."""

    tau_plus: float = 0.1
    beta: float = 1.0
    metric: str = "dot"
    normalised: str = "all"
    sign: int = 1
    scope: str = "both"
    anchors: str = "all"
    floor: str = "count"  # times exp(-1 / temperature): "count" of the negatives, "one"; "zero"
    weights: str = "power"  # exp(beta s), or "product": beta exp(s)
    counted: bool = True  # G is of the size of a sum, not of a mean

    parameter = "temperature"

    @property
    def cost(self) -> float:
        return (
            similarity_cost(self.metric, self.normalised, self.sign)
            + 1
            + 0.4 * (self.anchors != "all")
            + 2 * (self.scope != "both")
            + {"count": 0, "one": 1, "zero": 2}[self.floor]
            + (self.weights != "power")
            + 2 * (not self.counted)
        )

    def divisors(self, view: View) -> dict[str, Floats]:
        return reductions(view.stack.groups[self.anchors], None, None)

    def each(self, view: View) -> Floats:
        stack = view.stack
        s = view.logits(self.metric, self.normalised, self.sign, 1)
        negatives = stack.scopes[self.scope]
        p = np.where(stack.positives, s, 0).sum(axis=-1)
        count = np.log(np.maximum(negatives.sum(axis=-1), 1))
        # Of the pseudo-code's weights, beta exp(s), beta falls out.
        beta = self.beta if self.weights == "power" else 1.0
        negatives = negatives | ~negatives.any(axis=-1, keepdims=True)  # rows that are none
        mean = log_sum((1 + beta) * s, negatives) - log_sum(beta * s, negatives)
        size = count if self.counted else 0 * count
        with np.errstate(divide="ignore", invalid="ignore"):
            share = self.tau_plus * np.exp(p - mean)
            left = np.log(np.maximum(1 - share, 0)) - np.log1p(-self.tau_plus)
        bound = {"count": size, "one": 0 * size, "zero": np.full_like(size, -np.inf)}[self.floor]
        estimate = np.maximum(size + mean + left, bound - 1 / view.spread(2))
        values = add_logs(p, estimate) - p
        return np.where(stack.groups[self.anchors], values, 0)


def hard_shapes(parts: int, numbers: Iterable[tuple[float, float]]) -> Iterator[Hard]:
    """Every convention of the family at given tau_plus and beta."""
    scopes, groups, floors = ("both", "other"), ("all", "first", "second"), ("count", "one", "zero")
    for (tau_plus, beta), rows in product(numbers, similarities(parts, "views")):
        if rows[2] < 0 or (rows[0] != "dot" and rows[1] == "all"):
            continue
        for scope, anchors, floor, weights, counted in product(
            scopes, groups, floors, ("power", "product"), (True, False)
        ):
            if weights == "product" and beta == 0:
                continue
            yield Hard(tau_plus, beta, *rows, scope, anchors, floor, weights, counted)

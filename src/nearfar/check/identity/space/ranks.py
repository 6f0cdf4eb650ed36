"""Ranked targets: every other row a positive, against rows whose target is farther, or nearer."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from nearfar.check.batches import Floats
from nearfar.check.identity.space.softmax import (
    POSITIVES,
    known,
    over_positives,
    reductions,
    similarity_cost,
)
from nearfar.check.identity.space.softmax import similarities as all_similarities
from nearfar.check.identity.space.stack import Marks, Stack
from nearfar.check.identity.space.view import View

ORDERS = {">=": "farther", "<=": "nearer", ">": "farther", "<": "nearer"}


@dataclass(frozen=True)
class Ranks:
    """log sum_{k: d_ik (order) d_ij} exp(s_ik) - s_ij."""

    metric: str = "euclidean"
    normalised: str = "none"
    sign: int = 1
    powers: tuple[int, int] = (1, 1)
    order: str = ">="
    with_own: bool = False  # the positive itself, where the order leaves ties out
    include_self: bool = False
    self_positive: bool = False
    label_distance: str = "l1"
    positives: str = "mean_log"

    @property
    def parameter(self) -> str | None:
        return None if self.powers == (0, 0) else "temperature"

    @property
    def cost(self) -> float:
        return (
            similarity_cost(self.metric, self.normalised, self.sign)
            + 4 * (self.powers != (1, 1))
            + {">=": 0, "<=": 1, ">": 2, "<": 2.5}[self.order]
            + (self.with_own if self.order in ("<", ">") else 0)
            + (
                1.5
                if self.include_self and self.self_positive
                else 2 * (self.include_self + self.self_positive)
            )
            + 0.1 * (self.label_distance == "l2")
            + {"mean_log": 0, "sum_log": 1.0}.get(self.positives, 3)
        )

    def divisors(self, view: View) -> dict[str, Floats]:
        anchors, chosen = view.stack.anchors, self._chosen(view)
        pairs = self.positives == "sum_log"
        found: dict[str, Floats] = view.keep(
            ("divisors", self.self_positive, pairs),
            lambda: reductions(anchors, None, chosen if pairs else None),
        )
        return found

    def each(self, view: View) -> Floats:
        key = ("ranks", self.metric, self.normalised, self.sign, self.powers, self.order,
               self.with_own, self.include_self, self.label_distance)  # fmt: skip
        terms = view.keep(key, lambda: self._terms(view))
        # What is empty is left out; what underflows is no number, and agrees with nothing.
        chosen = self._chosen(view) & self._occupied(view)
        values = over_positives(np.where(chosen, terms, 0), chosen, self.positives)
        return np.where(chosen.any(axis=-1), values, 0)

    def _occupied(self, view: View) -> Marks:
        """Pairs with somebody in their denominator."""
        key = ("occupied", self.order, self.with_own, self.include_self, self.label_distance)
        return np.asarray(view.keep(key, lambda: (self._inside(view) > 0).any(axis=-1)))

    def empty(self, stack: Stack) -> Marks:
        """Pairs (B, n, n) with nobody in their denominator: whoever takes its logarithm has inf."""
        view = View(stack)
        return np.asarray(self._chosen(view) & ~self._occupied(view))

    def why_empty(self) -> str:
        """Whose denominator is empty, in words."""
        if self.self_positive and self.order == "<=":
            return "denominators of the diagonal are empty where no other target is the anchor's"
        return "denominators are empty where no row is beyond the positive"

    def _chosen(self, view: View) -> Marks:
        stack = view.stack
        return stack.positives | stack.itself if self.self_positive else stack.positives

    def _terms(self, view: View) -> Floats:
        x = view.logits(self.metric, self.normalised, self.sign, self.powers[1])
        inside = view.keep(
            ("inside", self.order, self.with_own, self.include_self, self.label_distance),
            lambda: self._inside(view),
        )
        top = np.where(view.stack.valid, x, -np.inf).max(axis=-1, keepdims=True)
        e = np.where(view.stack.valid, np.exp(x - np.where(np.isfinite(top), top, 0)), 0)
        with np.errstate(divide="ignore"):
            below = np.log((inside @ e[..., None])[..., 0]) + top
        return np.asarray(
            below - view.logits(self.metric, self.normalised, self.sign, self.powers[0])
        )

    def _inside(self, view: View) -> Floats:
        """Who is in the denominator of anchor i and positive j, (B, i, j, k)."""
        stack = view.stack
        d = stack.label_distances(self.label_distance)
        compare = {">=": np.greater_equal, "<=": np.less_equal, ">": np.greater, "<": np.less}
        found = compare[self.order](d[:, :, None, :], d[:, :, :, None])
        if self.with_own:
            found = found | np.eye(stack.columns, dtype=bool)
        found = found & stack.valid[:, :, None, :]
        if not self.include_self:
            found = found & ~stack.itself[:, :, None, :]
        return np.asarray(found, float)


def rank_shapes(parts: int, powers: tuple[tuple[int, int], ...]) -> Iterator[Ranks]:
    """Every convention of the family."""
    orders = ((">=", False), ("<=", False), (">", False), ("<", False), (">", True), ("<", True))
    both = (False, True)
    for (metric, normalised, sign), power in product(all_similarities(parts, "targets"), powers):
        if power != (1, 1) and not known(metric, normalised, sign):
            continue
        for (order, own), include_self, self_positive, distance, positives in product(
            orders, both, both, ("l1", "l2"), POSITIVES
        ):
            yield Ranks(
                metric,
                normalised,
                sign,
                power,
                order,
                own,
                include_self,
                self_positive,
                distance,
                positives,
            )

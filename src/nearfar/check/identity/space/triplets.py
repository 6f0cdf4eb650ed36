"""Triplets, given or mined: the positive nearer than the negative, by a margin."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from nearfar.check.batches import Floats
from nearfar.check.identity.space.stack import ALL, NONE, Marks
from nearfar.check.identity.space.view import View

METRICS = ("euclidean", "sqeuclidean", "dot", "cityblock", "chebyshev")
FORMS = ("hinge", "squared hinge", "soft", "linear")
MINING = ("all", "hard", "semihard", "all_semihard", "easy")


def shaped(form: str, u: Floats) -> Floats:
    """What becomes of d_ap - d_an + margin."""
    if form == "soft":
        return np.asarray(np.logaddexp(0.0, u))
    if form == "linear":
        return u
    above = np.maximum(u, 0)
    return above * above if form == "squared hinge" else above


@dataclass(frozen=True)
class Triplets:
    """max(0, d_ap - d_an + margin)"""

    metric: str = "sqeuclidean"
    normalised: str = NONE
    form: str = "hinge"
    swapped: bool = False  # positive and negative changed places
    mining: str = "given"
    with_margin: bool = True
    counts_alone: bool = False  # an anchor without positives, as one at a distance of 0 from them

    @property
    def parameter(self) -> str | None:
        return "margin" if self.with_margin else None

    @property
    def cost(self) -> float:
        return (
            {"euclidean": 0, "sqeuclidean": 0}.get(self.metric, 0.5)
            + (0.5 if self.metric == "dot" and self.normalised == ALL else 0)
            + (1 if self.metric == "dot" and self.normalised == NONE else 0)
            + (1 if self.metric != "dot" and self.normalised == ALL else 0)
            + {"hinge": 0, "soft": 1, "squared hinge": 2, "linear": 3}[self.form]
            + 3 * self.swapped
            + 2 * (self.mining == "easy")
            + 1.5 * self.counts_alone
            + 0.5 * (self.with_margin and not self._hinged)
        )

    @property
    def _hinged(self) -> bool:
        return self.form in ("hinge", "squared hinge")

    def divisors(self, view: View) -> dict[str, Floats]:
        u, taken = self._terms(view)
        anchors = view.stack.anchors.sum(axis=1).astype(float)
        found = {"nothing": np.ones_like(anchors), "anchors": anchors}
        if self.mining != "given":
            found["used anchors"] = taken.any(axis=(-1, -2)).sum(axis=-1).astype(float)
            found["triplets"] = taken.sum(axis=(-1, -2, -3)).astype(float)
        if self._hinged:
            found["active"] = (taken & (u > 0)).sum(axis=(-1, -2, -3)).astype(float)
        return found

    def each(self, view: View) -> Floats:
        u, taken = self._terms(view)
        return np.asarray((taken * shaped(self.form, u)).sum(axis=(-1, -2)))

    def _terms(self, view: View) -> tuple[Floats, Marks]:
        """d_ap - d_an + margin, (K, B, n, p, n), and which of them are taken."""
        key = (self.metric, self.normalised, self.swapped, self.mining, self.parameter,
               self.counts_alone)  # fmt: skip
        found: tuple[Floats, Marks] = view.keep(key, lambda: self._make(view))
        return found

    def _make(self, view: View) -> tuple[Floats, Marks]:
        stack = view.stack
        d = -stack.similarity(self.metric, self.normalised)
        positives = stack.positives
        negatives = stack.valid & ~stack.itself & ~positives
        if self.counts_alone:
            alone = stack.anchors & ~positives.any(axis=2)
            positives = positives | (stack.itself & alone[..., None])
        if self.mining == "given":
            positives, negatives = stack.valid & positives, stack.valid & ~positives
        apart = d[..., :, None] - d[..., None, :]
        margin = view.spread(4) if self.parameter else np.zeros((1,) * 5)
        chosen = positives[..., :, None] & negatives[..., None, :]
        near = d[..., None, :]
        if self.mining == "hard":
            chosen = chosen & _farthest(d, positives)[..., :, None]
            chosen = chosen & _farthest(-d, negatives)[..., None, :]
        elif self.mining == "easy":
            chosen = chosen & _farthest(-d, positives)[..., :, None]
            chosen = chosen & _farthest(-d, negatives)[..., None, :]
        elif self.mining == "semihard":
            beyond = chosen & (apart < 0)
            near = np.broadcast_to(near, chosen.shape)
            nearest = beyond & _farthest(-near, beyond)
            none = ~beyond.any(axis=-1, keepdims=True)
            chosen = np.where(none, chosen & _farthest(near, chosen), nearest)
        taken = np.broadcast_to(chosen, (len(view.parameter), *chosen.shape))
        if self.mining == "all_semihard":
            taken = taken & (apart < 0) & (apart + margin >= 0)
        return (-apart if self.swapped else apart) + margin, taken


def _farthest(d: Floats, among: Marks) -> Marks:
    """Which of those has the largest distance."""
    d = np.where(among, d, -np.inf)
    return np.asarray(among & (d == d.max(axis=-1, keepdims=True)))


def triplet_shapes(given: bool) -> Iterator[Triplets]:
    """Every convention of the family."""
    # In most code of hardest triplets a row is among its own positives, at a distance of 0.
    for metric, normalised, form in product(METRICS[:2], (NONE, ALL), FORMS[::2]):
        if not given:
            yield Triplets(metric, normalised, form, mining="hard", counts_alone=True)
            if form == "soft":
                yield Triplets(metric, normalised, form, False, "hard", False, True)
    for metric, normalised, form, swapped, mining in product(
        METRICS, (NONE, ALL), FORMS, (False, True), ("given",) if given else MINING
    ):
        yield Triplets(metric, normalised, form, swapped, mining)
        if form in ("soft", "linear"):
            yield Triplets(metric, normalised, form, swapped, mining, with_margin=False)

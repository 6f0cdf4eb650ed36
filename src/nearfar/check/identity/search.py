"""Which conventions give the values that a function gave: all of them are tried.

A sum over anchors, what divides it, and a factor: the first comes from a shape, the others from
the ratio of the values to it, which has to be the same on every batch. A temperature or margin that
nobody tells is the one at which that ratio is the same on two batches.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from nearfar.check.identity.matching import SCREEN, Evidence, Match, apart_from, fit, table
from nearfar.check.identity.solving import solved
from nearfar.check.identity.space import OWN, WHOLE, Shape, Softmax, Stack, Stated, View

LIKELY, UNLIKELY = (-1.0, 2.8), (2.8, 8.0)
"""Costs of conventions, as a search goes through them."""


class Search:
    """A space held against what a function gave, in rounds: what is likely, then the rest."""

    def __init__(self, evidence: Evidence, shapes: Iterable[Shape]) -> None:
        self._evidence = evidence
        self._shapes = list(shapes)
        self._few = evidence.stack.take(range(min(SCREEN, len(evidence.stack))))

    @np.errstate(all="ignore")  # at some temperature some convention overflows: it does not agree
    def matches(self, solve: tuple[float, float] | None) -> list[Match]:
        """All that agree, the simplest first; else the nearest ones.

        Parameters
        ----------
        solve
            Look for temperatures and margins that the function does not take, among conventions of
            a cost above the first and up to the second: each takes a grid of them.
        """
        evidence, few, found = self._evidence, self._few, list(self._told)
        agreeing = _agreeing(found, evidence)
        if not agreeing and solve is not None and evidence.may_be_fixed:
            low, high = solve
            found += solved(evidence, few, [s for s in self._shapes if low < s.cost <= high])
            agreeing = _agreeing(found, evidence)
            if agreeing:
                rivals = _rivals(evidence, few, self._shapes, min(agreeing, key=cost))
                agreeing += [m for m in rivals if m not in agreeing]
        if agreeing:
            return sorted(agreeing, key=cost)
        return sorted(found, key=lambda m: m.deviation)[:40]

    @cached_property
    def _told(self) -> list[Match]:
        return _told(self._evidence, self._few, self._shapes)


def _agreeing(found: list[Match], evidence: Evidence) -> list[Match]:
    for tolerance in evidence.tolerances:
        agreeing = [m for m in found if m.deviation <= tolerance]
        if agreeing:
            return agreeing
    return []


def _rivals(evidence: Evidence, few: Stack, shapes: Sequence[Shape], best: Match) -> list[Match]:
    """What else agrees at the parameter that was found."""
    assert best.fixed is not None
    given = np.full(len(evidence.given), best.fixed)
    told = replace(evidence, parameter=best.shape.parameter, given=given)
    return [replace(m, fixed=best.fixed) for m in _agreeing(_told(told, few, shapes), evidence)]


def _told(evidence: Evidence, few: Stack, shapes: Sequence[Shape]) -> list[Match]:
    """Shapes whose parameter is known, or that have none."""
    shapes = [s for s in shapes if s.parameter is None or s.parameter == evidence.parameter]
    view = View(few, evidence.given[:1])
    rows = table(shapes, view)
    if not len(rows.values):
        return []
    apart = apart_from(evidence.values[0, : len(few)], rows.values[:, 0])
    chosen = np.flatnonzero(apart <= evidence.rough)
    chosen = chosen[np.argsort(apart[chosen], kind="stable")][:400]
    if not chosen.size:
        chosen = np.argsort(apart)[:12]
    whole = View(evidence.stack, evidence.given)
    found = [fit(evidence, whole, rows.shapes[k], rows.divisors[k]) for k in chosen]
    return found if evidence.parameter == "temperature" else [_at_one(m) for m in found]


def _at_one(match: Match) -> Match:
    """Without a temperature to be used or not, logits that are not divided have one of 1."""
    if getattr(match.shape, "powers", None) != (0, 0):
        return match
    shape: Any = match.shape
    return replace(match, shape=replace(shape, powers=(1, 1)), fixed=1.0)


def cost(match: Match) -> float:
    """How far a statement is from what is published."""
    plain = {OWN: 0.0, "anchors": 0.05, "used anchors": 0.0, "triplets": 0.1, "active": 0.0,
             "pairs": 0.3, "anchors times others": 0.6, "nothing": 0.7}  # fmt: skip
    if match.divisor == "nothing" and isinstance(match.shape, Softmax):
        plain["nothing"] = 0.0 if match.shape.positives in WHOLE else 0.7
    if isinstance(match.shape, Stated):
        plain["anchors"] = 3.0  # a field says it, where one can
    factor = match.factor
    odd = 0.0 if abs(factor - 1) < 1e-6 else 0.8 if abs(abs(factor) - 1) < 1e-6 else 1.0
    round_number = abs(factor * 4 - round(factor * 4)) < 1e-4
    return (
        match.shape.cost
        + plain.get(match.divisor, 1.5)
        + odd
        + (0 if round_number else 1.0)
        + 0.8 * (match.power != 0)
    )

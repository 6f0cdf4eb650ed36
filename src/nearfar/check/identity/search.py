"""Which conventions give the values that a function gave: all of them are tried.

A sum over anchors, what divides it, and a factor: the first comes from a shape, the others from
the ratio of the values to it, which has to be the same on every batch. A temperature or margin that
nobody tells is the one at which that ratio is the same on two batches.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfar.check.batches import Floats
from nearfar.check.identity.space import OWN, WHOLE, Shape, Softmax, Stack, Stated, View

LIKELY, UNLIKELY = (-1.0, 2.8), (2.8, 8.0)
"""Costs of conventions, as a search goes through them."""

SCREEN = 4  # batches that choose; all others are held back for the verdict

_GRIDS = {
    "temperature": np.geomspace(0.004, 8, 30),
    "margin": np.concatenate([[0.0], np.geomspace(0.02, 40, 60)]),
}


@dataclass(frozen=True)
class Evidence:
    """What a function gave: values (T, B) at T values of its parameter on B batches."""

    stack: Stack
    values: Floats
    parameter: str | None  # its name among those of shapes, where the function takes one
    given: Floats  # (T,)
    tolerances: tuple[float, ...] = (1e-7, 1e-5, 2e-4)
    """Relative, of a single value: the first at which something agrees is taken."""
    depends: bool = True  # on the embeddings, and on nothing that changes by itself

    @property
    def rough(self) -> float:
        return 30 * self.tolerances[-1]

    @property
    def may_be_fixed(self) -> bool:
        """Whether its parameter is a factor at most: then one that it does not take may be used."""
        return bool((_apart(self.values[0], self.values) <= self.rough).all())

    @property
    def held_back(self) -> int:
        return max(len(self.stack) - SCREEN, 0) * len(self.given)


@dataclass(frozen=True)
class Match:
    """factor * parameter**power * sum of the shape / divisor."""

    shape: Shape
    divisor: str
    factor: float
    power: int = 0
    fixed: float | None = None  # the parameter, where the function does not take it
    deviation: float = dataclasses.field(default=np.inf, compare=False)  # the largest, relative

    @property
    def field(self) -> str | None:
        """The field of the loss that the parameter is."""
        return getattr(self.shape, "field", self.shape.parameter)

    @np.errstate(all="ignore")
    def values(self, stack: Stack, given: Floats) -> Floats:
        """What it gives on batches, (T, B)."""
        view = View(stack, given if self.fixed is None else np.full(len(given), self.fixed))
        scale = self.factor * given[:, None] ** self.power
        return np.asarray(scale * divided(self.shape, self.divisor, view))

    @np.errstate(all="ignore")
    def each(self, stack: Stack, given: Floats) -> Floats:
        """Its anchors' values before any division, (T, B, n)."""
        view = View(stack, given if self.fixed is None else np.full(len(given), self.fixed))
        return self.factor * given[:, None, None] ** self.power * self.shape.each(view)


def sums(shape: Shape, view: View) -> Floats:
    found = shape.each(view).sum(axis=-1)
    return np.broadcast_to(found, (len(view.parameter), len(view.stack)))


def divided(shape: Shape, divisor: str, view: View) -> Floats:
    """(K, B)"""
    return np.asarray(sums(shape, view) / shape.divisors(view)[divisor])


class _Rows(NamedTuple):
    """Shapes with their divisors, one row each."""

    shapes: list[Shape]
    divisors: list[str]
    values: Floats  # (R, K, B)


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
            found += _solved(evidence, few, [s for s in self._shapes if low < s.cost <= high])
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


def _may_be_fixed(shape: Shape) -> bool:
    # Of a temperature that is a constant of the code, only where it is used can be told; and at
    # half of it squared distances of unit rows are cosines.
    in_place = getattr(shape, "powers", (1, 1)) in ((1, 1), (0, 1), (1, 0))
    return in_place and getattr(shape, "normalised", "all") in ("all", "none", "0", "01")


def _rows(shapes: Sequence[Shape], view: View) -> _Rows:
    owners, names, values = [], [], []
    for shape in shapes:
        total = sums(shape, view)
        for name, divisor in shape.divisors(view).items():
            owners.append(shape)
            names.append(name)
            values.append(total / divisor)
    shape_of = (len(owners), len(view.parameter), len(view.stack))
    return _Rows(owners, names, np.array(values).reshape(shape_of))


def _told(evidence: Evidence, few: Stack, shapes: Sequence[Shape]) -> list[Match]:
    """Shapes whose parameter is known, or that have none."""
    shapes = [s for s in shapes if s.parameter is None or s.parameter == evidence.parameter]
    view = View(few, evidence.given[:1])
    rows = _rows(shapes, view)
    if not len(rows.values):
        return []
    apart = _apart(evidence.values[0, : len(few)], rows.values[:, 0])
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


def fit(
    evidence: Evidence, view: View, shape: Shape, divisor: str, fixed: float | None = None
) -> Match:
    """The factor, from the batches that choose; and how far off the others are."""
    total = divided(shape, divisor, view)
    best = Match(shape, divisor, 0.0, fixed=fixed)
    for power in (0, 1, -1) if len(evidence.given) > 1 else (0,):
        base = total * evidence.given[:, None] ** power
        factor = float(_ratio(evidence.values[:, :SCREEN], base[:, :SCREEN]))
        if not np.isfinite(factor):
            continue
        factor = _rounded(factor, evidence.tolerances[0])
        deviation = _deviation(evidence.values, factor * base)
        if evidence.tolerances[0] < deviation <= evidence.tolerances[-1]:
            # What small term is added must not pass for a factor.
            meant = _rounded(factor, deviation)
            factor, deviation = meant, _deviation(evidence.values, meant * base)
        if deviation < best.deviation * (0.1 if power else 1):
            best = replace(best, factor=factor, power=power, deviation=deviation)
    return best


def _ratio(values: Floats, found: Floats) -> Floats:
    """The median of values / found, over values that are not 0: those fit any factor."""
    telling = values != 0
    if not telling.any():
        return np.full(found.shape[: found.ndim - values.ndim], np.nan)
    return np.asarray(np.median((values / found)[..., telling], axis=-1))


def _rounded(factor: float, tolerance: float) -> float:
    """The number that was meant, where one is as near as the values can tell."""
    for unit in (1.0, 0.5, 0.25, 1 / 3, 0.1):
        meant = round(factor / unit) * unit
        if meant and abs(factor - meant) <= 3 * tolerance * abs(meant):
            return meant
    return factor


def _deviation(values: Floats, found: Floats) -> float:
    size = np.abs(values) + 0.01 * np.sqrt(np.mean(values**2)) + 1e-300
    apart = np.abs(values - found) / size
    return float(apart.max()) if np.isfinite(apart).all() else np.inf


def _apart(values: Floats, rows: Floats) -> Floats:
    """How uneven the ratio of values (B,) to each row (R, B) is, relative."""
    ratio = _ratio(values, rows)[:, None]
    size = np.abs(values) + 0.01 * np.sqrt(np.mean(values**2)) + 1e-300
    apart = (np.abs(values - ratio * rows) / size).max(axis=-1)
    return np.where(np.isfinite(apart), apart, np.inf)


def _solved(evidence: Evidence, few: Stack, shapes: Sequence[Shape]) -> list[Match]:
    """Shapes whose parameter is found from the values themselves."""
    found = []
    for name, grid in _GRIDS.items():
        own = [s for s in shapes if s.parameter == name and _may_be_fixed(s)]
        found += _solved_on(evidence, few, own, grid) if own else []
    return found


def _solved_on(
    evidence: Evidence, few: Stack, shapes: Sequence[Shape], grid: Floats
) -> list[Match]:
    values = evidence.values[0, : len(few)]
    stated = [s for s in shapes if isinstance(s, Stated)]
    others = [s for s in shapes if not isinstance(s, Stated)]
    found: list[Match] = []
    pairs: dict[tuple[int, int], Stack] = {}
    # A loss that is called is worth fewer values than one that is computed for all at once.
    for crossing in [
        *(_promising(few, values, others, grid) if others else ()),
        *(_promising_calls(few, values, stated, grid[::2]) if stated else ()),
    ]:
        if crossing.pair not in pairs:
            pairs[crossing.pair] = few.take(crossing.pair)
        near = _refine(crossing, pairs[crossing.pair], few, values)
        if near is None:
            continue
        shape, divisor = crossing.shape, crossing.divisor
        whole = (fit_at(evidence, shape, divisor, x) for x in _meant(near))
        best = min(whole, key=lambda m: max(m.deviation, evidence.tolerances[0]))
        if best not in found:
            found.append(best)
    return found


def _meant(x: float) -> list[float]:
    """The number that somebody will have written, and the one that was found."""
    short = float(f"{x:.3g}")
    return [short, x] if abs(short - x) <= 1e-4 * abs(x) else [x]


def fit_at(evidence: Evidence, shape: Shape, divisor: str, parameter: float) -> Match:
    """`fit` at a parameter that the function does not take."""
    view = View(evidence.stack, np.full(len(evidence.given), parameter))
    return fit(evidence, view, shape, divisor, parameter)


class _Crossing(NamedTuple):
    """Where two batches' ratios cross, between two values of a parameter."""

    shape: Shape
    divisor: str
    pair: tuple[int, int]
    piece: tuple[float, float]
    change: tuple[float, float]  # of what is 0 where they cross


_BATCH_PAIRS = ((0, 1), (1, 2), (0, 2))
_MOST = 120  # crossings of a pair that are looked at


def _promising(
    few: Stack, values: Floats, shapes: Sequence[Shape], grid: Floats
) -> list[_Crossing]:
    """Where two batches' ratios cross, and the others' are not far; the best ones first."""
    rows = _rows(shapes, View(few, grid))
    found = []
    for pair in _BATCH_PAIRS:
        if max(pair) >= len(values):
            continue
        change = _crossed(values, rows.values, pair)
        numbers, places, share = _signs(change)
        there = rows.values[numbers, places] * (1 - share)
        there = there + rows.values[numbers, places + 1] * share
        apart = _off(values, there)
        for k in np.argsort(apart)[:_MOST]:
            if apart[k] < _FAR:
                found.append(_crossing(rows, change, numbers[k], places[k], pair, grid))
    return found


def _promising_calls(
    few: Stack, values: Floats, shapes: Sequence[Shape], grid: Floats
) -> list[_Crossing]:
    """The same of losses that are called: two batches on the grid, the others where those cross."""
    telling = np.flatnonzero(values)[:2]
    if len(telling) < 2:
        return []
    pair = (int(telling[0]), int(telling[1]))
    rows = _rows(shapes, View(few.take(pair), grid))
    change = _crossed(values[telling], rows.values, (0, 1))
    numbers, places, share = _signs(change)
    found = []
    for r, k, part in zip(numbers, places, share[:, 0], strict=True):
        view = View(few, grid[k] * (1 - part) + grid[k + 1] * part)
        there = divided(rows.shapes[r], rows.divisors[r], view)
        apart = float(_off(values, there)[0])
        if apart < _FAR:
            found.append((apart, _crossing(rows, change, r, k, pair, grid)))
    return [crossing for _, crossing in sorted(found, key=lambda one: one[0])[:_MOST]]


_FAR = 0.2  # relative, beyond which other batches do not cross there too


def _signs(change: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """Rows and places of (R, K) where the sign changes, and how far on it does, (N, 1)."""
    low, high = change[:, :-1], change[:, 1:]
    rows, places = np.nonzero((low * high <= 0) & np.isfinite(low) & np.isfinite(high))
    before, after = low[rows, places], high[rows, places]
    return rows, places, np.nan_to_num(before / (before - after))[:, None]


def _off(values: Floats, found: Floats) -> Floats:
    """How far rows (N, B) are from the values, at the best factor."""
    factor = (found * values).sum(axis=1) / (found**2).sum(axis=1)
    apart = np.abs(values - factor[:, None] * found).max(axis=1) / np.sqrt(np.mean(values**2))
    return np.where(np.isfinite(apart), apart, np.inf)


def _crossing(
    rows: _Rows, change: Floats, row: int, place: int, pair: tuple[int, int], grid: Floats
) -> _Crossing:
    piece, ends = grid[place : place + 2].tolist(), change[row, place : place + 2].tolist()
    return _Crossing(rows.shapes[row], rows.divisors[row], pair, tuple(piece), tuple(ends))


def _crossed(values: Floats, sums_of: Floats, pair: tuple[int, int]) -> Floats:
    # Products instead of ratios, which have poles.
    p, q = pair
    return np.asarray(values[p] * sums_of[..., q] - values[q] * sums_of[..., p])


def _refine(crossing: _Crossing, two: Stack, few: Stack, values: Floats) -> float | None:
    """The parameter at which two batches' ratios are equal, where the others are near there."""
    shape, divisor, pair, (before, x), (at_before, at) = crossing
    own = values[list(pair)]
    for step in range(60):
        if at == 0 or at == at_before:
            break
        # Regula falsi, where an end that stays counts half (Illinois).
        found = x - at * (x - before) / (at - at_before)
        at_found = float(_crossed(own, divided(shape, divisor, View(two, found)), (0, 1))[0])
        if not np.isfinite(at_found):
            return None
        if step == 3 and _apart(values, divided(shape, divisor, View(few, found)))[0] > 0.02:
            return None  # where two batches agree the others do not
        if at * at_found < 0:
            before, at_before = x, at
        else:
            at_before /= 2
        moved, x, at = abs(found - x), found, at_found
        if moved <= 1e-14 * abs(x):
            break
    return x

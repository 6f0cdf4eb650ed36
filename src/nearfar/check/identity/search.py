"""Which conventions give the values that a function gave: all of them are tried.

A sum over anchors, what divides it, and a factor: the first comes from a shape, the others from
the ratio of the values to it, which has to be the same on every batch. A temperature or margin that
nobody tells is the one at which that ratio is the same on two batches.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from nearfar.check.batches import Floats
from nearfar.check.identity.space import OWN, WHOLE, Shape, Softmax, Stack, Stated, View

LIKELY, UNLIKELY = (-1.0, 2.8), (2.8, 8.0)
"""Costs of conventions, as `search` looks for them."""

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
    depends: bool = True  # on the embeddings

    @property
    def rough(self) -> float:
        return 30 * self.tolerances[-1]

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
        return np.asarray(scale * sums(self.shape, view) / self.shape.divisors(view)[self.divisor])

    @np.errstate(all="ignore")
    def each(self, stack: Stack, given: Floats) -> Floats:
        """Its anchors' values before any division, (T, B, n)."""
        view = View(stack, given if self.fixed is None else np.full(len(given), self.fixed))
        return self.factor * given[:, None, None] ** self.power * self.shape.each(view)


def sums(shape: Shape, view: View) -> Floats:
    found = shape.each(view).sum(axis=-1)
    return np.broadcast_to(found, (len(view.parameter), len(view.stack)))


class _Rows(NamedTuple):
    """Shapes with their divisors, one row each."""

    shapes: list[Shape]
    divisors: list[str]
    values: Floats  # (R, K, B)


@np.errstate(all="ignore")  # at some temperature some convention overflows: it does not agree
def search(
    evidence: Evidence, shapes: Iterable[Shape], solve: tuple[float, float] | None
) -> list[Match]:
    """All that agree, the simplest first; else the nearest ones.

    Parameters
    ----------
    solve
        Look for temperatures and margins that the function does not take, among conventions of a
        cost above the first and up to the second: each takes a grid of them.
    """
    everything = list(shapes)
    few = evidence.stack.take(range(min(SCREEN, len(evidence.stack))))
    found = _told(evidence, few, everything)
    agreeing = _agreeing(found, evidence)
    if not agreeing and solve is not None:
        low, high = solve
        found += _solved(evidence, few, [s for s in everything if low < s.cost <= high])
        agreeing = _agreeing(found, evidence)
        if agreeing:
            rivals = _rivals(evidence, few, everything, min(agreeing, key=cost))
            agreeing += [m for m in rivals if m not in agreeing]
    if agreeing:
        return sorted(agreeing, key=cost)
    return sorted(found, key=lambda m: m.deviation)[:40]


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
    total = sums(shape, view) / shape.divisors(view)[divisor]
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
    stated = [s for s in shapes if isinstance(s, Stated)]
    others = [s for s in shapes if not isinstance(s, Stated)]
    # A loss that is called is worth fewer values than one that is computed for all at once.
    return [
        match
        for some, places in ((others, grid), (stated, grid[::2]))
        if some
        for match in _solved_at(evidence, few, some, places)
    ]


def _solved_at(
    evidence: Evidence, few: Stack, shapes: Sequence[Shape], grid: Floats
) -> list[Match]:
    rows = _rows(shapes, View(few, grid))
    values = evidence.values[0, : len(few)]
    found = []
    for r, k, pair in _promising(values, rows.values):
        piece = (grid[k], grid[k + 1])
        near = _refine(rows.shapes[r], rows.divisors[r], few, values, pair, piece)
        if near is None:
            continue
        whole = (fit_at(evidence, rows.shapes[r], rows.divisors[r], x) for x in _meant(near))
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


_BATCH_PAIRS = ((0, 1), (1, 2), (0, 2))


def _promising(
    values: Floats, sums_of: Floats, most: int = 120
) -> list[tuple[int, int, tuple[int, int]]]:
    """Where two batches' ratios cross, and the others' are not far; the best ones first.

    values (B,) against sums (R, K, B); products instead of ratios, which have poles.
    """
    found = []
    size = np.sqrt(np.mean(values**2))
    for pair in _BATCH_PAIRS:
        if max(pair) >= len(values):
            continue
        change = _crossed(values, sums_of, pair)
        low, high = change[:, :-1], change[:, 1:]
        crossing = (low * high <= 0) & np.isfinite(low) & np.isfinite(high)
        rows, places = np.nonzero(crossing)
        if not rows.size:
            continue
        share = low[rows, places] / (low[rows, places] - high[rows, places])
        share = np.nan_to_num(share)[:, None]
        there = sums_of[rows, places] * (1 - share) + sums_of[rows, places + 1] * share
        factor = (there * values).sum(axis=1) / (there**2).sum(axis=1)
        apart = np.abs(values - factor[:, None] * there).max(axis=1) / size
        apart = np.where(np.isfinite(apart), apart, np.inf)
        for k in np.argsort(apart)[:most]:
            if apart[k] < 0.2:
                found.append((int(rows[k]), int(places[k]), pair))
    return found


def _crossed(values: Floats, sums_of: Floats, pair: tuple[int, int]) -> Floats:
    p, q = pair
    return np.asarray(values[p] * sums_of[..., q] - values[q] * sums_of[..., p])


def _refine(
    shape: Shape,
    divisor: str,
    stack: Stack,
    values: Floats,
    pair: tuple[int, int],
    piece: tuple[float, float],
) -> float | None:
    """The parameter in a piece of the grid at which two batches' ratios are equal."""
    low, high = piece
    # Each round looks at several points at once and keeps the part with the change of sign.
    for round_number in range(12):
        points = np.linspace(low, high, 17)
        view = View(stack, points)
        found = sums(shape, view) / shape.divisors(view)[divisor]
        change = _crossed(values, found, pair)
        pieces = np.flatnonzero(change[:-1] * change[1:] <= 0)
        if not pieces.size or not np.isfinite(change).all():
            return None
        k = pieces[0]
        if round_number == 1 and _apart(values, found[k : k + 1])[0] > 0.02:
            return None  # where two batches agree the others do not
        low, high = points[k], points[k + 1]
        if high - low <= 1e-14 * high:
            break
    return float((low + high) / 2)

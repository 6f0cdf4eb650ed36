"""A temperature or margin that nobody tells, found from the values of a few batches.

It is where the ratio of the values to a convention's is the same on two batches, and near there on
the others.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfar.check.batches import Floats
from nearfar.check.identity.matching import (
    Evidence,
    Match,
    Table,
    apart_from,
    divided,
    fit_at,
    table,
)
from nearfar.check.identity.space import Shape, Stack, Stated, View

_GRIDS = {
    "temperature": np.geomspace(0.004, 8, 30),
    "margin": np.concatenate([[0.0], np.geomspace(0.02, 40, 60)]),
}


def solved(evidence: Evidence, few: Stack, shapes: Sequence[Shape]) -> list[Match]:
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


def _may_be_fixed(shape: Shape) -> bool:
    # Of a temperature that is a constant of the code, only where it is used can be told; and at
    # half of it squared distances of unit rows are cosines.
    in_place = getattr(shape, "powers", (1, 1)) in ((1, 1), (0, 1), (1, 0))
    return in_place and getattr(shape, "normalised", "all") in ("all", "none", "0", "01")


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
    rows = table(shapes, View(few, grid))
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
    rows = table(shapes, View(few.take(pair), grid))
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
    rows: Table, change: Floats, row: int, place: int, pair: tuple[int, int], grid: Floats
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
        if step == 3 and apart_from(values, divided(shape, divisor, View(few, found)))[0] > 0.02:
            return None  # where two batches agree the others do not
        if at * at_found < 0:
            before, at_before = x, at
        else:
            at_before /= 2
        moved, x, at = abs(found - x), found, at_found
        if moved <= 1e-14 * abs(x):
            break
    return x

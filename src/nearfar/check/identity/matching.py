"""A convention held against what a function gave: a shape, what divides its sum, and a factor."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from nearfar.check.batches import Floats
from nearfar.check.identity.space import Shape, Stack, View

SCREEN = 4  # batches that choose; all others are held back for the verdict


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
        return bool((apart_from(self.values[0], self.values) <= self.rough).all())

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


class Table(NamedTuple):
    """Shapes with their divisors, one row each."""

    shapes: list[Shape]
    divisors: list[str]
    values: Floats  # (R, K, B)


def table(shapes: Sequence[Shape], view: View) -> Table:
    owners, names, values = [], [], []
    for shape in shapes:
        total = sums(shape, view)
        for name, divisor in shape.divisors(view).items():
            owners.append(shape)
            names.append(name)
            values.append(total / divisor)
    shape_of = (len(owners), len(view.parameter), len(view.stack))
    return Table(owners, names, np.array(values).reshape(shape_of))


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


def fit_at(evidence: Evidence, shape: Shape, divisor: str, parameter: float) -> Match:
    """`fit` at a parameter that the function does not take."""
    view = View(evidence.stack, np.full(len(evidence.given), parameter))
    return fit(evidence, view, shape, divisor, parameter)


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


def apart_from(values: Floats, rows: Floats) -> Floats:
    """How uneven the ratio of values (B,) to each row (R, B) is, relative."""
    ratio = _ratio(values, rows)[:, None]
    size = np.abs(values) + 0.01 * np.sqrt(np.mean(values**2)) + 1e-300
    apart = (np.abs(values - ratio * rows) / size).max(axis=-1)
    return np.where(np.isfinite(apart), apart, np.inf)

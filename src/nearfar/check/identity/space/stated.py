"""Losses of nearfar as conventions by themselves: stated by their own fields, and called."""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any

import numpy as np

from nearfar.check.batches import Batch, Floats
from nearfar.check.identity.space.stack import ALL, normalise
from nearfar.check.identity.space.view import View
from nearfar.check.target.targets import NUMBERS
from nearfar.losses import LOSSES, ArcFace, Loss
from nearfar.presets import table

OWN = "its own count"

NORMALISED = "rows are normalised first"
"""Of what does it nowhere by itself; libraries that do are losses with this said."""


def _normalised(batch: Batch) -> Batch:
    return replace(batch, parts=tuple(normalise(batch.parts, ALL)))


SLIPS: dict[str, Callable[[Batch], Batch]] = {NORMALISED: _normalised}
"""What is done to a batch before the loss, in words."""


@dataclass(frozen=True)
class Stated:
    """A loss, but for its mean and its factor."""

    loss: Loss
    parameter: str | None = None
    field: str = ""  # which of the loss's is the parameter
    slip: str = ""
    away: int = 0  # choices that are not the default
    searched: bool = False  # at many values of the parameter, which takes time: its mean only

    @property
    def cost(self) -> float:
        return 0.9 + 2 * self.away + 2.5 * (self.slip not in ("", NORMALISED)) + bool(self.slip)

    def divisors(self, view: View) -> dict[str, Floats]:
        if self._alone:
            return {OWN: np.ones(len(view.stack))}
        total, mean = self._kept(view, "none").sum(axis=-1), self._kept(view, "mean")[..., 0]
        count = np.where(mean != 0, total / np.where(mean != 0, mean, 1), 1)
        anchors = view.stack.anchors.sum(axis=1).astype(float)
        return {OWN: count, "nothing": np.ones_like(anchors), "anchors": anchors}

    def each(self, view: View) -> Floats:
        return self._kept(view, "mean" if self._alone else "none")

    @property
    def _alone(self) -> bool:
        """Whether it has one value for a batch, and none of an anchor."""
        return self.searched or "none" not in self.loss.declarations["reduction"]["choices"]

    def _kept(self, view: View, reduction: str) -> Floats:
        found: Floats = view.keep((self, reduction), lambda: self._called(view, reduction))
        return found

    def _called(self, view: View, reduction: str) -> Floats:
        """(K, B, n), or (K, B, 1)"""
        stated: dict[str, Any] = {"reduction": reduction}
        batches = view.stack.batches
        batches = [SLIPS[self.slip](b) for b in batches] if self.slip else batches
        values = view.parameter if self.field else view.parameter[:1]
        found = np.zeros((len(values), len(batches), view.stack.rows if reduction == "none" else 1))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for k, value in enumerate(values):
                if self.field:
                    stated[self.field] = float(value)
                try:
                    loss = replace(self.loss, **stated)
                except ValueError:  # a number that it does not take
                    found[k] = np.nan
                    continue
                for b, batch in enumerate(batches):
                    own = np.atleast_1d(batch.value_of(loss))
                    found[k, b, : len(own)] = own
        return np.broadcast_to(found, (len(view.parameter), *found.shape[1:]))


ELSEWHERE = ("candidates", "scale_by", "reduction", "detach", "detach_weights", "same", "weights")
"""Fields that a batch of rows says nothing of, or that say nothing of a value."""

_HARDNESS = (9.0, 5.0)
"""Of negatives in the batch and of given ones, as they are published."""

_METRICS = ("euclidean", "sqeuclidean", "cosine", "cityblock")


def stated_shapes(
    names: Mapping[str, tuple[str, ...] | None],
    numbers: Mapping[str, float],
    varied: tuple[str, str] | None,
) -> Iterator[Stated]:
    """Every convention of some losses.

    Parameters
    ----------
    names
        Classes, each with the fields that are varied; None varies all choices.
    numbers
        What the target names.
    varied
        Kind and name of the argument that the target is given values of.
    """
    for name, chosen in names.items():
        cls = LOSSES[name.lower()]
        field = _varied_field(cls, varied)
        for loss, away in _conventions(cls, chosen, numbers, field):
            for slip in ("", NORMALISED) if _is_free(loss) else ("",):
                shape = Stated(loss, slip=slip, away=away)
                if varied and field:
                    yield replace(shape, parameter=varied[0], field=field)
                else:
                    yield shape
                    yield from _searched(shape, varied)


def _is_free(loss: Loss) -> bool:
    """Whether rows of another length are another value."""
    stated = loss.stated("similarity") or loss.stated("distance") or "cosine"
    return bool(stated != "cosine")


def _varied_field(cls: type[Loss], varied: tuple[str, str] | None) -> str:
    """The field that an argument is by its name, or by its kind; "" where there is none."""
    kind, name = varied or ("", "")
    names = (name, kind, *(field for field, known in NUMBERS.items() if name in known))
    numbers = (n for n in names if "number" in cls.declarations.get(n, {}))
    return next((n for n in numbers if n != "scale"), "")  # whose scale is 1 / temperature


def _searched(shape: Stated, varied: tuple[str, str] | None) -> Iterator[Stated]:
    """With a temperature or margin that is a constant of the code, and not the usual one."""
    for field in ("temperature", "margin"):
        if field in shape.loss.declarations and shape.away < 2 and field != (varied or ("",))[0]:
            yield replace(shape, parameter=field, field=field, searched=True)


def _conventions(
    cls: type[Loss], chosen: tuple[str, ...] | None, numbers: Mapping[str, float], varied: str
) -> Iterator[tuple[Loss, int]]:
    declared = cls.declarations
    usual = [row.loss for row in table() if type(row.loss) is cls]
    plain: Loss = cls()
    names = [f.name for f in fields(cls) if f.name not in ELSEWHERE]
    if chosen is not None:
        names = [name for name in names if name in chosen or "number" in declared[name]]
    ways: dict[str, tuple[Any, ...]] = {}
    tuples = []
    counted = [n for n in names if "number" in declared[n] and n not in ("scale", varied)]
    if "hardness" in counted:
        harder: list[dict[str, Any]] = [{"hardness": x} for x in _HARDNESS]
        usual = [replace(loss, **x) for loss in (plain, *usual) for x in harder]
    if cls is ArcFace and abs(numbers.get("margin", 0)) > math.pi:
        numbers = {**numbers, "margin": math.radians(numbers["margin"])}
    for told in (numbers, {}):  # an argument of the name may be another thing
        for loss in (plain, *usual):
            stated = {n: told.get(n, getattr(loss, n)) for n in counted}
            if stated not in tuples:
                tuples.append(stated)
    for name in names:
        if "choices" in declared[name]:
            ways[name] = declared[name]["choices"]
            if name == "distance":
                ways[name] = _METRICS
        elif name not in counted and name not in ("scale", varied):
            known = [getattr(loss, name) for loss in (plain, *usual)]
            ways[name] = tuple(dict.fromkeys(known))
    for stated, values in product(tuples, product(*ways.values())):
        made = dict(zip(ways, values, strict=True))
        away = sum(value != getattr(plain, name) for name, value in made.items())
        try:
            yield cls(**stated, **made), away
        except ValueError:  # fields that do not go together
            continue

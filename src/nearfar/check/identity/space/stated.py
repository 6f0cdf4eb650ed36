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
from nearfar.losses import LOSSES, ArcFace, BarlowTwins, Exclude, Loss
from nearfar.presets import table

OWN = "its own count"

NORMALISED = "rows are normalised first"
"""Of what does it nowhere by itself; libraries that do are losses with this said."""


def _normalised(loss: Loss, batch: Batch) -> tuple[Loss, Batch]:
    return loss, replace(batch, parts=tuple(normalise(batch.parts, ALL)))


WRONG_AXIS = "weights are divided by the sums of the other axis: they do not add up to 1"


def _by_columns(loss: Loss, batch: Batch) -> tuple[Loss, Batch]:
    """Of a loss with weights of rows: those divided by the sum of their column."""
    assert batch.facts is not None
    targets = np.asarray(batch.facts, float).reshape(len(batch.facts), -1)
    squares = ((targets[:, None] - targets[None]) ** 2).sum(axis=2)
    weights = np.exp(-squares / (2 * loss.stated("bandwidth") ** 2))
    np.fill_diagonal(weights, 0)
    changed: Any = {"weights": "given", "normalise": "none"}
    return replace(loss, **changed), replace(batch, kind="matrix", facts=weights / weights.sum(0))


OVER_ONE_LESS = "standard deviations are over N - 1, products over N: correlations below 1"


def _over_one_less(loss: Loss, batch: Batch) -> tuple[Loss, Batch]:
    """Of columns with a variance of 1, to which 1 / (N - 1) is added: 1 + it is N / (N - 1)."""
    n = len(batch.parts[0])
    parts = tuple((z - z.mean(axis=0)) / z.std(axis=0) for z in batch.parts)
    added: Any = {"eps": 1 / (n - 1)}
    return replace(loss, **added), replace(batch, parts=parts)


SLIPS: dict[str, Callable[[Loss, Batch], tuple[Loss, Batch]]] = {
    NORMALISED: _normalised,
    WRONG_AXIS: _by_columns,
    OVER_ONE_LESS: _over_one_less,
}
"""What is done to a loss and its batch, in words."""


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
        one = np.ones(len(view.stack))
        if self._alone:
            # Where each anchor counts the sum is as many means.
            sums = "sum" in self.loss.declarations["reduction"]["choices"]
            return {OWN: one} | ({"nothing": 1 / view.stack.anchors.sum(axis=1)} if sums else {})
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
        values = view.parameter if self.field else view.parameter[:1]
        found = [[np.zeros(1)] * len(batches) for _ in values]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for k, value in enumerate(values):
                if self.field:
                    stated[self.field] = float(value)
                try:
                    loss = replace(self.loss, **stated)
                except ValueError:  # a number that it does not take
                    found[k] = [np.full(1, np.nan)] * len(batches)
                    continue
                for b, batch in enumerate(batches):
                    made = SLIPS[self.slip](loss, batch) if self.slip else (loss, batch)
                    found[k][b] = np.atleast_1d(made[1].value_of(made[0]))
        size = max(len(own) for row in found for own in row)
        filled = [[np.pad(own, (0, size - len(own))) for own in row] for row in found]
        return np.broadcast_to(filled, (len(view.parameter), len(batches), size))


ELSEWHERE = ("candidates", "scale_by", "reduction", "detach", "detach_weights", "same", "exclude")
"""Fields that a batch of rows says nothing of, or that say nothing of a value."""

_GENERAL = ("views", "own", "queue")
"""Kinds for which losses with further fields have a general form."""

_BY_SELF = (None, Exclude(by="self"), Exclude(by="self", margin=-0.1))

_BY_GUIDE = tuple(
    Exclude(margin=margin, kind=kind)
    for kind, margin in (("absolute", 0.0), ("absolute", 0.1), ("absolute", 0.05),
                         ("relative", 0.05), ("relative", 0.1))
)  # fmt: skip

_SETTLED: dict[str, dict[str, tuple[Any, ...]]] = {
    "views": {"exclude": _BY_SELF},
    "own": {"exclude": _BY_SELF, "in_batch": ("without_negatives", "always")},
    "queue": {"exclude": _BY_SELF, "in_batch": ("without_negatives", "always")},
    "targets": {"weights": ("rbf",)},
    "matrix": {"weights": ("given",)},
    "marks": {"weights": ("jaccard",)},
    "frozen": {"weights": ("cosine",)},
    "guided": {"exclude": _BY_GUIDE},
    "guided_own": {"exclude": _BY_GUIDE, "in_batch": ("always", "without_negatives")},
}  # fmt: skip
"""Fields by the kind of a batch."""

_HARDNESS = (9.0, 5.0)
"""Of negatives in the batch and of given ones, as they are published."""

_METRICS = ("euclidean", "sqeuclidean", "cosine", "cityblock")


def stated_shapes(
    names: Mapping[str, tuple[str, ...] | None],
    kind: str,
    numbers: Mapping[str, float],
    varied: tuple[str, str] | None,
) -> Iterator[Stated]:
    """Every convention of some losses.

    Parameters
    ----------
    names
        Classes, each with the fields that are varied; None varies all choices.
    kind
        Of the batch, which may settle a field.
    numbers
        What the target names.
    varied
        Kind and name of the argument that the target is given values of.
    """
    for name, chosen in names.items():
        cls = LOSSES[name.lower()]
        field = _varied_field(cls, varied)
        for loss, away in _conventions(cls, chosen, kind, numbers, field):
            for slip in _slips(loss, kind):
                shape = Stated(loss, slip=slip, away=away)
                if varied and field:
                    yield replace(shape, parameter=varied[0], field=field)
                else:
                    yield shape
                    yield from _searched(shape, varied)


def _slips(loss: Loss, kind: str) -> tuple[str, ...]:
    if loss.stated("weights") == "rbf" and loss.stated("normalise") == "row":
        return ("", WRONG_AXIS)
    if isinstance(loss, BarlowTwins):
        return ("", OVER_ONE_LESS)
    # Whether rows of another length are another value.
    compared = loss.stated("similarity") or loss.stated("distance") or "cosine"
    free = compared not in ("cosine", "dot") and kind not in ("own", "queue")
    return ("", NORMALISED) if free else ("",)


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
    cls: type[Loss],
    chosen: tuple[str, ...] | None,
    kind: str,
    numbers: Mapping[str, float],
    varied: str,
) -> Iterator[tuple[Loss, int]]:
    declared = cls.declarations
    usual = [row.loss for row in table() if type(row.loss) is cls]
    plain: Loss = cls()
    names = [f.name for f in fields(cls) if f.name not in ELSEWHERE]
    if chosen is not None:
        names = [f.name for f in fields(cls) if f.name not in ELSEWHERE or f.name in chosen]
        names = [name for name in names if name in chosen or "number" in declared[name]]
    ways: dict[str, tuple[Any, ...]] = {}
    tuples, seen = list[dict[str, Any]](), list[dict[str, Any]]()
    counted = [n for n in names if "number" in declared[n] and n not in ("scale", varied)]
    whole = usual
    if "hardness" in (chosen or ()):
        harder: list[dict[str, Any]] = [{"hardness": x} for x in _HARDNESS]
        usual = [*usual, *(replace(loss, **x) for loss in (plain, *usual) for x in harder)]
    if cls is ArcFace and abs(numbers.get("margin", 0)) > math.pi:
        numbers = {**numbers, "margin": math.radians(numbers["margin"])}
    # An argument of the name may be another thing, or a weight of half or twice the term.
    weighed = [{**numbers, "l2": numbers["l2"] * k} for k in (2, 0.5)] if "l2" in numbers else []
    for told in (numbers, *weighed, {}):
        for loss in (plain, *usual):
            stated = {n: told.get(n, getattr(loss, n)) for n in counted}
            # What differs in these alone is searched, or is a whole statement of somebody's.
            others = {n: x for n, x in stated.items() if n not in ("temperature", "margin")}
            if others not in seen:
                seen.append(others)
                tuples.append(stated)
    settled = _SETTLED.get(kind, {})
    for name in names:
        if name in settled:
            ways[name] = settled[name]
        elif "choices" in declared[name]:
            ways[name] = _METRICS if name == "distance" else declared[name]["choices"]
        elif name not in counted and name not in ("scale", varied):
            known = [getattr(loss, name) for loss in (plain, *usual)]
            ways[name] = tuple(dict.fromkeys(known))
    for loss in whole:
        if all(getattr(loss, n) in values for n, values in ways.items()) and _is_plain(loss, ways):
            made = {n: getattr(loss, n) for n in (*ways, *counted)}
            yield cls(**made), sum(made[n] != getattr(plain, n) for n in ways)
    for stated, values in product(tuples, product(*ways.values())):
        made = dict(zip(ways, values, strict=True))
        usually = {n: ways[n][0] if n in settled else getattr(plain, n) for n in ways}
        away = sum(value != usually[name] for name, value in made.items())
        if chosen is not None and kind in _GENERAL and (away > 0) == bool(stated.get("hardness")):
            continue  # nothing that the general form does not have; or two things at once
        try:
            yield cls(**stated, **made), away
            if "temperature" in stated and made.get("similarity", "cosine") != "cosine":
                yield cls(**{**stated, **made, "temperature": 1.0}), away  # without any
        except ValueError:  # fields that do not go together
            continue


def _is_plain(loss: Loss, ways: Mapping[str, Any]) -> bool:
    """Whether it differs from the default in nothing but what is varied."""
    plain = type(loss)()
    known = {*ways, *ELSEWHERE, "own", "scale"}
    return all(
        f.name in known or "number" in loss.declarations[f.name]
        or getattr(loss, f.name) == getattr(plain, f.name)
        for f in fields(loss)
    )  # fmt: skip

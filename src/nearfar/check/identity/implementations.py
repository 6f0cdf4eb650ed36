"""Public implementations that are the loss which was found."""

from collections.abc import Collection
from dataclasses import fields, replace
from typing import Any

from nearfar.check.identity.expecting import canonical
from nearfar.losses import Loss
from nearfar.presets import table


def sharing(found: Loss, fixed: bool, indifferent: Collection[str] = ()) -> tuple[str, ...]:
    """Names of the presets that are this loss at its temperature, margin and other numbers.

    Where the temperature is a constant of the code, a factor of it cannot be told from a number:
    either will do. Fields that are indifferent may have any value.
    """
    own = canonical(found)
    names = []
    for row in table():
        if row.loss is None or type(canonical(row.loss)) is not type(own):
            continue
        theirs = canonical(at_numbers_of(row.loss, own, indifferent))
        if theirs == own or (fixed and _same_factor(theirs, own)):
            names.append(row.name)
    return tuple(names)


def at_numbers_of(loss: Loss, found: Loss, more: Collection[str] = ()) -> Loss:
    """A loss with another's temperature, margin and the like, but not its factor."""
    numbers = {f.name for f in fields(loss) if "number" in f.metadata} - {"scale"}
    names = [f.name for f in fields(loss) if f.name in numbers.union(more)]
    changed: dict[str, Any] = {n: getattr(found, n) for n in names if n in found.declarations}
    return replace(loss, **changed)


def _same_factor(theirs: Loss, own: Loss) -> bool:
    factors = [loss.factor for loss in (theirs, own)]
    if abs(factors[0] - factors[1]) > 1e-9 * abs(factors[1]):
        return False
    plain: dict[str, Any] = {"scale": 1.0}
    if "scale_by" in own.declarations:
        plain["scale_by"] = "constant"
    return replace(theirs, **plain) == replace(own, **plain)

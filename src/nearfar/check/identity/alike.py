"""When two losses are one: other names, numbers that are free, rounding."""

import math
from collections.abc import Collection
from dataclasses import fields, replace
from typing import Any

from nearfar.losses import DCL, HCL, Loss, NTXent
from nearfar.losses.fields import checked

_ROUNDING = 1e-9

# Numbers that move a loss, and are free. Others leave a term out where they are 0: another loss.
_MOVE = ("temperature", "margin", "bias")


def canonical(loss: Loss, unit: bool = False) -> Loss:
    """One name for what is the same under several.

    Parameters
    ----------
    unit
        Rows are normalised first, where the loss itself would not: squared distances of unit rows
        are cosines, at half the temperature.
    """
    if isinstance(loss, DCL):
        own = {f.name: getattr(loss, f.name) for f in fields(loss)}
        return NTXent(**own, denominator="negatives")
    if isinstance(loss, HCL) and loss.tau_plus == 0 and loss.beta == 0:
        return NTXent(temperature=loss.temperature, similarity=loss.similarity, scale=loss.scale,
                      reduction=loss.reduction)  # fmt: skip
    if isinstance(loss, NTXent) and loss.denominator == "own_positive":
        return replace(loss, denominator="all")
    changed: Any = {}
    if loss.stated("distance") == "minkowski":
        changed = {"distance": "euclidean"}
    elif unit and loss.stated("similarity") == "neg_sqeuclidean":
        by = loss.stated("scale_by") == "temperature"
        changed = {"similarity": "cosine", "temperature": loss.stated("temperature", 1.0) / 2}
        changed |= {"scale": 2 * loss.scale} if by else {}
    return replace(loss, **changed)


def equal(one: Loss, other: Loss) -> bool:
    """Field by field, numbers up to rounding."""
    if type(one) is not type(other):
        return False
    return all(equal_values(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))


def equal_values(x: Any, y: Any) -> bool:
    """Of one field."""
    if isinstance(x, float) and isinstance(y, float):
        return math.isclose(x, y, rel_tol=_ROUNDING)
    return bool(x == y)


def free_numbers(loss: Loss) -> frozenset[str]:
    """Numbers of a loss that make it no other one; its factor is none of them."""
    return frozenset(f.name for f in fields(loss) if "number" in f.metadata) - {"scale"}


def _takes(loss: Loss, name: str, value: Any) -> bool:
    """Whether a number is in the range of a field."""
    try:
        checked(type(loss).__name__, name, value, loss.declarations[name])
    except ValueError:
        return False
    return True


def with_numbers_of(loss: Loss, found: Loss, names: Collection[str]) -> Loss:
    """A loss with the named numbers of another, but for those that would make it another loss."""
    changed: dict[str, Any] = {}
    for field in fields(loss):
        if field.name not in names or field.name not in found.declarations:
            continue
        own, theirs = getattr(loss, field.name), getattr(found, field.name)
        number = "number" in field.metadata
        if number != ("number" in found.declarations[field.name]):
            continue  # a field of another kind, under the same name
        if number and not _takes(loss, field.name, theirs):
            continue
        number = number and field.name not in _MOVE
        if not (number and (own == 0) != (theirs == 0)):
            changed[field.name] = theirs
    return replace(loss, **changed)

"""Public implementations that are the loss which was found."""

from dataclasses import replace
from typing import Any

from nearfar.check.identity.alike import canonical, equal, free_numbers, with_numbers_of
from nearfar.check.identity.identify import SMALL, Identity
from nearfar.check.identity.space import NORMALISED
from nearfar.losses import Loss
from nearfar.presets import Preset, table


def sharing(identity: Identity) -> tuple[str, ...]:
    """Names of the presets that are this loss at its temperature, margin and other numbers.

    Where the temperature is a constant of the code, a factor of it cannot be told from a number:
    either will do. Fields that are indifferent may have any value. A preset is also where rows are
    normalised and what negatives come from: neither is a matter of the loss alone.
    """
    return tuple(row.name for row in table() if is_preset(identity, row))


def is_preset(identity: Identity, row: Preset, free: frozenset[str] | None = None) -> bool:
    """Whether an identity is an implementation, whose numbers are free but for those named."""
    statement = identity.statement
    if row.loss is None or statement is None or not identity.sure or statement.swapped:
        return False
    normalised = statement.changes == (NORMALISED,)
    large = identity.small and identity.deviation > SMALL
    if large or (identity.exact is None and not normalised):
        return False
    if identity.kind in ("ids", "guided", "guided_own", "reference"):
        return False  # what its call is beside rows, no record says
    if row.queue != (identity.kind in ("queue", "own")):
        return False
    # Cosines are of unit rows in any case; and what is no more than unit rows can be either.
    found = statement.loss
    unit = normalised or identity.unit
    if row.normalises != normalised and not (row.normalises and _is_cosine(found)):
        return False
    own = canonical(found, unit)
    theirs = canonical(row.loss, row.normalises)
    if identity.unit and theirs.stated("similarity") == "dot":
        as_seen: Any = {"similarity": "cosine"}  # of unit rows
        theirs = replace(theirs, **as_seen)
    free = free_numbers(row.loss) if free is None else free
    filled = with_numbers_of(theirs, own, free | identity.indifferent)
    return equal(filled, own) or (identity.fixed and _same_factor(filled, own))


def _is_cosine(loss: Loss) -> bool:
    return "cosine" in (loss.stated("similarity"), loss.stated("distance"))


def _same_factor(theirs: Loss, own: Loss) -> bool:
    factors = [loss.factor for loss in (theirs, own)]
    if abs(factors[0] - factors[1]) > 1e-9 * abs(factors[1]):
        return False
    plain: dict[str, Any] = {"scale": 1.0}
    if "scale_by" in own.declarations:
        plain["scale_by"] = "constant"
    return type(theirs) is type(own) and equal(replace(theirs, **plain), replace(own, **plain))

"""What a target is expected to be, and how what it is differs from that."""

import ast
from dataclasses import dataclass, fields

from nearfar.check.identity.alike import (
    canonical,
    equal,
    equal_values,
    free_numbers,
    with_numbers_of,
)
from nearfar.check.identity.identify import SMALL, Identity
from nearfar.check.identity.implementations import is_preset
from nearfar.check.identity.space import NORMALISED
from nearfar.check.target.targets import BadRequest
from nearfar.losses import LOSSES, Loss, key_of
from nearfar.presets import Preset, describe, preset, table


@dataclass(frozen=True)
class Expected:
    """A loss whose numbers are free where nobody named them, and what the form leaves open."""

    loss: Loss
    free: frozenset[str]
    row: Preset | None = None

    def matches(self, identity: Identity) -> bool:
        if self.row is not None:
            return is_preset(identity, self.row, self.free)
        found = identity.exact
        if found is None or identity.statement is None or identity.statement.swapped:
            return False
        own, expected = canonical(found), canonical(self.loss)
        return equal(with_numbers_of(expected, own, self.free | identity.indifferent), own)


def read_expected(text: str) -> Expected:
    """A name of a loss, with fields or without."""
    try:
        node = ast.parse(text.strip(), mode="eval").body
        call = node if isinstance(node, ast.Call) else None
        name = ast.unparse(call.func) if call else text.strip()
        named = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords} if call else {}
    except (SyntaxError, ValueError):
        name, named, call = text.strip(), {}, None
    cls = LOSSES.get(key_of(name))
    if cls is None and text.strip().lower() in (row.name.lower() for row in table()):
        return _preset(text.strip())
    if cls is None or (call is not None and call.args):
        known = ", ".join(sorted(c.__name__ for c in LOSSES.values()))
        raise BadRequest(
            f"expected a loss such as SupCon or SupCon(average='pairs'), one of {known}, or a "
            f"name that nearfar presets lists; received {text!r}"
        )
    try:
        loss = cls(**named)
    except TypeError as error:
        raise BadRequest(f"{text!r}: {error}; nearfar losses {name} shows its fields") from error
    return Expected(loss, free_numbers(loss) - set(named))


def _preset(name: str) -> Expected:
    try:
        loss = preset(name)
    except ValueError as error:
        raise BadRequest(str(error)) from error
    return Expected(loss, free_numbers(loss), describe(name))


def compare(identity: Identity, expected: Expected) -> tuple[bool, tuple[str, ...]]:
    """Whether it is; and what would make it so."""
    if identity.statement is None or not identity.sure:
        return False, ()
    if expected.matches(identity):
        return True, ()
    return False, tuple(_differences(identity, expected))


def _differences(identity: Identity, expected: Expected) -> list[str]:
    assert identity.statement is not None
    row = expected.row
    statement = identity.statement
    unit = statement.changes == (NORMALISED,)
    own = canonical(statement.loss, unit)
    wanted = canonical(expected.loss, row is not None and row.normalises)
    if type(own) is not type(wanted):
        return [f"another loss: {own} instead of {wanted}"]
    free = expected.free | identity.indifferent
    filled = with_numbers_of(wanted, own, free)
    found = []
    for field in fields(wanted):
        is_, should = getattr(own, field.name), getattr(filled, field.name)
        if equal_values(is_, should):
            continue
        if field.name == "scale":
            found.append(f"divide by {is_ / should:.6g}")
        else:
            found.append(f"{field.name} is {is_!r}, expected {should!r}")
    if statement.swapped:
        found.append("call it with the inputs swapped")
    if row is not None:
        if row.queue != (identity.kind in ("queue", "own")):
            found.append(f"negatives come from {'a queue' if row.queue else 'the batch'} there")
        if row.normalises and not unit:
            found.append("rows are normalised there")
        if row.normalises and unit:
            return found
    changes = [f"undo: {change}" for change in statement.changes]
    if identity.small and identity.deviation > SMALL:
        changes.append("undo: something small is added")
    return [*found, *changes]

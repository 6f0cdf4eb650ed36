"""A loss that is stated by its own fields as itself."""

from dataclasses import replace
from typing import Any

from nearfar.check.identity.naming.statement import Statement
from nearfar.check.identity.naming.words import divided
from nearfar.check.identity.space import OWN, Stated


def name_stated(shape: Stated, divisor: str, kind: str, parameter: float) -> Statement:
    changed: dict[str, Any] = {shape.field: parameter} if shape.field else {}
    changes = [shape.slip] if shape.slip else []
    if divisor != OWN:
        changed["reduction"] = "sum"
        changes += divided(divisor, "nothing")
    return Statement(replace(shape.loss, **changed), tuple(changes))

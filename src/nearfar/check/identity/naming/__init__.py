"""A convention of the space in nearfar's words: a loss, and what that loss would have to change."""

from dataclasses import replace
from typing import Any

from nearfar.check.identity.matching import Match
from nearfar.check.identity.naming.logits import name_hard, name_ranks, name_sigmoid
from nearfar.check.identity.naming.margins import name_pairs, name_triplets
from nearfar.check.identity.naming.softmax import name_softmax
from nearfar.check.identity.naming.stated import name_stated
from nearfar.check.identity.naming.statement import Statement
from nearfar.check.identity.space import (
    Hard,
    Pairs,
    Ranks,
    Sigmoid,
    Softmax,
    Stated,
    Triplets,
)

__all__ = ["Statement", "state"]


def state(match: Match, kind: str, parameter: float) -> Statement:
    """Name a match whose temperature or margin is `parameter`."""
    value = parameter if match.fixed is None else match.fixed
    made = _NAMERS[type(match.shape)](match.shape, match.divisor, kind, value)
    loss, changes = made.loss, list(made.changes)
    changed: dict[str, Any] = {"scale": _neat(match.factor * loss.scale)}
    if match.power == 1 and "scale_by" in loss.declarations:
        changed["scale_by"] = "temperature"
    elif match.power:
        changed["scale"] = _neat(changed["scale"] * parameter**match.power)
        factor = match.factor * made.loss.scale
        times = "" if abs(factor - 1) < 1e-9 else f"{factor:.6g} x "
        changes.append(f"the factor is {times}{'' if match.power == 1 else '1 / '}temperature")
    return Statement(replace(loss, **changed), tuple(changes), made.swapped)


def _neat(x: float) -> float:
    short = float(f"{x:.6g}")
    return short if abs(short - x) <= 1e-9 * abs(x) else x


_NAMERS: dict[type, Any] = {
    Softmax: name_softmax, Ranks: name_ranks, Hard: name_hard, Sigmoid: name_sigmoid,
    Triplets: name_triplets, Pairs: name_pairs, Stated: name_stated,
}  # fmt: skip

"""Which loss a target is: its values held against every convention of the space."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from nearfar.check.batches import Batch, Floats
from nearfar.check.finding import FAULT, Finding
from nearfar.check.identity.anchors import PER_ANCHOR, arrangement
from nearfar.check.identity.gathering import Gathered, by_columns, gather
from nearfar.check.identity.matching import SCREEN, Evidence, Match
from nearfar.check.identity.naming import Statement, state
from nearfar.check.identity.search import LIKELY, UNLIKELY, Search
from nearfar.check.identity.space import Ranks, Stack, shapes_for
from nearfar.check.identity.telling import tell_apart
from nearfar.check.target.calls import Runner
from nearfar.check.target.probing import Parameter, Probe
from nearfar.losses import Loss

NEAR = 0.05  # relative, within which a convention says something of a function that is none
CLAUSES = 2  # beyond which it says nothing to a reader
SMALL = 1e-5  # relative: what is added and moves a value by less leaves the loss what it is


@dataclass(frozen=True)
class Identity:
    """What a target is, and how sure that is."""

    statement: Statement | None  # None: none that is known
    sure: bool
    batches: int = 0
    held_back: int = 0
    values: int = 0
    deviation: float = np.inf
    tolerance: float = np.nan
    small: bool = False  # something is added that the values show, and that is no convention
    verified: bool = False  # by calling the loss of nearfar itself
    rivals: tuple[str, ...] = ()
    nearest: tuple[tuple[str, float], ...] = ()
    match: Match | None = None
    vector: bool = False
    fixed: bool = False  # the temperature or margin is a constant of the code
    unit: bool = False  # of unit rows, which it does not make itself
    evidence: Evidence | None = field(default=None, repr=False)

    @property
    def exact(self) -> Loss | None:
        """The loss of nearfar that it equals, factor included; None where there is none."""
        if self.statement is None or self.statement.changes or not self.sure:
            return None
        return None if self.small and self.deviation > SMALL else self.statement.loss

    @property
    def kind(self) -> str:
        """Of the batches that it was held against."""
        return self.evidence.stack.batches[0].kind if self.evidence else ""

    @property
    def indifferent(self) -> frozenset[str]:
        """Fields that change nothing in its call form: with two views no anchor is alone."""
        return frozenset({"without_positives"} if self.kind == "labelled_views" else ())


@dataclass(frozen=True)
class Identified:
    """An identity, the form that it was found in, and how its parameter is read."""

    identity: Identity
    probe: Probe
    parameter: Parameter | None
    findings: list[Finding]

    @property
    def rank(self) -> tuple[bool, bool, float, int]:
        """The lower the better; of what is far from everything the form with most numbers."""
        identity = self.identity
        near = identity.nearest[0][1] if identity.nearest else np.inf
        near = near if near < NEAR else np.inf
        known = identity.statement is not None
        return (not known, not identity.sure, 0.0 if known else near, -identity.values)


def identify(
    runner: Runner,
    probes: list[Probe],
    parameter: Parameter | None,
    numbers: Mapping[str, float],
    count: int,
    seed: int,
) -> Identified:
    """Hold a target against the space in each form it ran in; the first that fits is its own."""
    gathered = _apart([gather(runner, found, parameter, count, seed) for found in probes])
    best: Identified | None = None
    for form, solve in _tries([_Form(told, numbers) for told in gathered]):
        found = form.identify(solve)
        if best is None or found.rank < best.rank:
            best = found
        if found.identity.statement is not None and found.identity.sure:
            return found
    assert best is not None
    return best


def _apart(gathered: list[Gathered]) -> list[Gathered]:
    """Without forms that say the same as one before: targets in a row and in a column."""
    found: list[Gathered] = []
    for told in gathered:
        if not any(told.says_as(other) for other in found):
            found.append(told)
    return found


@dataclass(frozen=True)
class _Form:
    """A target in one of its forms, held against the space in several rounds."""

    told: Gathered
    numbers: Mapping[str, float]

    @cached_property
    def _search(self) -> Search:
        evidence, given = self.told.evidence, self.told.parameter
        assert evidence is not None
        varied = (given.kind, given.name.lower()) if given else None
        shapes = shapes_for(evidence.stack, self.told.probe.form.name, self.numbers, varied)
        return Search(evidence, shapes)

    def identify(self, solve: tuple[float, float] | None) -> Identified:
        told, evidence, more = self.told, self.told.evidence, list[Finding]()
        if evidence is None:
            identity = Identity(None, False)
        elif not evidence.depends:
            identity = judge(evidence, [], [], told.vectors)
        else:
            matches, rivals = self._search.matches(solve), list[Match]()
            if matches and matches[0].deviation <= evidence.tolerances[-1]:
                matches, rivals = tell_apart(told, matches)
                if told.probe.form.kind == "targets":
                    matches, more = by_columns(told, matches)
                    rivals = [m for m in rivals if m in matches]
            identity = judge(evidence, matches, rivals, told.vectors)
            identity = _at_other_numbers(told, identity, self.numbers)
        identity = replace(identity, unit=told.probe.unit)
        if told.infinite is not None:
            why = _why_infinite(told, identity)
            more = [*more, Finding("run", FAULT, told.infinite.text + why)]
        return Identified(identity, told.probe, told.parameter, told.findings + more)


def _tries(forms: list[_Form]) -> Iterator[tuple[_Form, tuple[float, float] | None]]:
    """What is likely in any form comes before what is unlikely in the first.

    What a temperature else may be to a loss takes little, as nothing is solved for.
    """
    for form in forms:
        told = form.told
        others = told.parameter.others if told.parameter else ()
        if told.evidence is not None and others:
            yield form, None
            yield from ((replace(form, told=told.read_as(reading)), None) for reading in others)
    yield from ((form, LIKELY) for form in forms)
    if any(form.told.probe.unit for form in forms):
        return
    # A form of which it reads every input is nearer to its own than one with an input unread.
    read = [form for form in forms if not form.told.unread]
    yield from ((form, UNLIKELY) for form in read or forms)


def _why_infinite(told: Gathered, identity: Identity) -> str:
    """What the batches that give no number have in common, where that is what has been found."""
    assert told.infinite is not None
    stack = Stack(told.infinite.batches)
    if stack.kind == "labels":
        alone = ~(stack.positives.any(axis=2) | ~stack.anchors).all(axis=1)
        same = np.array_equal(alone, told.infinite.where)
        return ", those with an anchor that has no positive" if same else ""
    shape = identity.match.shape if identity.match else None
    if not (identity.sure and isinstance(shape, Ranks)):
        return ""
    if np.array_equal(shape.empty(stack).any(axis=(1, 2)), told.infinite.where):
        return f", as this convention has to: {shape.why_empty()}"
    return ""


def judge(
    evidence: Evidence, found: list[Match], rivals: list[Match], vectors: list[list[Floats]]
) -> Identity:
    """What the matches say: one loss, several that these batches do not tell apart, or none."""
    asked, kind = float(evidence.given[-1]), evidence.stack.kind
    vector = any(v.size > 1 for row in vectors for v in row)
    best = found[0] if found else None
    facts: dict[str, Any] = {
        "batches": len(evidence.stack),
        "values": evidence.values.size,
        "held_back": max(len(evidence.stack) - SCREEN, 0),
        "vector": vector,
        "evidence": evidence,
    }
    if best is None or best.deviation > evidence.tolerances[-1]:
        return Identity(None, False, nearest=_nearest(found, kind, asked), **facts)
    tolerance = next(t for t in evidence.tolerances if best.deviation <= t)
    statement = state(best, kind, asked)
    named = dict.fromkeys(str(state(m, kind, asked)) for m in rivals)
    others = tuple(name for name in named if name != str(statement))
    if vector:
        manner = arrangement(best, evidence, vectors)
        statement, others = _as_vector(statement, manner, best, kind, others)
    verified = not statement.changes and _verify(statement, best, evidence, vector)
    sure = not others and facts["held_back"] > 0 and (verified or bool(statement.changes))
    # Three tolerances are those of float64, in which rounding is far below the first.
    small = len(evidence.tolerances) == 3 and best.deviation > evidence.tolerances[0]
    return Identity(
        statement, sure, deviation=best.deviation, tolerance=tolerance, verified=verified,
        rivals=others, match=best, fixed=best.fixed is not None, small=small, **facts,
    )  # fmt: skip


def _nearest(found: list[Match], kind: str, asked: float) -> tuple[tuple[str, float], ...]:
    kept: dict[str, float] = {}
    for match in found:
        statement = state(match, kind, asked)
        if match.deviation <= NEAR and len(statement.changes) <= CLAUSES:
            kept.setdefault(str(statement), match.deviation)
    return tuple(list(kept.items())[:3])


def _as_vector(
    statement: Statement, manner: str | None, match: Match, kind: str, rivals: tuple[str, ...]
) -> tuple[Statement, tuple[str, ...]]:
    loss = replace(statement.loss, reduction="none")
    if manner is None:
        return replace(statement, loss=loss), (*rivals, "the same in sum, but not anchor by anchor")
    if manner == PER_ANCHOR or type(loss).__name__ == "CLIP":
        return replace(statement, loss=loss), rivals
    what = "pair" if kind == "views" else "object"
    how = "sum"
    if abs(abs(loss.scale) - 0.5) < 1e-6:
        loss, how = replace(loss, scale=2 * loss.scale), "mean"
    whose = "its two anchors'" if kind == "views" else "its views'"
    change = f"one value per {what}, the {how} of {whose}"
    return replace(statement, loss=loss, changes=(*statement.changes, change)), rivals


def _verify(statement: Statement, match: Match, evidence: Evidence, vector: bool) -> bool:
    """Whether the loss of nearfar, called on the same batches, gives the same values."""
    loss = replace(statement.loss, reduction="sum") if vector else statement.loss
    for k, value in enumerate(evidence.given):
        at = _at(loss, match, float(value))
        for b, batch in enumerate(evidence.stack.batches):
            found = _value(at, batch, statement.swapped)
            told = evidence.values[k, b]
            if abs(found - told) > 3 * evidence.tolerances[-1] * (abs(told) + 1e-3):
                return False
    return True


def _at_other_numbers(told: Gathered, identity: Identity, numbers: Mapping[str, float]) -> Identity:
    """The same, but for numbers of the target that are the loss's at one value alone."""
    loss, statement = identity.exact, identity.statement
    if loss is None or statement is None:
        return identity
    assert told.evidence is not None
    made = told.evidence.stack.batches[:3]
    changes = []
    for name, value in numbers.items():
        if not value or loss.stated(name) != value:
            continue
        changed: Any = {name: value / 2}
        if identity.vector:
            changed["reduction"] = "sum"
        at = replace(loss, **changed)
        values = told.at_number(name, value / 2, made)
        own = np.array([_value(at, batch, statement.swapped) for batch in made])
        limit = 3 * told.evidence.tolerances[-1] * (np.abs(own) + 1e-3)
        if np.isfinite(values).all() and (np.abs(values - own) > limit).any():
            changes.append(f"its {name} works otherwise: the two agree where it is {value:g}")
    if not changes:
        return identity
    changed_statement = replace(statement, changes=(*statement.changes, *changes))
    return replace(identity, statement=changed_statement, verified=False)


def _value(loss: Loss, batch: Batch, swapped: bool) -> float:
    return float(batch.value_of(loss, swapped))


def _at(loss: Loss, match: Match, value: float) -> Loss:
    if match.fixed is not None or not match.field:
        return loss
    changed: Any = {match.field: value}
    return replace(loss, **changed)

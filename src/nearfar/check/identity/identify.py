"""Which loss a target is: its values held against every convention of the space."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nearfar.check.batches import Batch, Floats, batches
from nearfar.check.finding import FAULT, NOTE, Finding
from nearfar.check.identity.naming import Statement, state
from nearfar.check.identity.search import SCREEN, Evidence, Match, search
from nearfar.check.identity.space import (
    POWERS,
    Shape,
    Stack,
    hard_shapes,
    pair_shapes,
    rank_shapes,
    sigmoid_shapes,
    softmax_shapes,
    triplet_shapes,
)
from nearfar.check.identity.space.stack import Marks
from nearfar.check.target.calls import Runner
from nearfar.check.target.probing import Parameter, Probe, make_call
from nearfar.losses import Loss

NEAR = 0.1  # relative, within which a convention says something of a function that is none
LEAST = 5  # batches, of which one at least is held back
_VARIED = {"temperature": (0.5, 0.3, 0.9), "margin": (0.5, 0.2, 1.0)}
_GRID = ((0.1, 1.0), (0.1, 0.0), (0.05, 1.0), (0.1, 0.5), (0.1, 2.0), (0.0, 1.0), (0.0, 0.5),
         (0.01, 1.0), (0.2, 1.0), (0.05, 0.0), (0.05, 0.5))  # fmt: skip
_BIASES = (-10.0, 0.0, -5.0)
_TOLERANCES = {"float64": (1e-7, 1e-5, 2e-4)}
_COARSE = (3e-5, 4e-4)


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
    verified: bool = False  # by calling the loss of nearfar itself
    rivals: tuple[str, ...] = ()
    nearest: tuple[tuple[str, float], ...] = ()
    match: Match | None = None
    vector: bool = False
    fixed: bool = False  # the temperature or margin is a constant of the code
    evidence: Evidence | None = field(default=None, repr=False)

    @property
    def exact(self) -> Loss | None:
        """The loss of nearfar that it equals, factor included; None where there is none."""
        if self.statement is None or self.statement.changes or not self.sure:
            return None
        return self.statement.loss

    @property
    def indifferent(self) -> frozenset[str]:
        """Fields that change nothing in its call form: with two views no anchor is alone."""
        kinds = {batch.kind for batch in self.evidence.stack.batches} if self.evidence else set()
        return frozenset({"without_positives"} if kinds == {"labelled_views"} else ())


def shapes_for(kind: str, parts: int, numbers: dict[str, float]) -> Iterator[Shape]:
    """The space, for a kind of stack."""
    if kind == "triplets":
        yield from triplet_shapes(given=True)
        return
    if kind == "targets":
        yield from rank_shapes(parts, POWERS)
        return
    yield from softmax_shapes(kind, parts, POWERS)
    if kind == "labels":
        yield from triplet_shapes(given=False)
        yield from pair_shapes()
    if kind == "views":
        told = [(numbers.get("tau_plus", t), numbers.get("beta", b)) for t, b in _GRID]
        yield from hard_shapes(parts, dict.fromkeys(told))
        yield from sigmoid_shapes(parts, [numbers["bias"]] if "bias" in numbers else _BIASES)


def identify(
    runner: Runner,
    probes: list[Probe],
    parameter: Parameter | None,
    numbers: dict[str, float],
    count: int,
    seed: int,
) -> tuple[Identity, Probe, list[Finding]]:
    """Hold a target against the space in each form it ran in; the first that fits is its own."""
    best: tuple[Identity, Probe, list[Finding]] | None = None
    gathered = [_gather(runner, found, parameter, count, seed) for found in probes]
    # What is likely in any form comes before what is unlikely in the first.
    for thorough in (False, True):
        for found, (evidence, vectors, findings) in zip(probes, gathered, strict=True):
            more: list[Finding] = []
            if evidence is None:
                identity = Identity(None, False)
            elif not evidence.depends:
                identity = judge(evidence, [], vectors)
            else:
                stack = evidence.stack
                shapes = shapes_for(stack.kind, stack.parts, numbers)
                matches = search(evidence, shapes, thorough)
                if found.form.kind == "targets":
                    matches, more = _by_columns(runner, found, parameter, evidence, matches)
                identity = judge(evidence, matches, vectors)
            if best is None or _rank(identity) < _rank(best[0]):
                best = identity, found, findings + more
            if identity.statement is not None and identity.sure:
                return best
    assert best is not None
    return best


def _rank(identity: Identity) -> tuple[bool, bool, float]:
    near = identity.nearest[0][1] if identity.nearest else np.inf
    # What is far from everything is as far in the likeliest form, the first.
    near = near if near < NEAR else np.inf
    return (identity.statement is None, not identity.sure, 0.0 if identity.statement else near)


def varied(parameter: Parameter | None) -> Floats:
    """Values at which the target is run; the one that is asked about is the last."""
    if parameter is None:
        return np.array([1.0])
    usual = [x for x in _VARIED[parameter.kind] if abs(x - parameter.default) > 1e-9]
    return np.array([*usual, parameter.default])


Gathered = tuple[Evidence | None, list[list[Floats]], list[Finding]]


def _gather(
    runner: Runner, probe: Probe, parameter: Parameter | None, count: int, seed: int
) -> Gathered:
    """Values of a target in one form; no evidence where too few are finite."""
    given = varied(parameter)
    made = batches(probe.form.kind, count, seed)
    values, each, failed = run_values(runner, probe, parameter, given, made)
    findings = [Finding("run", level, text) for level, text in failed]
    usable: Marks = np.asarray(np.isfinite(values).all(axis=0))
    if usable.sum() < min(LEAST, count):
        return None, [], findings
    stack = Stack([b for b, good in zip(made, usable, strict=True) if good])
    tolerances = _TOLERANCES.get(probe.outcome.dtype, _COARSE)
    if probe.dtype != "float64":
        tolerances = _COARSE
    kind = parameter.kind if parameter else None
    depends, more = _depends(runner, probe, parameter, made, values[-1], seed)
    evidence = Evidence(stack, values[:, usable], kind, given, tolerances, depends)
    findings += more
    vectors = [[v for v, good in zip(row, usable, strict=True) if good] for row in each]
    return evidence, vectors, findings


def _depends(
    runner: Runner,
    probe: Probe,
    parameter: Parameter | None,
    made: list[Batch],
    values: Floats,
    seed: int,
) -> tuple[bool, list[Finding]]:
    """Whether its value comes of the embeddings: other ones must move it, the same ones must not.

    A number that does not move would be explained by any convention that vanishes somewhere.
    """
    others = batches(probe.form.kind, len(made), seed + 1)
    moved = [Batch(b.kind, o.parts, b.facts) for b, o in zip(made, others, strict=True)]
    found, _, _ = run_values(runner, probe, parameter, varied(parameter)[-1:], [*moved, made[0]])
    apart, again = np.abs(found[0, :-1] - values), found[0, -1]
    if not (apart > 1e-9 * np.abs(values)).any():
        text = f"the value does not depend on the embeddings: {values[0]:.6g} for any of a shape"
        return False, [Finding("run", FAULT, text)]
    if abs(again - values[0]) > 1e-3 * abs(values[0]):
        text = (
            f"two calls on the same arrays give {values[0]:.6g} and {again:.6g}: it is random, or "
            "keeps something between calls"
        )
        return True, [Finding("run", NOTE, text)]
    return True, []


def _by_columns(
    runner: Runner,
    probe: Probe,
    parameter: Parameter | None,
    evidence: Evidence,
    found: list[Match],
) -> tuple[list[Match], list[Finding]]:
    """How targets of several columns are compared, which those of one do not tell."""
    made = batches("wide_targets", 3)
    values, _, _ = run_values(runner, probe, parameter, evidence.given, made)
    if np.isfinite(values).all():
        stack = Stack(made)
        agreeing = [
            m for m in found
            if np.allclose(m.values(stack, evidence.given), values, rtol=evidence.tolerances[-1])
        ]  # fmt: skip
        if agreeing:
            return agreeing, []
    first = [m for m in found if getattr(m.shape, "label_distance", "l1") == "l1"]
    text = "targets of several columns are not taken, or not compared by l1 or l2"
    return first or found, [Finding("identity", NOTE, text)]


def run_values(
    runner: Runner, probe: Probe, parameter: Parameter | None, given: Floats, made: list[Batch]
) -> tuple[Floats, list[list[Floats]], list[tuple[str, str]]]:
    """Values (T, B), those of anchors where it gives them, and what went wrong."""
    calls = [
        make_call(probe.form, batch, probe.framework, probe.dtype,
                  parameter.arguments(float(value)) if parameter else {})
        for value in given for batch in made
    ]  # fmt: skip
    outcomes = runner.run(calls)
    values = np.full(len(calls), np.nan)
    each: list[Floats] = []
    failed: dict[tuple[str, str], int] = {}
    for k, outcome in enumerate(outcomes):
        each.append(np.zeros(0) if outcome.value is None else outcome.value)
        if outcome.finite:
            assert outcome.value is not None
            values[k] = outcome.value.sum()
        elif outcome.value is not None:
            key = (FAULT, "gives NaN or infinity for ordinary batches")
            failed[key] = failed.get(key, 0) + 1
        else:
            level = FAULT if outcome.died else NOTE
            key = (level, f"fails on batches of this form: {outcome.error or outcome.died}")
            failed[key] = failed.get(key, 0) + 1
    listed = [
        (level, f"{text} ({number} of {len(calls)} calls)")
        for (level, text), number in failed.items()
    ]
    rows = [each[k : k + len(made)] for k in range(0, len(calls), len(made))]
    return values.reshape(len(given), len(made)), rows, listed


def judge(evidence: Evidence, found: list[Match], vectors: list[list[Floats]]) -> Identity:
    """What the matches say: one loss, several that these batches do not tell apart, or none."""
    asked, kind = float(evidence.given[-1]), evidence.stack.kind
    vector = any(v.ndim == 1 and v.size > 1 for row in vectors for v in row)
    best = found[0] if found else None
    facts: dict[str, Any] = {
        "batches": len(evidence.stack),
        "values": evidence.values.size,
        "held_back": max(len(evidence.stack) - SCREEN, 0),
        "vector": vector,
        "evidence": evidence,
    }
    if best is None or best.deviation > evidence.tolerances[-1]:
        near = _nearest(found, kind, asked)
        return Identity(None, False, nearest=near, **facts)
    tolerance = next(t for t in evidence.tolerances if best.deviation <= t)
    others = _others(found, evidence)
    statement = state(best, kind, asked)
    if vector:
        statement = _as_vector(statement)
    rivals = tuple(dict.fromkeys(str(state(m, kind, asked)) for m in others))
    verified = not statement.changes and _verify(statement, best, evidence, vectors, vector)
    sure = not rivals and facts["held_back"] > 0 and (
        verified or bool(statement.changes)
    )  # fmt: skip
    if vector and not _agree_each(best, evidence, vectors):
        sure = False
        rivals += ("the same in sum, but not anchor by anchor",)
    return Identity(
        statement, sure, deviation=best.deviation, tolerance=tolerance, verified=verified,
        rivals=rivals, match=best, fixed=best.fixed is not None, **facts,
    )  # fmt: skip


def _nearest(found: list[Match], kind: str, asked: float) -> tuple[tuple[str, float], ...]:
    kept: dict[str, float] = {}
    for match in found:
        kept.setdefault(str(state(match, kind, asked)), match.deviation)
    return tuple(list(kept.items())[:3])


def _as_vector(statement: Statement) -> Statement:
    loss = replace(statement.loss, reduction="none")
    return replace(statement, loss=loss)


def _others(found: list[Match], evidence: Evidence) -> list[Match]:
    """Matches that are another function than the first, on batches which it has not seen."""
    given = evidence.given
    fresh = Stack(batches(evidence.stack.batches[0].kind, 9, seed=977))
    first = found[0].values(fresh, given)
    others: list[Match] = []
    size = np.abs(first) + 1e-9
    for match in found[1:]:
        values = match.values(fresh, given)
        with np.errstate(invalid="ignore"):
            near = np.abs(values - first) <= 10 * evidence.tolerances[0] * size
        if not near.all():
            others.append(match)
    return others


def _verify(
    statement: Statement,
    match: Match,
    evidence: Evidence,
    vectors: list[list[Floats]],
    vector: bool,
) -> bool:
    """Whether the loss of nearfar, called on the same batches, gives the same values."""
    loss = replace(statement.loss, reduction="sum") if vector else statement.loss
    for k, value in enumerate(evidence.given):
        at = _at(loss, match, float(value))
        for b, batch in enumerate(evidence.stack.batches):
            parts = batch.parts[::-1] if statement.swapped else batch.parts
            facts = () if batch.facts is None else (batch.facts,)
            found = float(at(*parts, *facts))
            told = evidence.values[k, b]
            if abs(found - told) > 3 * evidence.tolerances[-1] * (abs(told) + 1e-3):
                return False
    return True


def _at(loss: Loss, match: Match, value: float) -> Loss:
    if match.fixed is not None or match.shape.parameter is None:
        return loss
    changed: Any = {match.shape.parameter: value}
    return replace(loss, **changed)


def _agree_each(match: Match, evidence: Evidence, vectors: list[list[Floats]]) -> bool:
    each = match.each(evidence.stack, evidence.given)
    for k, row in enumerate(vectors):
        for b, told in enumerate(row):
            group = evidence.stack.anchors[b]
            own = each[k, b][group]
            if len(told) * 2 == len(own):
                half = own[: len(told)] + own[len(told) :]
                candidates = [half]
            else:
                candidates = [own]
            if not any(
                c.shape == told.shape and np.allclose(c, told, rtol=1e-3, atol=1e-5)
                for c in candidates
            ):
                return False
    return True


def describe(identity: Identity) -> str:
    """In one line."""
    if identity.statement is None:
        return "none that nearfar knows"
    return str(identity.statement.loss)

"""What a target gives on batches of its form: the values that conventions are held against."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from nearfar.check.batches import Batch, Floats, batches, whole
from nearfar.check.finding import FAULT, NOTE, Finding
from nearfar.check.identity.matching import Evidence, Match
from nearfar.check.identity.space import Stack
from nearfar.check.identity.space.stack import Marks
from nearfar.check.target.calls import Runner
from nearfar.check.target.probing import Parameter, Probe, Reading, make_call
from nearfar.check.target.targets import NUMBERS

LEAST = 5  # batches, of which one at least is held back
_VARIED = {"temperature": (0.5, 0.3, 0.9), "margin": (0.5, 0.2, 1.0)}
_TOLERANCES = {"float64": (1e-7, 1e-5, 2e-4)}
_COARSE = (3e-5, 4e-4)

_PARTS = {
    "views": ("first view", "second view"),
    "queue": ("query", "key", "queue"),
    "own": ("query", "key", "negatives"),
    "triplets": ("anchor", "positive", "negative"),
    "rows": ("embeddings",),
    "proxies": ("embeddings", "proxies"),
    "centres": ("embeddings", "proxies"),
    "scored": ("first side", "second side"),
    "ids": ("first side", "second side"),
    "guided": ("first side", "second side"),
    "guided_own": ("query", "key", "negatives"),
    "reference": ("embeddings", "reference"),
}
_FACTS = {
    **{k: "labels" for k in ("labels", "labelled_views", "proxies", "centres", "reference")},
    "ids": "ids",
    "matrix": "weights",
    "marks": "labels",
}


@dataclass(frozen=True)
class Gathered:
    """A target in one of its forms."""

    runner: Runner
    probe: Probe
    parameter: Parameter | None
    evidence: Evidence | None  # None where too few batches gave a number
    vectors: list[list[Floats]]
    findings: list[Finding]
    infinite: "Infinite | None" = None
    unread: tuple[str, ...] = ()  # inputs that the value does not depend on

    def says_as(self, other: "Gathered") -> bool:
        """Whether another form of the same batches gave the same."""
        one, two = self.evidence, other.evidence
        return (
            self.probe.form.kind == other.probe.form.kind
            and one is not None
            and two is not None
            and one.values.shape == two.values.shape
            and np.allclose(one.values, two.values, rtol=one.tolerances[0], atol=0)
        )

    def values(self, made: list[Batch]) -> Floats:
        """Values on other batches at the parameters of the evidence, (T, B), NaN for none."""
        assert self.evidence is not None
        return _run(self.runner, self.probe, self.parameter, self.evidence.given, made).values

    def at_number(self, name: str, value: float, made: list[Batch]) -> Floats:
        """Values (B,) with another tau_plus, beta or bias than its own."""
        argument = self.runner.target.parameter(NUMBERS[name])
        assert argument is not None
        given, more = varied(self.parameter)[-1:], {argument: value}
        ran = _run(self.runner, self.probe, self.parameter, given, made, more)
        return np.asarray(ran.values[0])

    def read_as(self, reading: Reading) -> "Gathered":
        """The same, where its parameter is something else to the loss."""
        assert self.parameter is not None
        assert self.evidence is not None
        given = self.parameter.read_again(self.evidence.given, reading)
        evidence = replace(self.evidence, given=given)
        return replace(self, parameter=self.parameter.read_as(reading), evidence=evidence)


@dataclass(frozen=True)
class Infinite:
    """Ordinary batches, and which of them gave no finite number."""

    batches: list[Batch]
    where: Marks
    text: str


@dataclass(frozen=True)
class _Ran:
    values: Floats
    each: list[list[Floats]]
    failed: list[tuple[str, str]]


def varied(parameter: Parameter | None) -> Floats:
    """Values at which the target is run; the one that is asked about is the last."""
    if parameter is None:
        return np.array([1.0])
    usual = [x for x in _VARIED[parameter.kind] if abs(x - parameter.default) > 1e-9]
    return np.array([*usual, parameter.default])


def gather(
    runner: Runner, probe: Probe, parameter: Parameter | None, count: int, seed: int
) -> Gathered:
    """Values of a target in one form; no evidence where too few are finite."""
    given = varied(parameter)
    made = batches(probe.form.kind, count, seed)
    ran = _run(runner, probe, parameter, given, made)
    usable: Marks = np.asarray(np.isfinite(ran.values).all(axis=0))
    infinite = None
    failed = ran.failed
    if usable.sum() < min(LEAST, count) and not (usable.any() and probe.outcome.died):
        others = [whole(batch) for batch in made]
        again = _run(runner, probe, parameter, given, others)
        finite: Marks = np.asarray(np.isfinite(again.values).all(axis=0))
        if finite.sum() >= min(LEAST, count):
            sort = "infinity" if np.isinf(ran.values).any() else "NaN"
            infinite = Infinite(made, ~usable, f"gives {sort} on ordinary batches")
            made, ran, usable, failed = others, again, finite, again.failed
    findings = [Finding("run", level, text) for level, text in failed]
    if usable.sum() < min(LEAST, count):
        return Gathered(runner, probe, parameter, None, [], findings)
    stack = Stack([b for b, good in zip(made, usable, strict=True) if good])
    tolerances = _TOLERANCES.get(probe.outcome.dtype, _COARSE)
    if probe.dtype != "float64":
        tolerances = _COARSE
    depends, unread, more = _depends(runner, probe, parameter, made, ran.values[-1], seed)
    evidence = Evidence(
        stack,
        ran.values[:, usable],
        parameter.kind if parameter else None,
        given,
        tolerances,
        depends,
    )
    vectors = [[v for v, good in zip(row, usable, strict=True) if good] for row in ran.each]
    return Gathered(runner, probe, parameter, evidence, vectors, findings + more, infinite, unread)


@np.errstate(invalid="ignore")
def _depends(
    runner: Runner,
    probe: Probe,
    parameter: Parameter | None,
    made: list[Batch],
    values: Floats,
    seed: int,
) -> tuple[bool, tuple[str, ...], list[Finding]]:
    """Whether its value comes of the embeddings: other ones must move it, the same ones must not.

    A number that does not move would be explained by any convention that vanishes somewhere, and
    one that moves by itself by none.
    """
    given = varied(parameter)[-1:]
    others = batches(probe.form.kind, len(made), seed + 1)
    moved = [replace(b, parts=o.parts) for b, o in zip(made, others, strict=True)]
    found = _run(runner, probe, parameter, given, [*moved, made[0]]).values
    apart, again = np.abs(found[0, :-1] - values), found[0, -1]
    if not (apart > 1e-9 * np.abs(values)).any():
        text = f"the value does not depend on the embeddings: {values[0]:.6g} for any of a shape"
        return False, (), [Finding("run", FAULT, text)]
    if abs(again - values[0]) > 1e-3 * abs(values[0]):
        text = (
            f"two calls on the same arrays give {values[0]:.6g} and {again:.6g}: it is random, or "
            "keeps something between calls"
        )
        return False, (), [Finding("run", NOTE, text)]
    unread = []
    few = range(min(3, len(made)))
    for name, changed in _one_moved([made[k] for k in few], [others[k] for k in few]):
        moved_values = _run(runner, probe, parameter, given, changed).values[0]
        size = np.abs(values[: len(few)])
        if (np.abs(moved_values - values[: len(few)]) <= 1e-9 * size).all():
            unread.append(name)
    text = "the value does not depend on the {}: any others give the same"
    return True, tuple(unread), [Finding("run", FAULT, text.format(name)) for name in unread]


def _one_moved(made: list[Batch], others: list[Batch]) -> Iterator[tuple[str, list[Batch]]]:
    """For each input, batches in which it alone is another."""
    kind = made[0].kind
    if made[0].facts is not None:
        turned = []
        for batch in made:
            assert batch.facts is not None
            # By two, so that the views of an object keep one label.
            turned.append(replace(batch, facts=np.roll(batch.facts, 2)))
        yield _FACTS.get(kind, "targets"), turned
    for k, name in enumerate(_PARTS.get(kind, ())):
        yield (
            name,
            [
                replace(b, parts=(*b.parts[:k], o.parts[k], *b.parts[k + 1 :]))
                for b, o in zip(made, others, strict=True)
            ],
        )


def by_columns(gathered: Gathered, found: list[Match]) -> tuple[list[Match], list[Finding]]:
    """How targets of several columns are compared, which those of one do not tell."""
    evidence = gathered.evidence
    assert evidence is not None
    made = batches("wide_targets", 3)
    values = gathered.values(made)
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


def _run(
    runner: Runner,
    probe: Probe,
    parameter: Parameter | None,
    given: Floats,
    made: list[Batch],
    more: Mapping[str, float] | None = None,
) -> _Ran:
    """Values (T, B), those of anchors where it gives them, and what went wrong."""
    calls = [
        make_call(
            probe,
            batch,
            {**(parameter.arguments(float(value)) if parameter else {}), **(more or {})},
        )
        for value in given
        for batch in made
    ]
    outcomes = runner.run(calls)
    values = np.full(len(calls), np.nan)
    each: list[Floats] = []
    failed: dict[tuple[str, str], int] = {}
    for k, outcome in enumerate(outcomes):
        each.append(np.zeros(0) if outcome.value is None else outcome.value)
        if outcome.value is not None:
            values[k] = outcome.value.sum()
        if outcome.value is not None and not outcome.finite:
            key = (FAULT, "gives NaN or infinity for ordinary batches")
            failed[key] = failed.get(key, 0) + 1
        elif outcome.value is None:
            level = FAULT if outcome.died else NOTE
            key = (level, f"fails on some batches: {outcome.error or outcome.died}")
            failed[key] = failed.get(key, 0) + 1
    listed = [
        (level, f"{text} ({number} of {len(calls)} calls)")
        for (level, text), number in failed.items()
    ]
    rows = [each[k : k + len(made)] for k in range(0, len(calls), len(made))]
    return _Ran(values.reshape(len(given), len(made)), rows, listed)

"""Where a target stops being right: low temperatures, long rows, short dtypes, strange batches."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nearfar.check.batches import Batch, Floats, batches
from nearfar.check.finding import FAULT, NOTE, Finding
from nearfar.check.identity.identify import Identity
from nearfar.check.soundness.reference import Reference
from nearfar.check.target.adapters import DTYPES, coarser
from nearfar.check.target.calls import Outcome, Runner
from nearfar.check.target.probing import Parameter, Probe, make_call

TEMPERATURES = (1.0, 0.5, 0.2, 0.1, 0.07, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
SCALES = (1.0, 10.0, 100.0, 1e3, 1e4, 1e6, 1e9, 1e12, 1e15, 1e18, 1e20)
NEEDED = 0.01  # the temperature that a sound loss reaches in its framework's usual dtype
_ROUNDING = {"float64": 2.2e-16, "float32": 1.2e-7, "bfloat16": 7.8e-3, "float16": 9.8e-4}
_STEPS_OFF = {"float64": 100, "float32": 100, "bfloat16": 8, "float16": 8}
_LARGEST = {"float64": 1e308, "float32": 3e38, "bfloat16": 3e38, "float16": 6e4}
_WRONG_GRADIENT = "the gradient is wrong"

Facts = dict[str, Any]


@dataclass(frozen=True)
class _Setting:
    runner: Runner
    probe: Probe
    parameter: Parameter | None
    reference: Reference
    seed: int
    gradients: bool = True  # False: they are wrong from the start, which is told elsewhere

    @property
    def usual(self) -> str:
        """The dtype that people use there."""
        return "float64" if self.probe.framework == "numpy" else "float32"

    @property
    def small(self) -> float:
        """Relative: what is added to the loss, and told elsewhere, is no loss of digits."""
        identity = self.reference.identity
        return 10 * identity.deviation if identity.small else 1e-9

    @property
    def temperature(self) -> float:
        return self.parameter.default if self.parameter else 1.0

    def run(self, batch: Batch, dtype: str, value: float | None = None) -> Outcome:
        value = self.temperature if value is None else value
        arguments = self.parameter.arguments(value) if self.parameter else {}
        with_gradient = self.probe.framework != "numpy"
        call = make_call(replace(self.probe, dtype=dtype), batch, arguments, with_gradient)
        return self.runner.run([call])[0]


def check_stability(
    runner: Runner, probe: Probe, parameter: Parameter | None, identity: Identity, seed: int
) -> tuple[Facts, list[Finding]]:
    """Limits by dtype, and what becomes of batches that have something missing or twice."""
    s = _Setting(runner, probe, parameter, Reference(identity), seed)
    facts: Facts = {"temperature": {}, "scale": {}, "cases": {}}
    findings: list[Finding] = []
    batch = batches(probe.form.kind, 1, seed)[0]
    dtypes = [d for d in DTYPES if s.run(batch, d).value is not None]
    s = replace(s, gradients=_wrong(s, batch, probe.dtype, s.temperature) != _WRONG_GRADIENT)
    if parameter is not None and parameter.kind == "temperature":
        facts["temperature"] = {d: _lowest(s, batch, d) for d in dtypes}
        found = facts["temperature"].get(s.usual)
        if found is not None and not (found[0] is not None and found[0] <= NEEDED):
            text = f"{s.usual}: wrong from temperature {found[1]:g} down ({found[2]})"
            findings.append(Finding("stability", FAULT, text))
    facts["scale"] = {d: _longest(s, batch, d) for d in dtypes}
    for name, case, serious in _cases(probe.form.kind, seed):
        text, bad = _become(s, case)
        facts["cases"][name] = text
        if bad:
            level = FAULT if serious else NOTE
            findings.append(Finding("stability", level, f"{name}: {text}"))
    facts["lines"] = list(_lines(facts))
    return facts, findings


def _lines(facts: Facts) -> Iterator[tuple[str, str]]:
    def limits(key: str, end: float, towards: str, times: str) -> str:
        found = {dtype: limit for dtype, (limit, _, _) in facts[key].items()}
        texts = [
            f"nowhere in {dtype}"
            if limit is None
            else f"{towards} {limit:g}{times} in {dtype}{' and beyond' * (limit == end)}"
            for dtype, limit in found.items()
        ]
        return "right " + ", ".join(texts)

    if facts["temperature"]:
        yield "temperature", limits("temperature", TEMPERATURES[-1], "down to", "")
    if facts["scale"]:
        yield "row length", limits("scale", SCALES[-1], "up to", " times")
    yield from facts["cases"].items()


Limit = tuple[float | None, float, str]
"""The last value that is right (None: none is), the first that is not, and how it is wrong."""


def _lowest(s: _Setting, batch: Batch, dtype: str) -> Limit:
    last: float | None = None
    for value in TEMPERATURES:
        wrong = _wrong(s, batch, dtype, value)
        if wrong:
            return last, value, wrong
        last = value
    return last, float("nan"), ""


def _longest(s: _Setting, batch: Batch, dtype: str) -> Limit:
    last: float | None = None
    for scale in SCALES:
        longer = batch.scaled(scale)
        if max(np.abs(x).max() for x in longer.parts) > _LARGEST[dtype]:
            return last, scale, "the rows themselves overflow"
        wrong = _wrong(s, longer, dtype, s.temperature)
        if wrong:
            return last, scale, wrong
        last = scale
    return last, float("nan"), ""


def _wrong(s: _Setting, batch: Batch, dtype: str, value: float) -> str:
    """How it is wrong, or nothing; the rows are those that the dtype can hold."""
    batch = replace(batch, parts=tuple(_held(x, dtype) for x in batch.parts))
    outcome = s.run(batch, dtype, value)
    if outcome.value is None:
        return outcome.error
    total = float(outcome.value.sum())
    if not np.isfinite(total):
        return f"the value is {total:g}"
    if any(g is not None and not np.isfinite(g).all() for g in outcome.gradients):
        return "the gradient is not finite"
    true = s.reference.value(batch, s.parameter, value)
    if not np.isfinite(true):
        return ""
    size = 1 + abs(true) + _largest_logit(s, batch, value)
    precision = coarser(dtype, outcome.dtype)
    tolerance = max(_STEPS_OFF[precision] * _ROUNDING[precision], s.small) * size
    if abs(total - true) > tolerance * max(1, outcome.value.size):
        return "the value is {}, right is {}".format(*_digits(total, true))
    own = s.reference.gradients(batch, s.parameter, value) if s.gradients else None
    return _wrong_gradient(s, batch, outcome, own, tolerance) if own else ""


def _digits(x: float, y: float) -> tuple[str, str]:
    """As many as it takes to see the difference."""
    for count in (4, 6, 9, 12, 17):
        if f"{x:.{count}g}" != f"{y:.{count}g}":
            break
    return f"{x:.{count}g}", f"{y:.{count}g}"


def _wrong_gradient(
    s: _Setting, batch: Batch, outcome: Outcome, own: tuple[Floats, ...], tolerance: float
) -> str:
    given = s.probe.form.give(batch)
    places = s.probe.form.embeddings(given)
    if any(g is None for g in outcome.gradients):
        return ""
    arrays: list[Any] = list(given)
    for k, g in zip(places, outcome.gradients, strict=True):
        arrays[k] = g
    taken = s.probe.form.take(tuple(arrays))
    size = max(float(np.abs(g).max()) for g in own) + 1e-30
    slope = size + max(float(1 / np.linalg.norm(x, axis=-1).min()) for x in batch.parts) / value_of(
        s
    )
    if max(float(np.abs(g - t).max()) for g, t in zip(taken, own, strict=True)) > (
        tolerance * slope
    ):
        return _WRONG_GRADIENT
    return ""


def value_of(s: _Setting) -> float:
    return s.temperature or 1.0


def _held(x: Floats, dtype: str) -> Floats:
    if dtype == "bfloat16":
        bits = x.astype(np.float32).view(np.uint32)
        return ((bits + 0x8000) & np.uint32(0xFFFF0000)).view(np.float32).astype(np.float64)
    return x.astype(dtype).astype(np.float64)


def _largest_logit(s: _Setting, batch: Batch, value: float) -> float:
    statement = s.reference.identity.statement
    similarity = statement.loss.stated("similarity") if statement else None
    temperature = value
    if statement is not None and s.reference.identity.fixed:
        temperature = statement.loss.stated("temperature", 1.0)
    if similarity == "cosine":
        return 1 / temperature
    norms = max(float(np.linalg.norm(x, axis=-1).max()) for x in batch.parts)
    if similarity == "neg_euclidean":
        return 2 * norms / temperature
    return norms**2 * (4 if similarity == "neg_sqeuclidean" else 1) / (temperature or 1)


def _cases(kind: str, seed: int) -> Iterator[tuple[str, Batch, bool]]:
    """Batches with something missing or twice; and whether NaN there is a fault."""
    batch = batches(kind, 2, seed)[1]
    parts = [x.copy() for x in batch.parts]
    doubled = [x.copy() for x in parts]
    if kind == "triplets":
        doubled[1][0] = doubled[2][0] = doubled[0][0]
    else:
        doubled[-1][..., 0, :] = doubled[-1][..., 1, :]
        doubled[0][0] = doubled[0][1]
        if len(parts) > 1:
            doubled[1][0] = doubled[0][0]
    yield "duplicates", replace(batch, parts=tuple(doubled)), True
    zeros = [x.copy() for x in parts]
    zeros[0][0] = 0
    yield "zero rows", replace(batch, parts=tuple(zeros)), False
    n = len(parts[0])
    if kind == "labels":
        yield "no positives", replace(batch, facts=np.arange(n)), True
    if kind in ("labels", "labelled_views", "proxies", "centres"):
        yield "one class", replace(batch, facts=np.zeros(n, int)), True
    if kind in ("targets", "scored"):
        yield "all targets tie", replace(batch, facts=np.zeros(n)), True
    if kind in ("views", "queue"):
        single = tuple(x[:1] for x in parts[:2]) + tuple(parts[2:])
        yield "one pair", Batch(kind, single), False


def _become(s: _Setting, batch: Batch) -> tuple[str, bool]:
    """What a batch gives, in words; and whether that is bad."""
    outcome = s.run(batch, s.usual if s.probe.dtype == "float64" else s.probe.dtype)
    if outcome.value is None:
        return outcome.error, True
    if not outcome.finite:
        return f"the value is {float(outcome.value.sum()):g}", True
    if any(g is not None and not np.isfinite(g).all() for g in outcome.gradients):
        return "the gradient is not finite", True
    total = float(outcome.value.sum())
    true = s.reference.value(batch, s.parameter, s.temperature)
    if np.isfinite(true) and abs(total - true) > 1e-3 * (1 + abs(true)):
        return f"{total:.4g}, where nearfar gives {true:.4g}", False
    return f"{total:.4g}" + (", as nearfar" if np.isfinite(true) else ""), False

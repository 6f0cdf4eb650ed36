"""Which framework, call form and arguments a target wants: found by trying."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nearfar.check.batches import Batch, batches
from nearfar.check.target.calls import Call, Outcome, Runner
from nearfar.check.target.forms import FORMS, Form, by_names
from nearfar.check.target.targets import INVERSES, MARGINS, NUMBERS, TEMPERATURES, Target

TRIAL = 20.0  # seconds that a first call may take


@dataclass(frozen=True)
class Probe:
    """A way in which a target ran."""

    form: Form
    framework: str
    dtype: str
    outcome: Outcome


@dataclass(frozen=True)
class Parameter:
    """The temperature or the margin that a target takes by name."""

    kind: str  # "temperature" or "margin"
    name: str
    default: float
    inverse: bool = False

    def arguments(self, value: float) -> dict[str, float]:
        return {self.name: 1 / value if self.inverse else value}


def parameter_of(target: Target) -> Parameter | None:
    """The one that may be varied."""
    for kind, names, inverse, usual in (
        ("temperature", TEMPERATURES, False, 0.5),
        ("temperature", INVERSES, True, 2.0),
        ("margin", MARGINS, False, 0.5),
    ):
        name = target.parameter(names)
        if name is not None:
            found = target.arguments.get(name, target.known.get(name))
            number = _number(found)
            if number is None and found is not None:
                continue
            value = usual if number is None else number
            if not (value > 0 or kind == "margin"):
                continue
            return Parameter(kind, name, 1 / value if inverse else value, inverse)
    return None


def numbers_of(target: Target) -> dict[str, float]:
    """tau_plus, beta and bias, where the target names them."""
    found = {}
    for name, names in NUMBERS.items():
        known = target.parameter(names)
        value = None if known is None else target.arguments.get(known, target.known.get(known))
        number = _number(value)
        if number is not None:
            found[name] = number
    return found


def _number(x: Any) -> float | None:
    return float(x) if isinstance(x, (int, float)) and not isinstance(x, bool) else None


def make_call(
    form: Form,
    batch: Batch,
    framework: str,
    dtype: str,
    arguments: Mapping[str, Any],
    gradient: bool = False,
) -> Call:
    """A batch in a call form."""
    given = form.give(batch)
    rows = len(batch.parts[0]) // (2 if batch.kind == "labelled_views" else 1)
    return Call(given, form.embeddings(given), framework, dtype, arguments, gradient, rows)


def probe(
    runner: Runner, call: str | None, framework: str | None, parameter: Parameter | None
) -> tuple[list[Probe], list[tuple[str, str]]]:
    """All ways in which the target gives a number, and what became of the others."""
    forms = [FORMS[call]] if call else by_names(list(runner.target.positional))
    arguments = parameter.arguments(parameter.default) if parameter else {}
    if parameter and runner.target.known.get(parameter.name) is not None:
        arguments = {}  # it has a default, or what --set gave
    order = [framework] if framework else _order(runner)
    found: list[Probe] = []
    failures: list[tuple[str, str]] = []
    dead = 0
    for form in forms:
        batch = batches(form.kind, 1)[0]
        for kind, dtype in itertools.product(order, ("float64", "float32")):
            outcome = runner.run([make_call(form, batch, kind, dtype, arguments)])[0]
            if outcome.value is not None:
                if _sized(outcome.value, batch):
                    found.append(Probe(form, kind, dtype, outcome))
                    break
                failures.append((form.name, f"returned an array of shape {outcome.value.shape}"))
                break
            failures.append((form.name, outcome.error or outcome.died))
            if outcome.died:
                dead += 1
                break
        if dead >= 2 and not found:
            break
        if found:
            order = [found[-1].framework, *(f for f in order if f != found[-1].framework)]
    return [replace(p, framework=_own(p)) for p in found], failures


def _sized(value: np.ndarray, batch: Batch) -> bool:
    rows = sum(len(x) for x in batch.parts[:2]) if batch.kind == "views" else len(batch.parts[0])
    return value.size == 1 or (value.ndim == 1 and value.size in (rows, len(batch.parts[0])))


def _order(runner: Runner) -> list[str]:
    """NumPy first, whose arrays tell by what comes back; then what the target has imported."""
    loaded = [name for name in runner.loaded() if name != "numpy"]
    return ["numpy", *loaded]


def _own(found: Probe) -> str:
    """The framework of what it returns, where it took NumPy arrays and made its own of them."""
    return found.outcome.framework if found.framework == "numpy" else found.framework

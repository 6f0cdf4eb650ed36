"""Which framework, call form and arguments a target wants: found by trying."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nearfar.check.batches import Batch, batches
from nearfar.check.target.calls import Call, Outcome, Runner
from nearfar.check.target.forms import FORMS, OF_VIEWS, Form, by_names
from nearfar.check.target.targets import INVERSES, MARGINS, NUMBERS, TEMPERATURES, Target

TRIAL = 20.0  # seconds that a first call may take


@dataclass(frozen=True)
class Probe:
    """A way in which a target ran."""

    form: Form
    framework: str
    dtype: str
    outcome: Outcome
    unit: bool = False  # embeddings are normalised before it sees them


@dataclass(frozen=True)
class Reading:
    """What an argument is to a loss."""

    told: str
    """In words, with a place for its name; "" where it is the temperature or margin itself."""
    value: Callable[[Any], Any]
    """The temperature or margin of an argument."""
    argument: Callable[[Any], Any]
    """And back."""


ITSELF = Reading("", lambda x: x, lambda x: x)
MULTIPLIES = Reading("multiplies: the temperature is 1 / {}", lambda x: 1 / x, lambda x: 1 / x)
EXPONENT = Reading(
    "is the logarithm of what multiplies: the temperature is exp(-{})",
    lambda x: np.exp(-x),
    lambda x: -np.log(x),
)


@dataclass(frozen=True)
class Parameter:
    """The temperature or the margin that a target takes by name."""

    kind: str  # "temperature" or "margin"
    name: str
    default: float
    reading: Reading = ITSELF

    def arguments(self, value: float) -> dict[str, float]:
        return {self.name: float(self.reading.argument(value))}

    @property
    def others(self) -> tuple[Reading, ...]:
        """What else it may be: some call temperature what multiplies, and scale its logarithm."""
        if self.kind != "temperature":
            return ()
        return (MULTIPLIES,) if self.reading is ITSELF else (ITSELF, EXPONENT)

    def read_as(self, reading: Reading) -> "Parameter":
        return replace(self, default=float(self.read_again(self.default, reading)), reading=reading)

    def read_again(self, value: Any, reading: Reading) -> Any:
        """What an argument is by another reading that is ``value`` by this one."""
        return reading.value(self.reading.argument(value))


def parameter_of(target: Target) -> Parameter | None:
    """The one that may be varied."""
    for kind, names, reading, usual in (
        ("temperature", TEMPERATURES, ITSELF, 0.5),
        ("temperature", INVERSES, MULTIPLIES, 2.0),
        ("margin", MARGINS, ITSELF, 0.5),
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
            return Parameter(kind, name, float(reading.value(value)), reading)
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
    probe: Probe, batch: Batch, arguments: Mapping[str, Any], gradient: bool = False
) -> Call:
    """A batch in the form, framework and dtype of a probe."""
    given = probe.form.give(batch)
    rows = len(batch.parts[0]) // (2 if batch.kind in OF_VIEWS else 1)
    return Call(
        given,
        probe.form.embeddings(given),
        probe.framework,
        probe.dtype,
        arguments,
        gradient,
        rows,
        probe.unit,
    )


def probe(
    runner: Runner,
    call: str | None,
    framework: str | None,
    parameter: Parameter | None,
    unit: bool = False,
) -> tuple[list[Probe], list[tuple[str, str]]]:
    """All ways in which the target gives numbers on two sizes, and what became of the others."""
    forms = [FORMS[call]] if call else by_names(list(runner.target.positional))
    arguments = parameter.arguments(parameter.default) if parameter else {}
    if parameter and runner.target.known.get(parameter.name) is not None:
        arguments = {}  # it has a default, or what --set gave
    order = [framework] if framework else _order(runner)
    found: list[Probe] = []
    failures: list[tuple[str, str]] = []
    dead = 0
    for form in forms:
        made = batches(form.kind, 2)
        taken = _taken_for_a_number(runner.target, form, made[0])
        if taken and not call:
            failures.append((form.name, f"an array would be the argument {taken!r}"))
            continue
        for kind, dtype in itertools.product(order, ("float64", "float32")):
            tried = Probe(form, kind, dtype, Outcome(), unit)
            outcome = runner.run([make_call(tried, made[0], arguments)])[0]
            if outcome.value is not None:
                wrong = _unlike(outcome, made[0])
                if not wrong:
                    other = runner.run([make_call(tried, made[1], arguments)])[0]
                    wrong = other.error or other.died or _unlike(other, made[1])
                    wrong = wrong and f"on a batch of another size: {wrong}"
                if wrong:
                    failures.append((form.name, wrong))
                else:
                    found.append(replace(tried, outcome=outcome))
                break
            failures.append((form.name, outcome.error or outcome.died))
            if outcome.died:
                dead += 1
                break
        if dead >= 2 and not found:
            break
        if found:
            # Another framework would take what this one refuses: JAX any index, for one.
            order = [found[0].framework]
    return [replace(p, framework=_own(p)) for p in found], failures


def _taken_for_a_number(target: Target, form: Form, batch: Batch) -> str:
    """A parameter with a plain default, or one that is varied, in the place of an array."""
    others = (name for names in NUMBERS.values() for name in names)
    numbers = {*TEMPERATURES, *INVERSES, *MARGINS, *others}
    count = len(form.give(batch))
    for name in target.positional[:count]:
        plain = isinstance(target.known.get(name), (bool, int, float, str))
        # Of names a letter long only those with a default are numbers for sure.
        if plain or (len(name) > 1 and name.lower() in numbers):
            return name
    return ""


def _unlike(outcome: Outcome, batch: Batch) -> str:
    """How what came back is no value for a batch, or nothing."""
    assert outcome.value is not None
    rows = len(batch.parts[0])
    known = {1, rows}
    if batch.kind == "views":
        known.add(2 * rows)
    elif batch.kind in OF_VIEWS:
        known.add(rows // 2)
    shape = outcome.value.shape
    # Views may come back side by side, (N, 2) or (2, N).
    flat = len(shape) <= 1 or (len(shape) == 2 and min(shape) in (1, 2))
    return "" if flat and outcome.value.size in known else f"returned an array of shape {shape}"


def _order(runner: Runner) -> list[str]:
    """NumPy first, whose arrays tell by what comes back; then what the target has imported."""
    loaded = [name for name in runner.loaded() if name != "numpy"]
    return ["numpy", *loaded]


def _own(found: Probe) -> str:
    """The framework of what it returns, where it took NumPy arrays and made its own of them."""
    return found.outcome.framework if found.framework == "numpy" else found.framework

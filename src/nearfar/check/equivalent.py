"""For people's own tests: a function has to be a loss of nearfar, in value and gradient."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from nearfar.check.api import check
from nearfar.check.batches import Batch
from nearfar.check.batches import batches as make_batches
from nearfar.check.target.calls import Call, Outcome
from nearfar.check.target.forms import FORMS, Form
from nearfar.check.target.probing import make_call, probe
from nearfar.check.target.running import InProcess
from nearfar.check.target.targets import BadRequest, as_target
from nearfar.losses import (
    AgainstProxies,
    GivenPairs,
    GivenTriplets,
    GradedRows,
    LabelledRows,
    Loss,
    Queries,
    RankedRows,
    RowsAlone,
    ScoredPairs,
    TwoSides,
    TwoViews,
    ViewsAlone,
)

_TOLERANCE = {"float64": 1e-7, "float32": 2e-5}


def assert_equivalent(
    fn: Callable[..., Any],
    loss: Loss,
    *,
    call: str | None = None,
    framework: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    batches: int = 10,
    seed: int = 0,
    rtol: float | None = None,
    gradient: bool = True,
) -> None:
    """Raise AssertionError unless a function gives the values and gradients of a loss.

    Parameters
    ----------
    fn
        A function, a module or a class of losses.
    loss
        What it should be, factor and reduction included.
    call
        The call form of `fn`, a name of `nearfar.check.FORMS`; None tries those for the inputs of
        `loss`.
    framework
        "numpy", "torch", "tensorflow" or "jax"; None tries NumPy and what is imported.
    arguments
        Passed on by name, to the constructor of a class or to the call.
    batches, seed
        How many batches, and which.
    rtol
        Relative tolerance of values, and of gradients against their largest entry; by default
        1e-7 in float64 and 2e-5 in float32, in which a function is called that takes no other.
    gradient
        Compare gradients too, in frameworks that have them.

    Raises
    ------
    AssertionError
        Naming the first batch that differs, by how much, and what `fn` is instead.
    ValueError
        For a form or framework that does not exist or has other inputs than `loss`.

    >>> import nearfar as nf
    >>> assert_equivalent(lambda a, b: nf.NTXent()(b, a), nf.NTXent())
    """
    forms = _forms(loss, call)
    runner = InProcess(as_target(fn, arguments))
    failures: list[tuple[str, str]] = []
    first = ""
    for form in forms:
        found, failed = probe(runner, form.name, framework, None)
        failures += failed
        for ran in found:
            limit = rtol or _TOLERANCE.get(ran.outcome.dtype, _TOLERANCE["float32"])
            wrong = ""
            for k, batch in enumerate(make_batches(form.kind, batches, seed)):
                given = make_call(ran, batch, {}, gradient)
                wrong = _difference(runner.run([given])[0], loss, form, given, batch, limit)
                if wrong:
                    wrong = f"batch {k}, called as {form.name}: {wrong}"
                    break
            if not wrong:
                return
            first = first or wrong
    if not first:
        raise AssertionError(f"the function could not be run: {failures[0][1]}")
    raise AssertionError(f"expected {loss}; {first}; {_instead(fn, call, framework, arguments)}")


def _forms(loss: Loss, call: str | None) -> list[Form]:
    kinds = _KINDS[loss.family]
    if call is not None and call not in FORMS:
        raise BadRequest(f"expected call to be one of {', '.join(FORMS)}; received {call!r}")
    found = [f for f in FORMS.values() if f.kind in kinds and call in (None, f.name)]
    if not found:
        raise BadRequest(
            f"expected a call form for ({', '.join(loss.inputs)}), the inputs of "
            f"{type(loss).__name__}; received {call!r}"
        )
    return found


_KINDS: dict[type[Loss], tuple[str, ...]] = {
    TwoViews: ("views",),
    TwoSides: ("views", "ids"),
    Queries: ("views", "queue", "own"),
    LabelledRows: ("labels", "labelled_views", "reference"),
    GradedRows: ("matrix",),
    RankedRows: ("targets",),
    GivenTriplets: ("triplets",),
    GivenPairs: ("views",),
    ViewsAlone: ("views",),
    RowsAlone: ("rows",),
    AgainstProxies: ("proxies", "centres"),
    ScoredPairs: ("scored",),
}


def _difference(
    outcome: Outcome, loss: Loss, form: Form, call: Call, batch: Batch, limit: float
) -> str:
    """What is not equal, or nothing."""
    if outcome.value is None:
        return outcome.error
    right = np.asarray(batch.value_of(loss))
    value = outcome.value
    if value.shape != right.shape:
        return f"it gives shape {value.shape}, expected {right.shape}"
    if not np.allclose(value, right, rtol=limit, atol=limit):
        k = int(np.argmax(np.abs(value - right).ravel()))
        return f"it gives {value.ravel()[k]:.8g}, expected {right.ravel()[k]:.8g}"
    if not call.gradient or call.framework == "numpy" or loss.reduction == "none":
        return ""
    if any(g is None for g in outcome.gradients):
        return "an input gets no gradient"
    arrays: list[Any] = list(call.arrays)
    for k, g in zip(call.embeddings, outcome.gradients, strict=True):
        arrays[k] = g
    own = batch.gradients_of(loss)
    size = max(float(np.abs(g).max()) for g in own)
    for number, (given, g) in enumerate(zip(form.take(tuple(arrays)), own, strict=True)):
        apart = float(np.abs(given - g).max())
        if not apart <= 10 * limit * size:
            name = loss.embeddings[number]
            return f"the gradient of {name} is off by {apart / size:.1e} of the largest entry"
    return ""


def _instead(
    fn: Callable[..., Any],
    call: str | None,
    framework: str | None,
    arguments: Mapping[str, Any] | None,
) -> str:
    """What the function is, where that can be said."""
    report = check(fn, call=call, framework=framework, arguments=arguments, parts=["identity"])
    found = report.identity
    if found is None or found.statement is None or not found.sure:
        return "it is no loss that nearfar knows"
    remarks = "; ".join(found.statement.remarks())
    return f"in value it is {found.statement}" + (f" ({remarks})" if remarks else "")

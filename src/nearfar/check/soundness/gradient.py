"""The gradient of a target: against finite differences of its own values, and against nearfar's."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from nearfar.check.batches import Batch, Floats, batches
from nearfar.check.finding import FAULT, NOTE, Finding
from nearfar.check.identity.identify import Identity
from nearfar.check.soundness.learned import learned_temperature
from nearfar.check.soundness.reference import Reference
from nearfar.check.target.adapters import coarser
from nearfar.check.target.calls import Call, Runner
from nearfar.check.target.probing import Parameter, Probe, make_call
from nearfar.losses import Loss

# Step of the differences, relative to the rows, and how far two gradients may be apart.
_STEPS = {"float64": (1e-5, 1e-5)}
_COARSE_STEPS = (1e-2, 3e-2)

Facts = dict[str, Any]


def check_gradient(
    runner: Runner, probe: Probe, parameter: Parameter | None, identity: Identity, seed: int
) -> tuple[Facts, list[Finding]]:
    """Where a target has a gradient, whether it is the derivative of its value."""
    if probe.framework == "numpy":
        text = "none: NumPy has no automatic one (nearfar: value_and_grad)"
        return {"has": False, "lines": [("autograd", text)]}, []
    batch = batches(probe.form.kind, 4, seed)[1]
    value = parameter.default if parameter else 1.0
    arguments = parameter.arguments(value) if parameter else {}
    call = make_call(probe, batch, arguments, gradient=True)
    outcome = runner.run([call])[0]
    precision = coarser(probe.dtype, outcome.dtype)
    if outcome.value is None:
        text = f"no gradient: {outcome.error}"
        return {"has": False, "lines": [("autograd", text)]}, [Finding("gradient", FAULT, text)]
    true = differences(runner, call, precision)
    names = _names(probe, len(true))
    given = [np.zeros_like(t) if g is None else g
             for g, t in zip(outcome.gradients, true, strict=True)]  # fmt: skip
    limit = _STEPS.get(precision, _COARSE_STEPS)[1]
    own_value = float(outcome.value.sum())
    detached = _detached(identity, probe, batch, parameter, value, own_value, given, limit)
    findings = [] if detached else list(
        _faults(probe, names, outcome.gradients, given, true, limit)
    )  # fmt: skip
    # What is a constant by design is told; it would hide how right the others are.
    kept = [k for k, name in enumerate(names) if not _left_out(probe, name, given[k])]
    apart = _apart([given[k] for k in kept], [true[k] for k in kept])
    lines = [("finite diff.", f"largest deviation {apart:.0e} of the largest entry")]
    facts: Facts = {"has": any(g is not None for g in outcome.gradients), "differences": apart}
    if detached:
        lines.append(("nearfar", f"equal with {detached}=True: its weights are constants"))
        facts[detached] = True
    else:
        own = Reference(identity).gradients(batch, parameter, value)
        if own is None:
            lines.append(("nearfar", "no loss that is equal as it stands, none to compare with"))
        else:
            taken = probe.form.take(_inputs(call, given))
            kept = kept if len(taken) == len(given) else list(range(len(taken)))
            facts["nearfar"] = _apart([taken[k] for k in kept], [own[k] for k in kept])
            lines.append(("nearfar", f"largest deviation {facts['nearfar']:.0e}"))
    if parameter is not None:
        findings += learned_temperature(runner, call, parameter)
    facts["lines"] = lines
    return facts, findings


def differences(runner: Runner, call: Call, precision: str) -> list[Floats]:
    """Central differences of a target's value in every entry of its embeddings."""
    step = _STEPS.get(precision, _COARSE_STEPS)[0]
    calls, sizes = [], []
    for k in call.embeddings:
        x = call.arrays[k]
        h = step * max(float(np.abs(x).mean()), 1e-12)
        sizes.append(h)
        for place in np.ndindex(x.shape):
            for sign in (1, -1):
                moved = x.copy()
                moved[place] += sign * h
                arrays = (*call.arrays[:k], moved, *call.arrays[k + 1 :])
                calls.append(replace(call, arrays=arrays, gradient=False))
    outcomes = runner.run(calls)
    values = np.array([np.nan if o.value is None else o.value.sum() for o in outcomes])
    slopes = (values[0::2] - values[1::2]) / 2
    found, start = [], 0
    for k, h in zip(call.embeddings, sizes, strict=True):
        shape = call.arrays[k].shape
        size = int(np.prod(shape))
        found.append(slopes[start : start + size].reshape(shape) / h)
        start += size
    return found


def _inputs(call: Call, given: list[Floats]) -> tuple[Floats, ...]:
    """The gradients in the places of their arguments."""
    arrays: list[Any] = list(call.arrays)
    for k, g in zip(call.embeddings, given, strict=True):
        arrays[k] = g
    return tuple(arrays)


def _apart(given: list[Floats], true: list[Floats]) -> float:
    size = max(float(np.abs(t).max()) for t in true) or 1.0
    return max(
        float(np.abs(g - t).max()) for g, t in zip(given, true, strict=True) if t.shape == g.shape
    ) / size  # fmt: skip


def _names(probe: Probe, count: int) -> list[str]:
    known = {"views": ("a", "b"), "queue": ("query", "key", "queue"),
             "own": ("query", "key", "negatives"), "scored": ("x", "y"), "ids": ("x", "y"),
             "guided": ("x", "y"), "guided_own": ("query", "key", "negatives"),
             "reference": ("embeddings", "reference"),
             "proxies": ("embeddings", "proxies"), "centres": ("embeddings", "proxies"),
             "triplets": ("anchor", "positive", "negative")}.get(probe.form.kind, ())  # fmt: skip
    return list(known) if len(known) == count else ["embeddings"] * count


def _left_out(probe: Probe, name: str, g: Floats) -> bool:
    """Keys and queue without a gradient, as MoCo has them."""
    return probe.form.kind in ("queue", "own", "guided_own") and name != "query" and not g.any()


def _faults(
    probe: Probe,
    names: list[str],
    raw: tuple[Floats | None, ...],
    given: list[Floats],
    true: list[Floats],
    limit: float,
) -> Iterator[Finding]:
    """Inputs and rows without a gradient, factors, and whatever else is not the derivative."""
    size = max(float(np.abs(t).max()) for t in true)
    if not size:
        return
    moved = [bool(np.abs(t).max() > limit * size) for t in true]
    if all(g is None or not g.any() for g in raw):
        text = "no input gets a gradient: it is cut, by detach, stop_gradient or a NumPy call"
        yield Finding("gradient", FAULT, text)
        return
    for name, g, t, moves in zip(names, given, true, moved, strict=True):
        if not np.isfinite(g).all():
            yield Finding("gradient", FAULT, f"the gradient of {name} is not finite")
        elif moves and not g.any():
            by_design = _left_out(probe, name, g)
            text = f"{name} gets no gradient" + (
                ", as MoCo's keys and queue by design" if by_design
                else ": it is cut, by detach, stop_gradient or a NumPy call"
            )  # fmt: skip
            yield Finding("gradient", NOTE if by_design else FAULT, text)
        elif np.abs(g - t).max() > limit * size:
            yield Finding("gradient", FAULT, f"{name}: {_how(g, t, limit)}")


def _how(g: Floats, t: Floats, limit: float) -> str:
    factor = float((g * t).sum() / (t * t).sum())
    size = float(np.abs(t).max())
    if abs(factor) > limit and np.abs(g - factor * t).max() <= limit * size:
        return f"the gradient is {factor:.4g} times the derivative of the value"
    idle = [k for k in range(len(g)) if not g[k].any() and np.abs(t[k]).max() > limit * size]
    none = f"{len(idle)} of {len(g)} rows get no gradient"
    if idle and np.abs(np.delete(g - t, idle, axis=0)).max(initial=0) <= limit * size:
        return f"{none}, though the value moves with them"
    share = np.abs(g - t).max() / size
    return (
        f"the gradient is not the derivative of the value (off by {100 * share:.2g} % of the "
        "largest entry): part of the computation is cut from it, by detach or stop_gradient"
    ) + (f"; {none}" if idle else "")


def _detached(
    identity: Identity,
    probe: Probe,
    batch: Batch,
    parameter: Parameter | None,
    value: float,
    own_value: float,
    given: list[Floats],
    limit: float,
) -> str:
    """The field that takes weights for constants, where the gradient does by it; or nothing.

    Values do not tell. What only divides the loss, or multiplies it, does so with its gradient.
    """
    reference = Reference(identity)
    loss, factor = reference.loss(parameter, value), 1.0
    if loss is None and identity.sure and identity.statement is not None:
        loss = identity.statement.loss
        plainly = float(batch.value_of(loss, identity.statement.swapped))
        factor = own_value / plainly if plainly else 0.0
    if loss is None or loss.stated("beta") == 0:
        return ""
    for field in ("detach", "detach_weights"):
        if field not in loss.declarations:
            continue
        arrays = make_call(probe, batch, {})
        own = list(probe.form.take(_inputs(arrays, given)))
        plain, detached = (
            [factor * g for g in reference.gradients_of(_with(loss, field, d), batch)]
            for d in (False, True)
        )
        if _apart(own, detached) <= limit < _apart(own, plain):
            return field
    return ""


def _with(loss: Loss, field: str, value: bool) -> Loss:
    changed: Any = {field: value}
    return replace(loss, **changed)

"""How time and memory grow with the number of rows, beside nearfar's."""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nearfar.check.batches import Batch
from nearfar.check.finding import FAULT, NOTE, Finding
from nearfar.check.identity.identify import Identity
from nearfar.check.soundness.reference import Reference
from nearfar.check.target.calls import Measured, Runner
from nearfar.check.target.probing import Parameter, Probe, make_call

SIZES = (32, 64, 128, 256, 512, 1024, 2048)
CUBIC = 2.5  # the exponent from which memory is a fault, where smaller arrays are held beside
_SECONDS = 0.4  # of a call, beyond which no larger size is tried
_BUDGET = 12.0  # seconds for all sizes
_SLOW = 10.0  # times nearfar's time, from which it is worth a note
_IN_ORDER = ("views", "labels", "targets", "queue", "triplets", "rows", "proxies", "centres",
             "scored")  # fmt: skip
"""Forms whose arguments are those of nearfar's call."""
_SEEN = 6e6  # bytes above which the kernel's count can be trusted

Facts = dict[str, Any]


@dataclass(frozen=True)
class _Row:
    n: int
    own: Measured
    nearfar: Measured | None


def check_cost(
    runner: Runner,
    probe: Probe,
    parameter: Parameter | None,
    identity: Identity,
    memory_limit: int,
) -> tuple[Facts, list[Finding]]:
    """Exponents of growth, from the largest sizes that fit time and memory."""
    rows = list(_measure(runner, probe, parameter, identity, memory_limit))
    good = [r for r in rows if not r.own.error]
    findings: list[Finding] = []
    if len(good) < len(rows):
        last = rows[-1]
        level = FAULT if last.own.died else NOTE
        findings.append(Finding("cost", level, f"n = {last.n}: {last.own.error}"))
    if not good:
        return {"lines": [("cost", "could not be measured")]}, findings
    memory = _exponent([(r.n, r.own.bytes) for r in good], _SEEN)
    seconds = _exponent([(r.n, r.own.seconds) for r in good], 1e-3)
    if memory is not None and memory >= CUBIC and _thick(good[-1]):
        text = f"memory grows with n^{memory:.1f}: {_size(good[-1].own.bytes)} at n = {good[-1].n}"
        findings.append(Finding("cost", FAULT, text))
    facts: Facts = {
        "memory_exponent": memory,
        "time_exponent": seconds,
        "sizes": [r.n for r in good],
        "seconds": [r.own.seconds for r in good],
        "bytes": [r.own.bytes for r in good],
    }
    last = good[-1]
    lines = [
        ("memory", _growth("n", memory) + f", {_size(last.own.bytes)} at n = {last.n}"),
        ("time", _growth("n", seconds) + f", {_time(last.own.seconds)} at n = {last.n}"),
    ]
    if last.nearfar is not None and not last.nearfar.error:
        facts["nearfar"] = {
            "seconds": [r.nearfar.seconds for r in good if r.nearfar],
            "bytes": [r.nearfar.bytes for r in good if r.nearfar],
        }
        text = f"{_size(last.nearfar.bytes)}, {_time(last.nearfar.seconds)} at n = {last.n}"
        lines.append(("nearfar", text))
        slower = last.own.seconds / last.nearfar.seconds
        if slower >= _SLOW:
            text = f"it takes {slower:,.0f} times as long as nearfar at n = {last.n}"
            findings.append(Finding("cost", NOTE, text))
    facts["lines"] = lines
    return facts, findings


def _thick(row: _Row) -> bool:
    """More than any number of n x n arrays that a loss would hold."""
    return row.own.bytes > row.n**3 / 2


def _measure(
    runner: Runner, probe: Probe, parameter: Parameter | None, identity: Identity, limit: int
) -> "list[_Row]":
    start, rows = time.perf_counter(), []
    value = parameter.default if parameter else 1.0
    arguments = parameter.arguments(value) if parameter else {}
    loss = Reference(identity).loss(parameter, value)
    swapped = identity.statement is not None and identity.statement.swapped
    in_order = probe.form.name in _IN_ORDER
    if swapped or not in_order:
        loss = None  # its arguments are not those of the call
    dtype = "float64" if probe.framework == "numpy" else "float32"
    if probe.framework != "numpy" and probe.dtype == "float64" and probe.outcome.dtype != "float64":
        dtype = "float64"
    for n in SIZES:
        batch = large(probe.form.kind, n)
        call = make_call(replace(probe, dtype=dtype), batch, arguments, True)
        own = runner.measure(call, None)
        theirs = None if loss is None or own.error else runner.measure(call, loss)
        rows.append(_Row(n, own, theirs))
        # The next size may take eight times as much of both.
        if own.error or own.seconds > _SECONDS or 9 * own.bytes > limit:
            break
        if time.perf_counter() - start > _BUDGET:
            break
    return rows


def large(kind: str, n: int, d: int = 32) -> Batch:
    """An ordinary batch with about n rows."""
    rng = np.random.default_rng(n)

    def rows(*shape: int) -> Any:
        return rng.normal(size=(*shape, d))

    if kind == "views":
        return Batch(kind, (rows(n // 2), rows(n // 2)))
    if kind == "labels":
        return Batch(kind, (rows(n),), rng.integers(0, max(n // 8, 2), n))
    if kind == "labelled_views":
        return Batch(kind, (rows(n),), np.repeat(rng.integers(0, max(n // 16, 2), n // 2), 2))
    if kind == "rows":
        return Batch(kind, (rows(n),))
    if kind == "scored":
        return Batch(kind, (rows(n // 2), rows(n // 2)), rng.integers(0, 6, n // 2) / 5)
    if kind in ("proxies", "centres"):
        shape = (max(n // 8, 2),) if kind == "proxies" else (max(n // 8, 2), 2)
        return Batch(kind, (rows(n), rows(*shape)), rng.integers(0, shape[0], n))
    if kind in ("ids", "guided"):
        sides = (rows(n // 2), rows(n // 2))
        return (
            Batch(kind, sides, rng.integers(0, max(n // 4, 2), n // 2))
            if kind == "ids"
            else Batch(kind, sides, None, (rows(n // 2), rows(n // 2)))
        )
    if kind == "reference":
        labels = rng.integers(0, max(n // 8, 2), (2, n))
        return Batch(kind, (rows(n), rows(n)), labels[0], (labels[1],))
    if kind == "matrix":
        return Batch(kind, (rows(n),), rng.uniform(size=(n, n)))
    if kind in ("marks", "frozen"):
        marks = rng.integers(0, 2, (n, 4))
        return Batch(kind, (rows(n),), marks if kind == "marks" else rows(n))
    if kind == "targets":
        return Batch(kind, (rows(n),), rng.normal(size=n))
    if kind == "own":
        return Batch(kind, (rows(n // 4), rows(n // 4), rows(n // 4, n // 4)))
    if kind == "guided_own":
        parts = rows(n // 4), rows(n // 4), rows(n // 4, n // 4)
        return Batch(kind, parts, None, parts)
    return Batch(kind, (rows(n), rows(n), rows(n + 1 if kind == "queue" else n)))


def _exponent(points: list[tuple[int, float]], least: float) -> float | None:
    """The slope between the largest two sizes that can be told from noise."""
    seen = [(n, x) for n, x in points if x > least]
    if len(seen) < 2:
        return None
    sizes, amounts = np.log(np.array(seen[-3:])).T
    return float(np.polyfit(sizes, amounts, 1)[0])


def _growth(name: str, exponent: float | None) -> str:
    # What hardly grows is what a call costs, whatever it is about.
    told = exponent is not None and exponent >= 0.5
    return f"grows with {name}^{exponent:.1f}" if told else "too small to tell its growth"


def _size(x: float) -> str:
    return f"{x / 2**20:.1f} MB" if x < 2**30 else f"{x / 2**30:.1f} GB"


def _time(x: float) -> str:
    return f"{1e3 * x:.2g} ms" if x < 1 else f"{x:.2g} s"

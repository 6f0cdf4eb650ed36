"""The whole check of one target."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nearfar.check.failures import failed
from nearfar.check.finding import NOTE, Finding
from nearfar.check.identity.expecting import Expected, compare, read_expected
from nearfar.check.identity.identify import Identified, identify
from nearfar.check.identity.implementations import sharing
from nearfar.check.report import Report
from nearfar.check.soundness.cost import check_cost
from nearfar.check.soundness.gradient import check_gradient
from nearfar.check.soundness.stability import check_stability
from nearfar.check.target.adapters import FRAMEWORKS
from nearfar.check.target.calls import Runner
from nearfar.check.target.forms import FORMS
from nearfar.check.target.probing import Probe, numbers_of, parameter_of, probe
from nearfar.check.target.running import InProcess
from nearfar.check.target.targets import BadRequest, Target, as_target

PARTS = ("identity", "gradient", "stability", "cost")


def check(
    fn: Callable[..., Any] | str,
    *,
    call: str | None = None,
    framework: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    expect: str | None = None,
    batches: int = 10,
    seed: int = 0,
    parts: Sequence[str] = PARTS,
    time_limit: float = 30.0,
    memory_limit: int = 4 * 2**30,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Find out which loss a function is, and whether it is sound.

    Parameters
    ----------
    fn
        A function or a class of losses, run in this process; or text as on the command line,
        ``module:function``, ``module:Class(args)`` or ``file.py:name``, run in a process of its
        own.
    call
        The call form, a name of `nearfar.check.FORMS`; None tries all.
    framework
        "numpy", "torch", "tensorflow" or "jax"; None tries NumPy and what is imported.
    arguments
        Passed on by name, to the constructor of a class or to the call.
    expect
        What it should be: a loss ("supcon"), with fields ("SupCon(average='pairs')"), or a public
        implementation. Temperature, margin and other numbers that are not named are free.
    batches
        How many batches each value is compared on, 6 or more.
    seed
        Chooses the batches.
    parts
        Some of "identity", "gradient", "stability", "cost".
    time_limit
        Seconds for a request to a target in its own process.
    memory_limit
        Bytes that such a process may take beyond what it has after importing the target.
    progress
        Is told what is being done, a few words a step.

    Raises
    ------
    BadTarget
        Where there is nothing to run: no such module, name or argument.
    ValueError
        For a form, framework, part or expectation that does not exist.

    >>> import nearfar as nf
    >>> report = check(nf.NTXent(temperature=0.2), call="views", parts=["identity"])
    >>> print(report.identity.statement)
    NTXent(temperature=0.2)
    """
    _refuse(call, framework, batches, parts)
    wanted = None if expect is None else read_expected(expect)
    say = progress or (lambda _: None)
    asked = (call, framework, wanted, expect, batches, seed, parts, memory_limit, say)
    if not isinstance(fn, str):
        return _check(InProcess(as_target(fn, arguments)), *asked)
    from nearfar.check.target.process import OwnProcess

    with OwnProcess(fn, dict(arguments or {}), time_limit, memory_limit) as runner:
        return _check(runner, *asked)


def _refuse(call: str | None, framework: str | None, batches: int, parts: Sequence[str]) -> None:
    for name, value, known in (
        ("call", call, tuple(FORMS)), ("framework", framework, FRAMEWORKS),
    ):  # fmt: skip
        if value is not None and value not in known:
            raise BadRequest(f"expected {name} to be one of {', '.join(known)}; received {value!r}")
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise BadRequest(f"expected parts among {', '.join(PARTS)}; received {unknown[0]!r}")
    if batches < 6:
        raise BadRequest(f"expected batches to be 6 or more, to hold some back; received {batches}")


def _check(
    runner: Runner,
    call: str | None,
    framework: str | None,
    wanted: Expected | None,
    expect: str | None,
    count: int,
    seed: int,
    parts: Sequence[str],
    memory_limit: int,
    say: Callable[[str], None],
) -> Report:
    start = time.perf_counter()
    target = runner.target
    parameter, numbers = parameter_of(target), numbers_of(target)
    say("trying how it is called")
    probes, failures = probe(runner, call, framework, parameter)
    found = None
    if probes:
        say(f"comparing its values with every convention ({_ways(probes)})")
        found = identify(runner, probes, parameter, numbers, count, seed)
    if found is None or found.identity.statement is None:
        # Some take unit rows for granted, and are no loss of any others.
        on_unit_rows, _ = probe(runner, call, framework, parameter, unit=True)
        if found is not None:
            on_unit_rows = [p for p in on_unit_rows if _is_other(p, probes)]
        if on_unit_rows:
            say("comparing its values on unit rows")
            other = identify(runner, on_unit_rows, parameter, numbers, count, seed)
            if other.identity.statement is not None and other.identity.sure:
                found = other
    if found is None:
        return Report(target.text, False, findings=tuple(failed(failures)), expected=expect)
    report = _described(target, found, expect)
    at_hand = (runner, found.probe, found.parameter, found.identity)
    more: list[Finding] = []
    if "gradient" in parts:
        say("gradient")
        facts, finds = check_gradient(*at_hand, seed)
        report, more = replace(report, gradient=facts), more + finds
    if "stability" in parts:
        say("stability")
        facts, finds = check_stability(*at_hand, seed)
        report, more = replace(report, stability=facts), more + finds
    if "cost" in parts:
        say("cost")
        facts, finds = check_cost(*at_hand, memory_limit)
        report, more = replace(report, cost=facts), more + finds
    report = replace(report, findings=(*report.findings, *more))
    if wanted is not None:
        as_expected, differences = compare(found.identity, wanted)
        report = replace(report, as_expected=as_expected, differences=differences)
    return replace(report, seconds=time.perf_counter() - start)


def _ways(probes: list[Probe]) -> str:
    return ", ".join(dict.fromkeys(found.form.name for found in probes))


def _is_other(unit: Probe, probes: list[Probe]) -> bool:
    """Whether unit rows gave a value that the same rows, of any length, did not."""
    value = unit.outcome.value
    values = [p.outcome.value for p in probes if p.form is unit.form]
    return not any(v is not None and value is not None and np.allclose(v, value) for v in values)


def _described(target: Target, found: Identified, expect: str | None) -> Report:
    own, identity, findings = found.probe, found.identity, list(found.findings)
    if own.unit:
        text = (
            "it takes unit rows for granted: it is this loss of rows that are normalised "
            "before, and of others it is none"
        )
        findings.append(Finding("identity", NOTE, text))
    if own.outcome.note:
        findings.append(Finding("run", NOTE, own.outcome.note))
    if own.outcome.printed:
        findings.append(Finding("run", NOTE, f"prints {own.outcome.printed} characters a call"))
    parameter = found.parameter
    if parameter is not None and parameter.reading.told and identity.statement is not None:
        text = f"its {parameter.name!r} {parameter.reading.told.format(parameter.name)}"
        findings.append(Finding("identity", NOTE, text))
    return Report(
        target.text,
        True,
        form=own.form.name,
        call=own.form.text,
        arguments=target.positional,
        framework=own.framework,
        dtype=own.outcome.dtype,
        identity=identity,
        implementations=sharing(identity),
        expected=expect,
        findings=tuple(findings),
    )

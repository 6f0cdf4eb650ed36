"""The whole check of one target."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from nearfar.check.finding import FAULT, NOTE, Finding
from nearfar.check.identity.expecting import Expected, compare, read_expected
from nearfar.check.identity.identify import identify
from nearfar.check.identity.implementations import sharing
from nearfar.check.report import Report
from nearfar.check.soundness.cost import check_cost
from nearfar.check.soundness.gradient import check_gradient
from nearfar.check.soundness.stability import check_stability
from nearfar.check.target.adapters import FRAMEWORKS
from nearfar.check.target.calls import Runner
from nearfar.check.target.forms import FORMS
from nearfar.check.target.probing import numbers_of, parameter_of, probe
from nearfar.check.target.running import InProcess
from nearfar.check.target.targets import BadRequest, as_target

_ARITY = "positional argument"  # as Python words it
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
    if not isinstance(fn, str):
        return _check(InProcess(as_target(fn, arguments)), call, framework, wanted, expect,
                      batches, seed, parts, memory_limit)  # fmt: skip
    from nearfar.check.target.process import OwnProcess

    with OwnProcess(fn, dict(arguments or {}), time_limit, memory_limit) as runner:
        return _check(runner, call, framework, wanted, expect, batches, seed, parts, memory_limit)


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
) -> Report:
    start = time.perf_counter()
    target = runner.target
    parameter, numbers = parameter_of(target), numbers_of(target)
    probes, failures = probe(runner, call, framework, parameter)
    if not probes:
        return Report(target.text, False, findings=tuple(_failed(failures)), expected=expect)
    identity, own, findings = identify(runner, probes, parameter, numbers, count, seed)
    if own.outcome.printed:
        findings.append(Finding("run", NOTE, f"prints {own.outcome.printed} characters a call"))
    report = Report(
        target.text,
        True,
        form=own.form.name,
        call=own.form.text,
        framework=own.framework,
        dtype=own.outcome.dtype,
        identity=identity,
        expected=expect,
        findings=tuple(findings),
    )
    if identity.exact is not None:
        shared = sharing(identity.exact, identity.fixed, identity.indifferent)
        report = replace(report, implementations=shared)
    at_hand = (runner, own, parameter, identity)
    more: list[Finding] = []
    if "gradient" in parts:
        facts, found = check_gradient(*at_hand, seed)
        report, more = replace(report, gradient=facts), more + found
    if "stability" in parts:
        facts, found = check_stability(*at_hand, seed)
        report, more = replace(report, stability=facts), more + found
    if "cost" in parts:
        facts, found = check_cost(*at_hand, memory_limit)
        report, more = replace(report, cost=facts), more + found
    report = replace(report, findings=(*report.findings, *more))
    if wanted is not None:
        as_expected, differences = compare(identity, wanted)
        report = replace(report, as_expected=as_expected, differences=differences)
    return replace(report, seconds=time.perf_counter() - start)


def _failed(failures: list[tuple[str, str]]) -> list[Finding]:
    """One line for each way of failing, with the forms it came in.

    What does not take so many arguments says nothing where another form came further.
    """
    grouped: dict[str, list[str]] = {}
    for form, text in failures:
        forms = grouped.setdefault(text, [])
        if form not in forms:
            forms.append(form)
    further = {text: forms for text, forms in grouped.items() if _ARITY not in text}
    return [
        Finding("run", FAULT, f"called as {', '.join(forms)}: {text}")
        for text, forms in (further or grouped).items()
    ]

"""Running a target: calls go in as plain arrays, and whatever happens comes out as an outcome."""

import contextlib
import io
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nearfar.check.target import adapters
from nearfar.check.target.calls import Call, Measured, Outcome, one_line
from nearfar.check.target.measuring import measure
from nearfar.check.target.targets import Target


class InProcess:
    """Runs a target where it is: for functions that exist only here."""

    def __init__(self, target: Target) -> None:
        self.target = target

    def run(self, calls: Sequence[Call]) -> list[Outcome]:
        return [run_one(self.target, call) for call in calls]

    def loaded(self) -> list[str]:
        return loaded_frameworks()

    def measure(self, call: Call, loss: Any) -> Measured:
        return measure(self.target, call, loss)


def loaded_frameworks() -> list[str]:
    return [name for name in adapters.FRAMEWORKS if name in sys.modules]


def _called(target: Target, call: Call) -> Callable[..., Any]:
    if not call.learned:
        return target.on(call.rows, call.arguments)

    def with_learned(*arrays: Any) -> Any:
        fn = target.on(call.rows, {**call.arguments, call.learned: arrays[-1]})
        return fn(*arrays[:-1])

    return with_learned


def run_one(target: Target, call: Call) -> Outcome:
    """Call a target; what it raises is an outcome."""
    said = io.StringIO()
    try:
        with (
            warnings.catch_warnings(),
            np.errstate(all="ignore"),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
        ):
            warnings.simplefilter("ignore")
            value, gradients = adapters.call(_called(target, call), call)
    except MemoryError as error:
        return Outcome(error=one_line(error), died="memory", printed=len(said.getvalue()))
    except (Exception, SystemExit) as error:
        return Outcome(error=one_line(error), printed=len(said.getvalue()))
    return Outcome(
        value.array,
        value.framework,
        value.dtype,
        tuple(gradients),
        printed=len(said.getvalue()),
        note=value.note,
    )

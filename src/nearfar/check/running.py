"""Running a target: calls go in as plain arrays, and whatever happens comes out as an outcome."""

import contextlib
import io
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from nearfar.check import adapters
from nearfar.check.targets import Target


@dataclass(frozen=True)
class Call:
    """One call of the target."""

    arrays: tuple[np.ndarray, ...]
    embeddings: tuple[int, ...]
    framework: str
    dtype: str = "float64"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    gradient: bool = False
    rows: int = 0  # of the batch; two views of an object are one


@dataclass(frozen=True)
class Outcome:
    """What became of it: a value, or an error in one line."""

    value: np.ndarray | None = None
    framework: str = ""
    dtype: str = ""
    gradients: tuple[np.ndarray | None, ...] = ()
    error: str = ""
    died: str = ""  # "time", "memory" or "crash" of the process, or nothing
    printed: int = 0  # characters

    @property
    def finite(self) -> bool:
        return self.value is not None and bool(np.isfinite(self.value).all())


class Runner(Protocol):
    """Runs calls of one target, here or in a process of its own."""

    target: Target

    def run(self, calls: Sequence[Call]) -> list[Outcome]:
        """One outcome a call; no exception of the target gets out."""

    def loaded(self) -> list[str]:
        """Frameworks that are imported where the target is."""

    def measure(self, call: Call, loss: Any) -> "Measured":
        """Time and memory of the target, or of a loss of nearfar on the same arrays."""


@dataclass(frozen=True)
class Measured:
    """Of one call with its gradient."""

    seconds: float = float("nan")
    bytes: float = float("nan")  # beyond what was in use before, at the highest
    error: str = ""
    died: str = ""


class InProcess:
    """Runs a target where it is: for functions that exist only here."""

    def __init__(self, target: Target) -> None:
        self.target = target

    def run(self, calls: Sequence[Call]) -> list[Outcome]:
        return [run_one(self.target, call) for call in calls]

    def loaded(self) -> list[str]:
        return loaded_frameworks()

    def measure(self, call: Call, loss: Any) -> Measured:
        from nearfar.check.measuring import measure

        return measure(self.target, call, loss)


def loaded_frameworks() -> list[str]:
    import sys

    return [name for name in adapters.FRAMEWORKS if name in sys.modules]


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
            fn = target.on(call.rows, call.arguments)
            value, kind, dtype, gradients = adapters.call(
                fn, call.framework, call.arrays, call.embeddings, call.dtype, call.gradient
            )
    except MemoryError as error:
        return Outcome(error=one_line(error), died="memory", printed=len(said.getvalue()))
    except (Exception, SystemExit) as error:
        return Outcome(error=one_line(error), printed=len(said.getvalue()))
    return Outcome(value, kind, dtype, tuple(gradients), printed=len(said.getvalue()))


def one_line(error: BaseException) -> str:
    """Type and first line, short enough for a table."""
    text = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {text}"[:160]


def timed(fn: Any, least: float = 0.05, most: float = 0.5) -> float:
    """Seconds of a call, the least of several where it is quick.

    It is called until the least of seconds is over, and three times while the most of them is not.
    """
    taken: list[float] = []
    while sum(taken) < least or (len(taken) < 3 and sum(taken) < most):
        before = time.perf_counter()
        fn()
        taken.append(time.perf_counter() - before)
    return min(taken)

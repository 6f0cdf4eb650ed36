"""What goes into a target and what comes out: plain arrays, and outcomes in place of errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from nearfar.check.target.targets import Target


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
    unit: bool = False  # embeddings become unit rows on their way in
    learned: str = ""  # the last array is the argument of this name


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
    note: str = ""  # what was made of what it returned, where that was no value yet

    @property
    def finite(self) -> bool:
        return self.value is not None and bool(np.isfinite(self.value).all())


@dataclass(frozen=True)
class Measured:
    """Of one call with its gradient."""

    seconds: float = float("nan")
    bytes: float = float("nan")  # beyond what was in use before, at the highest
    error: str = ""
    died: str = ""


class Runner(Protocol):
    """Runs calls of one target, here or in a process of its own."""

    target: Target

    def run(self, calls: Sequence[Call]) -> list[Outcome]:
        """One outcome a call; no exception of the target gets out."""

    def loaded(self) -> list[str]:
        """Frameworks that are imported where the target is."""

    def measure(self, call: Call, loss: Any) -> Measured:
        """Time and memory of the target, or of a loss of nearfar on the same arrays."""


def one_line(error: BaseException) -> str:
    """Type and first line, short enough for a table."""
    text = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {text}"[:160]

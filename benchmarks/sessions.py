"""What is measured together: candidates that take turns, so that their ratios can be quoted."""

from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.workloads import WORKLOADS

EAGER = ("torch", "numpy")
LIGHTLY = "NTXent", "lightly", 4096
"""The reference between sessions: SupCR and HCL have no peer that is a package."""


class Entry(NamedTuple):
    workload: str
    candidate: str
    rows: int


class Session(NamedTuple):
    workload: str
    kind: str
    entries: list[Entry]
    gradients: bool = False
    timed: bool = True

    @property
    def name(self) -> str:
        return f"{self.workload}, {self.kind}"


def sessions(rows: list[int] | None = None) -> Iterator[Session]:
    """Of every workload all candidates at one size, then what only nearfar is asked for."""
    for workload, known in WORKLOADS.items():
        for n in rows or [known.rows]:
            entries = [Entry(workload, candidate, n) for candidate in known.candidates]
            if not rows and workload in ("SupCR", "HCL"):
                entries.append(Entry(*LIGHTLY))
            yield Session(workload, "all candidates", entries, gradients=True)
        if not rows:
            yield from _sizes(workload)


def _sizes(workload: str) -> Iterator[Session]:
    names = list(WORKLOADS[workload].candidates)
    eager = [n for n in names if n.startswith(("nearfar, torch", "nearfar, numpy", "products"))]
    yield Session(workload, "growth", [Entry(workload, c, n) for c in eager for n in (4096, 8192)])
    if workload in ("NTXent", "SupCon"):
        large = [Entry(workload, f"nearfar, {f}", 65_536) for f in EAGER]
        yield Session(workload, "large", large, timed=False)
    if workload == "NTXent":
        few = ("nearfar, torch", "nearfar, numpy", "dense, torch", "lightly")
        small = [Entry(workload, c, n) for c in few for n in (32, 256)]
        yield Session(workload, "small", small, gradients=True)

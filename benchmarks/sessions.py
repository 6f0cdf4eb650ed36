"""What is measured together: candidates that take turns, so that their ratios can be quoted."""

from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.workloads import EAGER, LEAN, WORKLOADS

FEW = (8, 32, 128, 512)
GROWN = (4096, 8192)


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
        kept = [c for c in known.candidates if not c.endswith(LEAN)]
        for n in rows or [known.rows]:
            entries = [Entry(workload, c, n) for c in kept]
            yield Session(workload, "all candidates", entries, gradients=True)
        if not rows:
            yield from _sizes(workload)


def _sizes(workload: str) -> Iterator[Session]:
    def named(n: int, kinds: tuple[str, ...], frameworks: tuple[str, ...]) -> list[Entry]:
        names = WORKLOADS[workload].candidates
        starts = tuple(f"{kind}, {framework}" for kind in kinds for framework in frameworks)
        return [Entry(workload, c, n) for c in names if c.startswith(starts)]

    grown = [e for n in GROWN for e in named(n, ("nearfar", "floor"), EAGER)]
    yield Session(workload, "growth", grown)
    if workload in ("NTXent", "SupCon"):
        large = [Entry(workload, f"nearfar, {f}", 65_536) for f in EAGER]
        yield Session(workload, "large", large, timed=False)
    if WORKLOADS[workload].closed:
        frameworks = (*EAGER, "jax")
        small = [e for n in FEW for e in named(n, ("nearfar", "dense"), frameworks)]
        kept = [e for e in small if not e.candidate.endswith(LEAN)]
        yield Session(workload, "small", kept, gradients=True)

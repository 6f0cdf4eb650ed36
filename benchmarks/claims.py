"""What nearfar is asked to reach, as data; each is answered by the figures of one session."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks.sessions import FEW, GROWN, Entry
from benchmarks.workloads import EAGER, LEAN, WORKLOADS

Figures = dict[str, Any]


class Claim(NamedTuple):
    session: str
    ours: Entry
    asked: str
    """"time", "MiB": at most `bound` times as much as `against`, or at most `bound`."""
    bound: float
    against: Entry | None = None

    def text(self) -> str:
        ours = f"{self.ours.workload}, {self.ours.rows} rows: {self.ours.candidate}"
        if self.against is None:
            return f"{ours}: at most {self.bound:g} {self.asked}"
        other = self.against.candidate
        if self.against.workload != self.ours.workload:
            other = f"{self.against.workload} by {other}"
        if self.against.rows != self.ours.rows:
            other += f", {self.against.rows} rows"
        what = "the time" if self.asked == "time" else "the memory"
        return f"{ours}: at most {self.bound:g} times {what} of {other}"

    def measured(self, found: dict[Entry, Figures]) -> float | None:
        """None where a candidate has no figure."""
        key = "MiB" if self.asked == "MiB" else "seconds"
        ours = found.get(self.ours, {}).get(key)
        other = 1.0 if self.against is None else found.get(self.against, {}).get(key)
        if not ours or not other:
            return None
        return ours / other

    def met(self, value: float) -> bool:
        return value <= self.bound


KEPT, NOT_KEPT, GROWTH, SMALL = 1.4, 1.5, 4.3, 1.0
"""Times of a loss's floor with tiles kept, and without; from 4,096 to 8,192 rows, where none is
kept; and of the dense formula in the same framework, at few rows."""


def claims() -> Iterator[Claim]:
    for workload, known in WORKLOADS.items():
        for framework in EAGER:
            for how, bound in (("", KEPT), (LEAN, NOT_KEPT)):
                for n in GROWN:
                    ours, floor = (
                        Entry(workload, f"{what}, {framework}{how}", n)
                        for what in ("nearfar", "floor")
                    )
                    yield Claim(f"{workload}, growth", ours, "time", bound, floor)
            half, full = (Entry(workload, f"nearfar, {framework}{LEAN}", n) for n in GROWN)
            yield Claim(f"{workload}, growth", full, "time", GROWTH, half)
            if workload == "SupCR":
                full = Entry(workload, f"nearfar, {framework}", GROWN[-1])
                yield Claim(f"{workload}, growth", full, "MiB", 512)
        for framework in ("torch", "numpy", "jax") if known.closed else ():
            for n in FEW:
                ours, dense = (
                    Entry(workload, f"{c}, {framework}", n) for c in ("nearfar", "dense")
                )
                yield Claim(f"{workload}, small", ours, "time", SMALL, dense)
    for workload in ("NTXent", "SupCon"):
        for framework in EAGER:
            ours = Entry(workload, f"nearfar, {framework}", 65_536)
            yield Claim(f"{workload}, large", ours, "MiB", 128)
        ours, dense = (Entry(workload, f"{c}, jax", 4096) for c in ("nearfar", "dense"))
        yield Claim(f"{workload}, all candidates", ours, "MiB", 0.1, dense)


def answered(name: str, figures: list[Figures]) -> list[Figures]:
    """The claims that a session answers, with what was measured."""
    found = {Entry(f["workload"], f["candidate"], f["rows"]): f for f in figures}
    answers = []
    for claim in claims():
        if claim.session == name and {claim.ours, claim.against} - {None} <= found.keys():
            value = claim.measured(found)
            met = None if value is None else claim.met(value)
            answers.append({"asked": claim.text(), "measured": value, "met": met})
    return answers

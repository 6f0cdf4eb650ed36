"""What nearfar is asked to reach, as data; each is answered by the figures of one session."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks.sessions import EAGER, LIGHTLY, Entry
from benchmarks.workloads import WORKLOADS

Figures = dict[str, Any]


class Claim(NamedTuple):
    session: str
    ours: Entry
    asked: str
    """"faster": `against` takes at least `bound` times as long; "time", "MiB": at most `bound`
    times as much as `against`, or at most `bound`."""
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
        if self.asked == "faster":
            return f"{ours}: at least {self.bound:g} times as fast as {other}"
        what = "the time" if self.asked == "time" else "the memory"
        return f"{ours}: at most {self.bound:g} times {what} of {other}"

    def measured(self, found: dict[Entry, Figures]) -> float | None:
        """None where a candidate has no figure."""
        key = "MiB" if self.asked == "MiB" else "seconds"
        ours = found.get(self.ours, {}).get(key)
        other = 1.0 if self.against is None else found.get(self.against, {}).get(key)
        if not ours or not other:
            return None
        return other / ours if self.asked == "faster" else ours / other

    def met(self, value: float) -> bool:
        return value >= self.bound if self.asked == "faster" else value <= self.bound


FASTER = [
    ("NTXent", ", no tiles kept", 4, "lightly"),
    ("NTXent", "", 5, "lightly"),
    ("SupCon", "", 6, "pytorch metric learning"),
    ("HCL", "", 5, "dense, torch"),
    ("CLIP", "", 1.4, "torch chunked"),
    ("CLIP", "", 2, "open_clip"),
    ("SigLIP", "", 2, "open_clip"),
    ("batch-hard", "", 6, "pytorch metric learning"),
    ("batch-all", "", 4, "sentence-transformers"),
    ("SupCR", "", 60, "authors' code"),
]
COMPILED = [("jax", "faster", 1.8), ("jax", "MiB", 0.1), ("tensorflow", "faster", 1.2)]
FLOORS = [
    ("NTXent", "", 1.4),
    ("NTXent", ", no tiles kept", 1.4),
    ("SupCon", "", 1.4),
    ("SupCon", ", no tiles kept", 1.4),
    ("own_positive", "", 2.5),
]
"""Times of the bare products, at 8,192 rows."""
BASELINES = [
    ("NTXent", "dense, torch", 1.2, "lightly"),
    ("SupCon", "dense, torch", 1.2, "pytorch metric learning"),
    ("CLIP", "dense, torch", 1.2, "sentence-transformers"),
    ("SigLIP", "dense, torch", 1.2, "open_clip"),
    ("InfoNCE", "dense, torch", 1.2, "info-nce-pytorch"),
    ("batch-hard", "dense, torch", 1.2, "pytorch metric learning"),
    ("batch-all", "dense, torch", 1.2, "sentence-transformers"),
    ("HCL", "dense, torch", 1.2 * 1024 / 557, "lightly"),
    ("SupCR", "published way", 1.2, "authors' code"),
]
"""No straw men: dense formulas against peers; HCL, which no package has, against the ratio that its
authors' code had to lightly on one quiet machine of two cores."""


def claims() -> Iterator[Claim]:
    for workload, kind, bound, peer in FASTER:
        n = WORKLOADS[workload].rows
        for framework in EAGER:
            ours = Entry(workload, f"nearfar, {framework}{kind}", n)
            yield Claim(
                f"{workload}, all candidates", ours, "faster", bound, Entry(workload, peer, n)
            )
    for workload, kind, bound in FLOORS:
        for framework in EAGER:
            ours = Entry(workload, f"nearfar, {framework}{kind}", 8192)
            floor = Entry(workload, f"products, {framework}", 8192)
            yield Claim(f"{workload}, growth", ours, "time", bound, floor)
    for workload in WORKLOADS:
        for framework in EAGER:
            half, full = (Entry(workload, f"nearfar, {framework}", n) for n in (4096, 8192))
            yield Claim(f"{workload}, growth", full, "time", 4.6, half)
            if workload == "SupCR":
                yield Claim(f"{workload}, growth", full, "MiB", 512)
    for workload in ("NTXent", "SupCon"):
        for framework in EAGER:
            ours = Entry(workload, f"nearfar, {framework}", 65_536)
            yield Claim(f"{workload}, large", ours, "MiB", 128)
        for framework, asked, bound in COMPILED:
            ours, dense = (Entry(workload, f"{c}, {framework}", 4096) for c in ("nearfar", "dense"))
            yield Claim(f"{workload}, all candidates", ours, asked, bound, dense)
    for framework in EAGER:
        ours = f"nearfar, {framework}"
        for n, bound, other in ((256, 1.5, "lightly"), (32, 3, "dense, torch")):
            against = Entry("NTXent", other, n)
            yield Claim("NTXent, small", Entry("NTXent", ours, n), "time", bound, against)
    for workload, candidate, bound, other in BASELINES:
        n = WORKLOADS[workload].rows
        reference = Entry(*LIGHTLY) if other == "lightly" else Entry(workload, other, n)
        ours = Entry(workload, candidate, n)
        yield Claim(f"{workload}, all candidates", ours, "time", bound, reference)


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

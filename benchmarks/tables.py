"""What a run found, for the terminal."""

from typing import Any

from rich.table import Table

from benchmarks.sessions import Session
from benchmarks.workloads import WORKLOADS

Figures = dict[str, Any]


def of_session(session: Session, found: list[Figures]) -> Table:
    shown = Table("", "rows", "ms", "/ products", "/ nearfar", "MiB", "gradient error", "")
    shown.title = f"{session.name}: value and gradient"
    for figures in found:
        workload, candidate, rows = (figures[k] for k in ("workload", "candidate", "rows"))
        name = candidate if workload == session.workload else f"{workload} by {candidate}"
        if "problem" in figures:
            shown.add_row(name, f"{rows:,}", *["-"] * 5, figures["problem"])
            continue
        beside = {f["candidate"]: f.get("seconds") for f in found if f["rows"] == rows}
        seconds, error = figures["seconds"], figures.get("gradient error")
        shown.add_row(
            name,
            f"{rows:,}",
            f"{1000 * seconds:.4g}",
            _over(seconds, beside.get("products, torch")),
            _over(seconds, beside.get("nearfar, torch")),
            f"{figures['MiB']:.0f}",
            "" if error is None else f"{error:.1e}",
            WORKLOADS[workload].candidates[candidate].note,
        )
    return shown


def of_claims(sessions: list[Figures]) -> Table:
    shown = Table("asked", "measured", "", title="Asked and measured")
    for claim in (c for session in sessions for c in session["claims"]):
        measured = "-" if claim["measured"] is None else f"{claim['measured']:.3g}"
        shown.add_row(claim["asked"], measured, {True: "yes", False: "no", None: ""}[claim["met"]])
    return shown


def of_sweeps(sweeps: list[Figures], cap: int) -> Table:
    shown = Table("", "", "rows", title=f"Most rows within {cap:,} MiB")
    for sweep in sweeps:
        if "problem" in sweep:
            rows = sweep["problem"]
        elif "fits" in sweep:
            rows = f"{sweep['fits']:,}"
        else:
            last = sweep["points"][-1]
            rows = f"more than {last['rows']:,}, which took {last['MiB']:.0f} MiB"
        shown.add_row(sweep["workload"], sweep["candidate"], rows)
    return shown


def _over(seconds: float, other: float | None) -> str:
    return "" if other is None else f"{seconds / other:.2f}"

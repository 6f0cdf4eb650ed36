"""What a run found, on one page."""

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from benchmarks.sessions import FEW, GROWN
from benchmarks.workloads import EAGER, LEAN, WORKLOADS

Figures = dict[str, Any]
Found = dict[tuple[str, str, int], Figures]


def page(results: Figures) -> Iterator[Table]:
    """Floors, peers, few rows and most rows, as far as they were measured, and what is missed."""
    of_kind: dict[str, Found] = {}
    for session in results["sessions"]:
        kind = of_kind.setdefault(session["name"].rpartition(", ")[2], {})
        for f in session["candidates"]:
            kind[f["workload"], f["candidate"], f["rows"]] = f
    if "growth" in of_kind:
        yield of_floors(of_kind["growth"])
    if "all candidates" in of_kind:
        yield of_peers(of_kind["all candidates"])
    if "small" in of_kind:
        yield of_few(of_kind["small"])
    if results["sweeps"]:
        yield of_sweeps(results["sweeps"], results["cap"])
    if any(session["claims"] for session in results["sessions"]):
        yield of_claims(results["sessions"])


def of_floors(found: Found) -> Table:
    kinds = [(f, how) for how in ("", LEAN) for f in EAGER]
    heads = [f"{f}{how}" for f, how in kinds]
    shown = Table("", "rows", *heads, "the floor of a tile, kept", title="Times of the floor")
    for workload in dict.fromkeys(w for w, _, _ in found):
        for n in GROWN:

            def seconds(what: str, n: int = n, workload: str = workload) -> float | None:
                return found.get((workload, what, n), {}).get("seconds")

            cells = [
                _over(seconds(f"nearfar, {f}{how}"), seconds(f"floor, {f}{how}"))
                for f, how in kinds
            ]
            said = WORKLOADS[workload].floor.said(True)
            shown.add_row(workload, f"{n:,}", *cells, said if n == GROWN[0] else "")
    return shown


def of_peers(found: Found) -> Table:
    heads = ("rows", "ms", *[f"/ nearfar, {f}" for f in EAGER], "MiB", "gradient error", "")
    shown = Table("", "", *heads, title="Value and gradient beside others")
    last = None
    for (workload, candidate, n), figures in found.items():
        name, last = workload if workload != last else "", workload
        if "problem" in figures:
            shown.add_row(name, candidate, f"{n:,}", *["-"] * 5, figures["problem"])
            continue
        seconds, error = figures["seconds"], figures.get("gradient error")
        ours = [found.get((workload, f"nearfar, {f}", n), {}).get("seconds") for f in EAGER]
        shown.add_row(
            name,
            candidate,
            f"{n:,}",
            f"{1000 * seconds:.4g}",
            *[_over(seconds, x) for x in ours],
            f"{figures['MiB']:.0f}",
            "" if error is None else f"{error:.1e}",
            WORKLOADS[workload].candidates[candidate].note,
        )
    return shown


def of_few(found: Found) -> Table:
    shown = Table("", "", *[f"{n} rows" for n in FEW], title="Times of a dense formula")
    for workload, ours in dict.fromkeys((w, c) for w, c, _ in found if c.startswith("nearfar")):
        cells = []
        for n in FEW:
            pair = [(workload, c, n) for c in (ours, ours.replace("nearfar", "dense"))]
            cells.append(_over(*[found.get(key, {}).get("seconds") for key in pair]))
        shown.add_row(workload, ours.rpartition(", ")[2], *cells)
    return shown


def of_claims(sessions: list[Figures]) -> Table:
    claims = [c for session in sessions for c in session["claims"]]
    met = sum(c["met"] is True for c in claims)
    title = f"{met} of {len(claims)} that were asked are met; these are not"
    shown = Table("asked", "measured", title=title)
    for claim in claims:
        if claim["met"] is not True:
            value = claim["measured"]
            shown.add_row(claim["asked"], "-" if value is None else f"{value:.3g}")
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


def _over(seconds: float | None, other: float | None) -> str:
    return "" if not seconds or not other else f"{seconds / other:.2f}"

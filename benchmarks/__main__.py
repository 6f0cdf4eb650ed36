"""nearfar beside every installed peer.

python -m benchmarks [--only NTXent] [--rows 4096] [--no-sweeps] [--out FILE]
    [--resume] [--figures FOLDER] [--smoke]
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks import tables
from benchmarks.claims import answered
from benchmarks.figures import draw
from benchmarks.machine import machine
from benchmarks.measure import measured, sweep
from benchmarks.process import FAILED
from benchmarks.results import begun, save
from benchmarks.sessions import sessions
from benchmarks.workloads import LEAN, WORKLOADS

CAP = 2048
"""MiB that a call may add, for the largest number of rows."""
SWEPT = ("NTXent", "SupCon", "CLIP", "SupCR")
SIZES = [2**k for k in range(8, 16)]
SMOKE = [64]


def swept(workload: str) -> list[str]:
    candidates = WORKLOADS[workload].candidates
    return [c for c in candidates if not c.endswith(LEAN) and not c.startswith("floor")]


def main(
    only: Annotated[list[str] | None, typer.Option(help="Workloads, by name; all.")] = None,
    threads: Annotated[int, typer.Option(help="Threads of every candidate.")] = 2,
    rounds: Annotated[int, typer.Option(help="Turns that every candidate takes.")] = 5,
    rows: Annotated[list[int] | None, typer.Option(help="Compare at these sizes only.")] = None,
    out: Annotated[Path, typer.Option(help="Where all figures go, as JSON.")] = Path(
        "benchmarks.json"
    ),
    resume: Annotated[bool, typer.Option(help="Go on with the run that --out holds.")] = False,
    figures: Annotated[Path | None, typer.Option(help="Folder for pictures of scaling.")] = None,
    sweeps: Annotated[bool, typer.Option(help="Rising sizes, after the comparisons.")] = True,
    smoke: Annotated[bool, typer.Option(help="The code once, on few rows.")] = False,
) -> None:
    """Time, memory and gradient error of nearfar, dense formulas and installed peers."""
    console = Console()
    if not console.is_terminal:
        console.width = 140
    unknown = sorted(set(only or ()) - set(WORKLOADS))
    if unknown:
        console.print(f"expected --only to be of {', '.join(WORKLOADS)}; received {unknown}")
        raise typer.Exit(2)
    cores = len(os.sched_getaffinity(0))
    if not 1 <= threads <= cores:
        console.print(
            f"expected --threads to be from 1 to the {cores} cores here; received {threads}"
        )
        raise typer.Exit(2)
    if out.is_dir() or not os.access(out.parent, os.W_OK):
        # Before anything is measured, which takes long.
        console.print(f"expected --out to be a file in a folder that is there; received {out}")
        raise typer.Exit(2)
    if figures:
        figures.mkdir(parents=True, exist_ok=True)
    if smoke:
        only, rows, rounds = only or ["NTXent"], rows or SMOKE, 1
    names = only or list(WORKLOADS)
    planned = [s for s in sessions(rows) if s.workload in names]
    wanted = sweeps and (smoke or not rows)
    curves = [(w, c) for w in SWEPT if w in names and wanted for c in swept(w)]
    here = {"machine": machine(threads), "cap": CAP, "sessions": [], "sweeps": []}
    try:
        results = begun(here, out) if resume else here
    except ValueError as error:
        console.print(str(error))
        raise typer.Exit(2) from None
    had = {s["name"] for s in results["sessions"]}
    drawn = {(s["workload"], s["candidate"]) for s in results["sweeps"]}
    planned, curves = (
        [s for s in planned if s.name not in had],
        [c for c in curves if c not in drawn],
    )
    columns = (
        SpinnerColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=len(planned) + len(curves))
        for session in planned:

            def step(text: str, name: str = session.name) -> None:
                progress.update(task, description=f"{name}: {text}")

            found = measured(session, threads, rounds, step)
            answers = answered(session.name, found)
            results["sessions"].append(
                {"name": session.name, "candidates": found, "claims": answers}
            )
            save(results, out)
            progress.advance(task)
        for workload, candidate in curves:

            def step(text: str, name: str = workload) -> None:
                progress.update(task, description=f"{name}: {text}")

            sizes = SMOKE if smoke else SIZES
            results["sweeps"].append(sweep(workload, candidate, sizes, CAP, threads, step))
            save(results, out)
            progress.advance(task)
    for table in tables.page(results):
        console.print(table)
    if figures:
        for path in draw(results["sweeps"], CAP, figures):
            console.print(f"drew {path}")
    console.print(f"wrote {out}")
    measured_all = [c for s in results["sessions"] for c in s["candidates"]] + results["sweeps"]
    if any(one.get("problem", "").startswith(FAILED) for one in measured_all):
        raise typer.Exit(1)


if __name__ == "__main__":
    sys.exit(typer.run(main))

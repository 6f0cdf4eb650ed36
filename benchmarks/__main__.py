"""nearfar beside every installed peer.

python -m benchmarks [--smoke] [--only NTXent] [--out FILE] [--figures FOLDER]
"""

import json
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.figures import draw
from benchmarks.measure import interleaved, sizes
from benchmarks.workloads import WORKLOADS

CAP = 2048
"""MiB that a call may add, for the largest number of rows."""

SCALING = {
    "NTXent": ("nearfar, torch", "nearfar, numpy", "dense, torch", "lightly"),
    "SupCon": ("nearfar, torch", "nearfar, numpy", "dense, torch", "pytorch metric learning"),
    "CLIP": ("nearfar, torch", "nearfar, numpy", "torch chunked", "open clip"),
    "SupCR": ("nearfar, torch", "nearfar, numpy", "dense, torch"),
}
KNOWN = (
    "numpy",
    "torch",
    "nearfar",
    "threadpoolctl",
    "lightly",
    "pytorch-metric-learning",
    "open_clip_torch",
    "sentence-transformers",
    "info-nce-pytorch",
)


def machine(threads: int) -> dict[str, Any]:
    model = [
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="ascii").splitlines()
        if line.startswith("model name")
    ]
    installed = {d.metadata["Name"]: d.version for d in distributions()}
    return {
        "processor": model[0] if model else platform.processor(),
        "cores": len(model),
        "threads": threads,
        "python": platform.python_version(),
        "system": platform.platform(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: installed[name] for name in KNOWN if name in installed},
    }


def table(name: str, rows: int, found: dict[str, Any]) -> Table:
    shown = Table("", "ms", "/ products", "nearfar, torch is", "MiB", "gradient error", "")
    shown.title = f"{name}, {rows} rows, value and gradient"
    ours, floor = (found[key].get("median") for key in ("nearfar, torch", "three products"))
    for candidate, one in found.items():
        note = WORKLOADS[name].candidates[candidate].note
        if "median" not in one:
            shown.add_row(candidate, *["-"] * 5, next(iter(one)))
            continue
        error = one.get("gradient error")
        shown.add_row(
            candidate,
            f"{1000 * one['median']:.1f}",
            f"{one['median'] / floor:.2f}",
            f"{one['median'] / ours:.2f} times as fast",
            f"{one['growth']:.0f}",
            "" if error is None else f"{error:.1e}",
            note,
        )
    return shown


def main(
    only: Annotated[list[str] | None, typer.Option(help="Workloads, by name; all.")] = None,
    threads: Annotated[int, typer.Option(help="Threads of every candidate.")] = 2,
    repeats: Annotated[int, typer.Option(help="Rounds; every candidate runs in each.")] = 5,
    rows: Annotated[list[int] | None, typer.Option(help="Sizes; each workload's own.")] = None,
    out: Annotated[Path, typer.Option(help="Where all figures go, as JSON.")] = Path(
        "benchmarks.json"
    ),
    figures: Annotated[Path | None, typer.Option(help="Folder for pictures of scaling.")] = None,
    smoke: Annotated[bool, typer.Option(help="All code once, on few rows.")] = False,
) -> None:
    """Time, memory and gradient error of nearfar, dense formulas and installed peers."""
    console = Console()
    unknown = sorted(set(only or ()) - set(WORKLOADS))
    if unknown:
        console.print(f"expected --only to be of {', '.join(WORKLOADS)}; received {unknown}")
        raise typer.Exit(2)
    names = only or (["NTXent"] if smoke else list(WORKLOADS))
    results: dict[str, Any] = {"machine": machine(threads), "runs": [], "scaling": {}}
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("")

        def step(text: str) -> None:
            progress.update(task, description=text)

        for name in names:
            for n in rows or [64 if smoke else WORKLOADS[name].rows]:
                found = interleaved(name, n, threads, 1 if smoke else repeats, step)
                results["runs"].append({"workload": name, "rows": n, "candidates": found})
                console.print(table(name, n, found))
        if figures:
            to = [64] if smoke else [2**k for k in range(8, 17)]
            for name in set(names) & set(SCALING):
                curves = {c: sizes(name, c, to, CAP, step) for c in SCALING[name]}
                results["scaling"][name] = curves
            for path in draw(results["scaling"], figures):
                console.print(f"drew {path}")
    out.write_text(json.dumps(results, indent=1), encoding="utf-8")
    console.print(f"wrote {out}")


if __name__ == "__main__":
    sys.exit(typer.run(main))

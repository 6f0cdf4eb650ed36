"""Figures of a session, and of one candidate over many sizes."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.inputs import rows
from benchmarks.process import Problem, Process, available
from benchmarks.sessions import Entry, Session
from benchmarks.worker import TRUTH

Step = Callable[[str], None]
Figures = dict[str, Any]

LARGEST = 14_336
"""MiB that a candidate may take, so that a greedy one ends and not the machine."""
FEWEST, ENOUGH = 3, 90.0
"""Rounds that are made at least, and seconds after which no further one begins."""
PATIENCE = 20.0
"""Seconds of a call after which no larger size is tried."""


def measured(session: Session, threads: int, rounds: int, step: Step) -> list[Figures]:
    """Seconds, memory and gradient error of every entry, or its problem."""
    found: list[Figures] = [entry._asdict() for entry in session.entries]
    cap = min(LARGEST, 0.8 * available())
    with ExitStack() as stack:
        processes = [
            stack.enter_context(Process(entry.workload, entry.candidate, threads))
            for entry in session.entries
        ]
        alive = []
        for entry, figures, process in zip(session.entries, found, processes, strict=True):
            step(f"{entry.candidate}, {entry.rows} rows: first call")
            try:
                process.ask("start")
                process.ask("cap", cap)
                figures |= process.ask("first", entry.rows)
                alive.append((entry, figures, process))
            except Problem as problem:
                figures["problem"] = str(problem)
                process.__exit__()
        start = time.monotonic()
        for number in range(rounds if session.timed else 0):
            if number >= FEWEST and time.monotonic() - start > ENOUGH:
                break
            for entry, figures, process in alive:
                step(f"{entry.candidate}, {entry.rows} rows: round {number + 1} of {rounds}")
                figures.setdefault("turns", []).append(process.ask("turn"))
        for _, figures, _ in alive:
            if "turns" in figures:
                figures["seconds"] = statistics.median(figures["turns"])
        if session.gradients:
            step("gradients")
            with tempfile.TemporaryDirectory() as folder:
                _hold_against_truth(alive, threads, Path(folder) / "gradient.npy")
    return found


def _hold_against_truth(
    alive: list[tuple[Entry, Figures, Process]], threads: int, path: Path
) -> None:
    """The largest error of each gradient, over the largest entry of the true one."""
    truths: dict[tuple[str, int], np.ndarray] = {}

    def gradient(process: Process, n: int) -> np.ndarray:
        process.ask("gradient", str(path))
        found = np.load(path).astype(float)
        z = rows(len(found)).astype(float)
        # Only some normalise inside, which removes the part along each row.
        return found - (found * z).sum(1, keepdims=True) * z

    for entry, figures, process in alive:
        if entry.candidate.startswith("floor"):
            continue
        key = entry.workload, entry.rows
        if key not in truths:
            with Process(entry.workload, TRUTH, threads) as oracle:
                oracle.ask("start")
                oracle.ask("cap", LARGEST)
                oracle.ask("first", entry.rows)
                truths[key] = gradient(oracle, entry.rows)
        error = np.abs(gradient(process, entry.rows) - truths[key]).max()
        figures["gradient error"] = float(error / np.abs(truths[key]).max())


def sweep(
    workload: str, candidate: str, sizes: list[int], cap: int, threads: int, step: Step
) -> Figures:
    """Seconds and MiB at rising sizes, as far as `cap` MiB go, and the largest size that fits."""
    points: list[Figures] = []
    found: Figures = {"workload": workload, "candidate": candidate, "points": points}
    try:
        for n, figures in _rising(workload, candidate, sizes, cap, threads):
            step(f"{candidate}, {n} rows")
            points.append({"rows": n} | figures)
    except Problem as problem:
        if not points and "memory" not in str(problem):
            return found | {"problem": str(problem)}
        beyond = sizes[len(points)]
        step(f"{candidate}, at most {beyond} rows")
        found["beyond"] = beyond
        low = points[-1]["rows"] if points else 0
        found["fits"] = _bisected(workload, candidate, low, beyond, cap, threads)
    return found


def _rising(
    workload: str, candidate: str, sizes: list[int], cap: int, threads: int
) -> Iterator[tuple[int, Figures]]:
    with Process(workload, candidate, threads) as process:
        process.ask("start")
        process.ask("cap", cap)
        for n in sizes:
            figures = process.ask("first", n)
            if figures["MiB"] > cap:
                raise Problem("out of memory")
            if figures["seconds"] < PATIENCE / 4:
                figures["seconds"] = process.ask("turn")
            yield n, figures
            if figures["seconds"] > PATIENCE:
                return


def _bisected(workload: str, candidate: str, low: int, high: int, cap: int, threads: int) -> int:
    """The largest number of rows that fits, to an eighth of `high`."""
    while high - low > max(high // 8, 1):
        middle = (low + high) // 2
        try:
            list(_rising(workload, candidate, [middle], cap, threads))
            low = middle
        except Problem:
            high = middle
    return low

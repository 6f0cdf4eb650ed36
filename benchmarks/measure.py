"""Candidates in turn, each in a process of its own that lives for the whole run."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import workloads
from benchmarks.workloads import WORKLOADS

Step = Callable[[str], None]

# MiB that a candidate may take, so that a greedy one ends and not the machine.
LARGEST = 6144


class Process:
    """A worker, or the reason why there is none."""

    def __init__(self, workload: str, candidate: str, threads: int) -> None:
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        limits = dict.fromkeys(names, str(threads))
        environment = os.environ | limits
        self.threads = threads
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "benchmarks.worker", workload, candidate],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, *command: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        assert self._process.stderr
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(self._process.stderr.read()[-2000:])
        return json.loads(line)

    def make(self, rows: int) -> Any:
        return self.ask("make", rows, self.threads)

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        assert self._process.stderr
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._process.stderr.close()


def interleaved(name: str, rows: int, threads: int, repeats: int, step: Step) -> dict[str, Any]:
    """Times, memory and gradients of every candidate of a workload at one size."""
    found: dict[str, Any] = {}
    alive: dict[str, Process] = {}
    workload = WORKLOADS[name]
    with tempfile.TemporaryDirectory() as folder:
        try:
            for candidate in workload.candidates:
                alive[candidate] = Process(name, candidate, threads)
            for candidate, process in list(alive.items()):
                step(f"{name}, {rows} rows: {candidate} starts")
                process.ask("cap", LARGEST)
                problem = process.make(rows) or process.ask("time", 1)
                if isinstance(problem, dict):
                    found[candidate] = problem
                    alive.pop(candidate).__exit__()
                    continue
                found[candidate] = {"seconds": []}
            for number in range(repeats):
                for candidate, process in alive.items():
                    step(f"{name}, {rows} rows, round {number + 1}: {candidate}")
                    found[candidate]["seconds"] += process.ask("time", 2)[1:]
            gradients = {}
            for candidate, process in alive.items():
                found[candidate]["growth"] = process.ask("growth")
                path = Path(folder) / f"{len(gradients)}.npy"
                process.ask("gradient", str(path))
                gradients[candidate] = np.load(path)
        finally:
            for process in alive.values():
                process.__exit__()
    truth = gradients.get(workload.truth)
    for candidate, gradient in gradients.items():
        found[candidate]["median"] = statistics.median(found[candidate]["seconds"])
        if truth is not None and gradient.shape == truth.shape:
            error = np.abs(_tangent(gradient, name, rows) - _tangent(truth, name, rows)).max()
            found[candidate]["gradient error"] = float(error / np.abs(truth).max())
    return found


def _tangent(gradient: np.ndarray, name: str, rows: int) -> np.ndarray:
    """Without the part along each unit row, which only some remove by normalising inside."""
    if WORKLOADS[name].candidates.keys() & {"sentence transformers", "pytorch metric learning"}:
        z = workloads.classes(rows)[0]
    else:
        z = workloads.rows(len(gradient))
    z = z.numpy().astype(np.float64)
    return gradient - (gradient * z).sum(1, keepdims=True) * z


def sizes(name: str, candidate: str, sizes: list[int], cap: int, step: Step) -> list[Any]:
    """(rows, seconds, MiB) of a candidate as far as so many MiB and 20 seconds a call go."""
    found: list[Any] = []
    for rows in sizes:
        step(f"{name}: {candidate} at {rows} rows")
        with Process(name, candidate, 2) as process:
            problem = process.make(64) or process.ask("time", 1)
            if isinstance(problem, dict):
                return found if "missing" in problem else [*found, (rows, None, None)]
            process.make(rows)
            process.ask("cap", cap)
            memory = process.ask("growth")
            if isinstance(memory, dict) or memory > cap:
                return [*found, (rows, None, None)]
            seconds = min(process.ask("time", 2))
            found.append((rows, seconds, memory))
            if seconds > 20:
                return found
    return found

"""What a call adds to the memory of its process, beyond inputs and gradients, in each framework.

    python -m benchmarks.memory [--only "SmoothAP"] [--framework torch]

A process for each case and framework; a case is held against what it is asked to stay under.
"""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer

import nearfar as nf
from benchmarks import runs
from benchmarks.inputs import Arrays
from benchmarks.worker import Worker
from benchmarks.workloads import Candidate

CAP = 4096
"""MiB that a call may add before it is stopped."""

_RUNS = {
    "torch": runs.in_torch,
    "numpy": runs.in_numpy,
    "jax": runs.in_jax,
    "tensorflow": runs.in_tensorflow,
}


class Case(NamedTuple):
    loss: nf.Loss
    inputs: Callable[[int], Arrays]
    rows: int
    asked: int
    """MB beyond inputs and gradients."""


def rows(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def labels(seed: int, n: int, classes: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, classes, n)


def against_reference(n: int) -> Arrays:
    """Anchors, and a labelled reference 16 times as long."""
    return rows(0, n, 128), labels(1, n, 500), rows(2, 16 * n, 128), labels(3, 16 * n, 500)


def with_own(n: int) -> Arrays:
    """Queries, their positives, and 16 negatives of each query's own."""
    return rows(0, n, 256), rows(1, n, 256), rows(2, n, 16, 256)


def with_proxies(n: int) -> Arrays:
    classes = n * 100_000 // 1024
    return rows(0, n, 128), labels(1, n, classes), rows(2, classes, 128)


def classes(n: int) -> Arrays:
    return rows(0, n, 128), labels(1, n, n // 8)


CASES = {
    "SupCon, 4096 anchors against a reference of 65536": Case(
        nf.SupCon(), against_reference, 4096, 160
    ),
    "InfoNCE, 1024 queries with 16 negatives of their own and the batch": Case(
        nf.InfoNCE(in_batch="always"), with_own, 1024, 128
    ),
    "ProxyAnchor, 1024 rows and 100000 proxies": Case(nf.ProxyAnchor(), with_proxies, 1024, 256),
    "SmoothAP, 1024 rows": Case(nf.SmoothAP(), classes, 1024, 256),
}


def added(case: Case, framework: str) -> float:
    """MB, in this process."""
    run = partial(_RUNS[framework], case.loss)
    worker = Worker(Candidate(case.inputs, run))
    worker.start()
    worker.cap(CAP)
    megabytes = worker.first(case.rows)["MiB"] * 2**20 / 1e6
    # By its compiler's account JAX adds no gradients, which are outputs.
    gradients = (
        0 if framework == "jax" else sum(x.nbytes for x in case.inputs(case.rows) if x.ndim > 1)
    )
    return megabytes - gradients / 1e6


def main(
    only: Annotated[list[str] | None, typer.Option(help="Beginnings of cases; all.")] = None,
    framework: Annotated[list[str] | None, typer.Option(help="Frameworks; all.")] = None,
    here: Annotated[bool, typer.Option(help="In this process: one of each.")] = False,
) -> None:
    """Hold the memory of calls against what is asked of them."""
    wanted = [c for c in CASES if c.startswith(tuple(only or [""]))]
    frameworks = framework or list(_RUNS)
    if here:
        print(f"{added(CASES[wanted[0]], frameworks[0]):.0f}")
        return
    missed = False
    for name in wanted:
        for one in frameworks:
            command: list[Any] = [sys.executable, "-m", "benchmarks.memory", "--here"]
            done = subprocess.run(
                [*command, "--only", name, "--framework", one],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                told = done.stderr.strip().rpartition("\n")[2]
            else:
                told = f"{done.stdout.strip()} MB"
                missed |= float(done.stdout) >= CASES[name].asked
            print(f"{name}, {one}: {told}, asked under {CASES[name].asked} MB", flush=True)
    raise typer.Exit(missed)


if __name__ == "__main__":
    sys.exit(typer.run(main))

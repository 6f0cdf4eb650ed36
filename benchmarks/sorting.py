"""Losses that sort rows, against three bare products of the same size.

    python -m benchmarks.sorting [ROWS]

Value and gradient in PyTorch, float32, 128 dimensions; interleaved runs in one process. Prints the
median of each, its ratio to the products, and what one call adds to the process's peak memory.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

import nearfar as nf

FEATURES = 128
REPEATS = 5


def candidates(rows: int) -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    z = torch.nn.functional.normalize(torch.randn(rows, FEATURES))
    targets = torch.randn(rows)
    small, large = torch.randperm(rows) // 8, torch.randperm(rows) % 4
    found: dict[str, Callable[[], object]] = {
        "SupCR": lambda: nf.SupCR().value_and_grad(z, targets),
        "SupCR, rows x 1000": lambda: nf.SupCR().value_and_grad(1000 * z, targets),
    }
    for mining in ("all", "hard", "semihard", "all_semihard"):
        loss = nf.BatchTriplet(mining=mining)
        found[f"{mining}, 8 per class"] = lambda loss=loss: loss.value_and_grad(z, small)
    triplet = nf.BatchTriplet()
    found["all, 4 classes"] = lambda: triplet.value_and_grad(z, large)
    found["PairMargin"] = lambda: nf.PairMargin().value_and_grad(z, small)
    square = torch.empty(rows, rows)

    def products() -> None:
        for _ in range(3):
            torch.mm(z, z.T, out=square)

    return {"three products": products} | found


def peak() -> float:
    """Most memory the process has had since the counters were cleared, in MiB; Linux only."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line) / 1024


def growth(name: str, rows: int) -> float:
    """What one call adds to a fresh process that has made a small one before."""
    candidates(64)[name]()
    function = candidates(rows)[name]
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = peak()
    function()
    return peak() - before


def growth_of_a_new_process(name: str, rows: int) -> float:
    command = [sys.executable, "-m", "benchmarks.sorting", str(rows), name]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main(rows: int) -> None:
    functions = candidates(rows)
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(REPEATS):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    floor = statistics.median(times["three products"])
    print(f"{rows} rows, {torch.get_num_threads()} threads")
    for name, seconds in times.items():
        median = statistics.median(seconds)
        memory = growth_of_a_new_process(name, rows)
        print(f"{name:24} {1000 * median:8.0f} ms {median / floor:6.1f} products {memory:5.0f} MiB")


if __name__ == "__main__":
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 4096
    if len(sys.argv) > 2:
        print(growth(sys.argv[2], size))
    else:
        main(size)

"""See the package."""

import argparse
import os
from pathlib import Path

import torch

from benchmarks.gpu import sections
from benchmarks.gpu.clock import DRY, Run
from benchmarks.gpu.table import report


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    parser.add_argument("--seconds", type=float, default=480.0, help="for the whole run")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--program", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not DRY and not torch.cuda.is_available():
        print("no GPU that PyTorch can use: nothing was measured")
        return 0
    if DRY:
        _interpret()
    if given.program is not None:
        sections.program(given.program)
        return 0
    run = Run(given.seconds, given.out)
    run.section("machine", sections.machine, 15)
    run.section("compiling", sections.compile_all, 70)
    run.section("correct", sections.correct, 45)
    run.section("goals", sections.goals, 105)
    run.section("streams and graphs", sections.streams_and_graphs, 55)
    run.section("largest", sections.largest, 25)
    run.section("times", sections.times, 110)
    run.section("blocks", sections.blocks, 25)
    print(report(run.found))
    return 0


def _interpret() -> None:
    """Send the CPU's tensors to the kernels too."""
    assert os.environ.get("TRITON_INTERPRET") == "1", "expected TRITON_INTERPRET=1 with DRY=1"
    import sys

    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
    from support import interpreter  # noqa: F401

    from nearfar.frameworks.torch import namespace

    namespace._FUSED = {"cpu"}


if __name__ == "__main__":
    raise SystemExit(main())

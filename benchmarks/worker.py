"""One candidate in a process of its own, which runs it when told to.

    python -m benchmarks.worker WORKLOAD CANDIDATE

Reads commands from standard input, a line each, and answers each with a line of JSON.
"""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.workloads import FEATURES, WORKLOADS, Run


def peak() -> float:
    """Most memory the process has had since the counters were cleared, in MiB; Linux only."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line) / 1024


def growth(run: Run) -> float:
    """What one call adds to the process, in MiB."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = peak()
    run()
    return peak() - before


def seconds(run: Run, times: int) -> list[float]:
    found = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return found


def capped(mebibytes: int) -> None:
    """Let the process have so much more address space than it has now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + mebibytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main(workload: str, candidate: str) -> None:
    make = WORKLOADS[workload].candidates[candidate].make
    run: Run = list
    for line in sys.stdin:
        command, *given = json.loads(line)
        answer: Any = None
        try:
            if command == "make":
                torch.set_num_threads(given[1])
                run = make(given[0])
            elif command == "time":
                answer = seconds(run, given[0])
            elif command == "growth":
                answer = growth(run)
            elif command == "cap":
                capped(given[0])
            elif command == "gradient":
                np.save(given[0], np.concatenate([np.zeros((0, FEATURES)), *run()]))
        except ImportError as error:
            answer = {"missing": str(error)}
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "memory" not in str(error):
                raise
            answer = {"out of memory": True}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

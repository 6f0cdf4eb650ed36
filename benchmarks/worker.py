"""One candidate in a process of its own, which runs it when told to.

    python -m benchmarks.worker WORKLOAD CANDIDATE

Reads commands from standard input, a line each, and answers each with a line of JSON.
"""

import ctypes
import json
import os
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runs import Call
from benchmarks.workloads import WORKLOADS, Candidate

TRUTH = "truth"
SMALL = 64
TURN = 0.1
"""Seconds that a turn lasts at least."""
LONG = 1.0
"""Seconds from which on a call needs no other one before it to be warm."""


def status(key: str) -> float:
    """A line of what Linux says of the process, in MiB."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(key)) / 1024


def held() -> float:
    """MiB of the process once free memory is given back."""
    ctypes.CDLL(None).malloc_trim(0)
    return status("VmRSS")


def timed(call: Call) -> float:
    """Seconds; of one core those that it works for this process, which others change little."""
    clock = time.process_time if len(os.sched_getaffinity(0)) == 1 else time.perf_counter
    start = clock()
    call()
    return clock() - start


class Worker:
    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        self._call: Call = list
        self._last = 0.0

    def start(self) -> None:
        """Load what is needed, and be warm."""
        self._candidate.run(self._candidate.inputs(SMALL)).call()
        self._base = held()

    def cap(self, mebibytes: float) -> None:
        """Let calls have so much more address space than the process has now."""
        self._cap = mebibytes
        self._limit = int((status("VmSize") + mebibytes) * 2**20)

    def first(self, rows: int) -> dict[str, float]:
        """Seconds of a first call, and MiB that it and earlier ones add to inputs."""
        self._call = list
        left = held() - self._base
        run = self._candidate.run(self._candidate.inputs(rows))
        if run.temporaries is None:
            resource.setrlimit(resource.RLIMIT_AS, (self._limit, self._limit))
        elif run.temporaries > self._cap:
            raise MemoryError
        self._call = run.call
        before = held()
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self._last = timed(self._call)
        memory = status("VmHWM") - before + max(0.0, left)
        return {"seconds": self._last, "MiB": run.temporaries or memory}

    def turn(self) -> float:
        """Median of the seconds of some calls, the first of which does not count if it is short."""
        if self._last < LONG:
            self._call()
        found = [timed(self._call)]
        while sum(found) < TURN:
            found.append(timed(self._call))
        self._last = statistics.median(found)
        return self._last

    def gradient(self, path: str) -> None:
        np.save(path, np.concatenate(self._call()))


def _out_of_memory(error: Exception) -> bool:
    text = str(error)
    return isinstance(error, MemoryError) or "memory" in text or "OOM" in text


def main(workload: str, name: str) -> None:
    # Peers may print; answers go where they do not.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    known = WORKLOADS[workload]
    worker = Worker(known.truth if name == TRUTH else known.candidates[name])
    for line in sys.stdin:
        command, *given = json.loads(line)
        answer: Any
        try:
            answer = getattr(worker, command)(*given)
        except ImportError as error:
            answer = {"problem": f"missing: {error}"}
        except Exception as error:
            if not _out_of_memory(error):
                raise
            answer = {"problem": "out of memory"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The other end of a worker."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


FAILED = "ended"
"""How a problem begins that nobody foresaw."""


class Problem(Exception):
    """Why a candidate gives no figure."""


def available() -> float:
    """MiB that the machine has left."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) / 1024


class Process:
    """A worker on so many cores, which is where JAX and TensorFlow take their threads from."""

    def __init__(self, workload: str, candidate: str, threads: int) -> None:
        cores = sorted(os.sched_getaffinity(0))[:threads]
        limits = dict.fromkeys(_THREADS, str(threads)) | {"TF_CPP_MIN_LOG_LEVEL": "3"}
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "benchmarks.worker", workload, candidate],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ | limits,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )

    def ask(self, *command: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise self._ended()
        answer = json.loads(line)
        if isinstance(answer, dict) and "problem" in answer:
            raise Problem(answer["problem"])
        return answer

    def _ended(self) -> "Problem":
        self._errors.seek(0)
        said = self._errors.read()
        if "bad_alloc" in said:
            return Problem("out of memory")
        last = said.strip().rpartition("\n")[2]
        return Problem(f"{FAILED} with code {self._process.wait()}: {last}")

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        self._errors.close()

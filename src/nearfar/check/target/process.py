"""A target in a process of its own, which may crash, hang or take all memory."""

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Self

import numpy as np

from nearfar.check.target import wire
from nearfar.check.target.calls import Call, Measured, Outcome
from nearfar.check.target.targets import BadTarget, Target

_IMPORT = 180.0  # seconds that importing may take at least: no call, and frameworks are slow
_DEATHS = 2  # of which the rest of the same calls are spared


@dataclass
class _Open:
    process: "subprocess.Popen[bytes]"
    requests: IO[bytes]
    replies: IO[bytes]


class OwnProcess:
    """Runs a target given as text; the process is started again where it died."""

    def __init__(
        self, text: str, arguments: Mapping[str, Any], time_limit: float, memory_limit: int
    ) -> None:
        self._text, self._arguments = text, dict(arguments)
        self._time_limit, self._memory_limit = time_limit, memory_limit
        self._open: _Open | None = None
        facts = self._start()
        self._loaded: list[str] = facts["loaded"]
        self.target = Target(
            _elsewhere, text, facts["arguments"], facts["known"], tuple(facts["positional"])
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        if self._open is not None:
            self._open.process.kill()
            self._open.process.wait()
            self._open.requests.close()
            self._open.replies.close()
            self._open = None

    def loaded(self) -> list[str]:
        return self._loaded

    def run(self, calls: Sequence[Call]) -> list[Outcome]:
        found: list[Outcome] = []
        deaths = 0
        for call in calls:
            if deaths >= _DEATHS:
                found.append(found[-1])
                continue
            fields, arrays = wire.pack_call(call)
            reply = self._ask({"do": "run", "call": fields}, arrays)
            if isinstance(reply, str):
                deaths += 1
                found.append(Outcome(error=_said(reply, self._time_limit), died=reply))
            else:
                found.append(wire.unpack_outcome(*reply))
        return found

    def measure(self, call: Call, loss: Any) -> Measured:
        fields, arrays = wire.pack_call(call)
        request = {"do": "measure", "call": fields, "loss": loss.to_dict() if loss else None}
        reply = self._ask(request, arrays)
        if isinstance(reply, str):
            return Measured(error=_said(reply, self._time_limit), died=reply)
        return Measured(**reply[0])

    def _ask(
        self, message: dict[str, Any], arrays: list[np.ndarray]
    ) -> tuple[dict[str, Any], list[np.ndarray]] | str:
        """The reply, or what the process died of."""
        if self._open is None:
            self._start()
        assert self._open is not None
        try:
            return self._within(self._time_limit, self._open, message, arrays)
        except (EOFError, BrokenPipeError) as error:
            died = str(error) or "crash"
            self.close()
            return died

    def _within(
        self, seconds: float, opened: _Open, message: dict[str, Any], arrays: list[np.ndarray]
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        late = threading.Event()

        def end() -> None:
            late.set()
            opened.process.kill()

        timer = threading.Timer(seconds, end)
        timer.start()
        try:
            wire.send(opened.requests, message, arrays)
            return wire.receive(opened.replies)
        except (EOFError, BrokenPipeError) as error:
            raise EOFError("time" if late.is_set() else "crash") from error
        finally:
            timer.cancel()

    def _start(self) -> dict[str, Any]:
        process = subprocess.Popen(
            [sys.executable, "-m", "nearfar.check.target.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Small batches are no work for threads, which would wait for one another.
            env={"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": _path()},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        self._open = _Open(process, process.stdin, process.stdout)
        request = {
            "target": self._text, "arguments": self._arguments, "memory": self._memory_limit,
        }  # fmt: skip
        seconds = max(self._time_limit, _IMPORT)
        try:
            facts, _ = self._within(seconds, self._open, request, [])
        except EOFError as error:
            self.close()
            raise BadTarget(
                f"{self._text}: importing it "
                + (f"took more than {seconds:g} s" if str(error) == "time" else
                   "ended its process")
            ) from error  # fmt: skip
        if "bad" in facts:
            self.close()
            raise BadTarget(facts["bad"])
        return facts


def _path() -> str:
    """Where this process finds modules, its folder first."""
    return os.pathsep.join(["", *(p for p in sys.path if p)]).lstrip(os.pathsep)


def _elsewhere(**_: Any) -> Any:
    raise NotImplementedError("this target runs in a process of its own")


def _said(died: str, limit: float) -> str:
    if died == "time":
        return f"took more than {limit:g} s and was ended"
    return "its process crashed"

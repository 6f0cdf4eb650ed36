"""The process of a target: ``python -m nearfar.check.target.worker``, requests in, outcomes out."""

import contextlib
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from nearfar.check.target import wire
from nearfar.check.target.running import InProcess, loaded_frameworks
from nearfar.check.target.targets import BadTarget, Target, resolve
from nearfar.losses import loss_from_dict


def main() -> None:
    """Serve until the other side is gone."""
    # What the target reads and prints, in C too, must not get among the messages.
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    # Before JAX is imported: float64 where a function accepts it.
    os.environ.setdefault("JAX_ENABLE_X64", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with contextlib.suppress(EOFError, BrokenPipeError):
        _serve(requests, replies)


def _serve(requests: IO[bytes], replies: IO[bytes]) -> None:
    opened, _ = wire.receive(requests)
    try:
        runner = InProcess(resolve(opened["target"], opened["arguments"]))
    except BadTarget as error:
        wire.send(replies, {"bad": str(error)})
        return
    _limit(opened["memory"])
    wire.send(replies, _facts(runner.target))
    while True:
        message, arrays = wire.receive(requests)
        call = wire.unpack_call(message["call"], arrays)
        if message["do"] == "run":
            wire.send(replies, *wire.pack_outcome(runner.run([call])[0]))
        elif message["do"] == "measure":
            loss = loss_from_dict(message["loss"]) if message["loss"] else None
            wire.send(replies, asdict(runner.measure(call, loss)))


def _facts(target: Target) -> dict[str, Any]:
    return {
        "known": {name: _plain(value) for name, value in target.known.items()},
        "positional": list(target.positional),
        "arguments": {name: _plain(value) for name, value in target.arguments.items()},
        "loaded": loaded_frameworks(),
    }


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)


def _limit(memory: int) -> None:
    """So many bytes beyond what the process has with the target imported."""
    try:
        import resource

        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
    except (ImportError, OSError, ValueError):
        return  # not where there is no such limit


if __name__ == "__main__":
    main()
    sys.stdout = None

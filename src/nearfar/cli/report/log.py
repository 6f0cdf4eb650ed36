"""What a fit tells a logger: an entry after every epoch or iteration, the scores in the end."""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from nearfar.cli.errors import BadInput
from nearfar.cli.files import staged

NAME = "log.jsonl"

Entry = Mapping[str, Any]
"""Its first number says which epoch or iteration it is of."""


class Log(ABC):
    files: ClassVar[dict[str, str]] = {}
    """What it leaves in the run's folder, and what that is."""

    @abstractmethod
    def step(self, entry: Entry) -> None:
        """Tell of an epoch or an iteration."""

    @abstractmethod
    def finish(self, stage: Path, scores: Mapping[str, float]) -> None:
        """Tell the scores; files of this log go to the stage."""

    @abstractmethod
    def discard(self) -> None:
        """The run has failed."""


def check_log(kind: str) -> None:
    """Refuse a logger that is not installed."""
    if kind != "jsonl" and find_spec(kind) is None:
        raise BadInput(f"--log {kind} needs {kind}, which is not installed: pip install {kind}")


@contextmanager
def logged(kind: str, folder: Path, told: Mapping[str, Any], live: bool) -> Iterator[Log]:
    """Give the log of a run, which is `told` of in options; `live`: it is kept beside a checkpoint,
    else nothing is left of a run that fails."""
    log: Log
    if kind == "tensorboard":
        log = _TensorBoard(folder)
    elif kind == "wandb":
        log = _WandB(folder, told)
    else:
        log = _Lines(folder, live)
    try:
        yield log
    except BaseException:
        log.discard()
        raise


class _Lines(Log):
    """``log.jsonl``: a line of JSON for each entry, whole at every moment."""

    files: ClassVar[dict[str, str]] = {NAME: "a line of JSON for every epoch or iteration"}

    def __init__(self, folder: Path, live: bool) -> None:
        self._folder, self._live = folder, live
        self._lines: list[str] = []

    def step(self, entry: Entry) -> None:
        self._lines.append(json.dumps(dict(entry)) + "\n")
        if self._live:
            with staged(self._folder) as stage:
                self._write(stage)

    def finish(self, stage: Path, scores: Mapping[str, float]) -> None:
        self._write(stage)  # metrics.json has the scores

    def discard(self) -> None:
        return  # what was written is true, beside its checkpoint

    def _write(self, stage: Path) -> None:
        (stage / NAME).write_text("".join(self._lines), encoding="utf-8")


class _TensorBoard(Log):
    """Events in a folder ``tensorboard``, in place of those of an earlier run."""

    files: ClassVar[dict[str, str]] = {"tensorboard": "`tensorboard --logdir` reads it"}

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._folder, self._last = folder / "tensorboard", 0
        self._remove()
        self._writer = EventFileWriter(str(self._folder))

    def step(self, entry: Entry) -> None:
        self._last, measures = _measures(entry)
        self._add(measures)
        self._writer.flush()

    def finish(self, stage: Path, scores: Mapping[str, float]) -> None:
        self._add(scores)
        self._writer.close()

    def discard(self) -> None:
        self._writer.close()
        self._remove()
        with suppress(OSError):
            self._folder.rmdir()

    def _add(self, measures: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=x) for tag, x in measures.items()]
        summary = Summary(value=values)
        self._writer.add_event(Event(wall_time=time.time(), step=self._last, summary=summary))

    def _remove(self) -> None:
        for file in self._folder.glob("events.out.tfevents.*"):
            file.unlink()


class _WandB(Log):
    """A run in the project "nearfar"; where and whether it is sent, wandb's own settings say."""

    def __init__(self, folder: Path, told: Mapping[str, Any]) -> None:
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project="nearfar", name=folder.name, dir=str(folder), config=dict(told)
        )

    def step(self, entry: Entry) -> None:
        number, measures = _measures(entry)
        self._run.log(measures, step=number)

    def finish(self, stage: Path, scores: Mapping[str, float]) -> None:
        self._run.summary.update(dict(scores))
        self._run.finish()

    def discard(self) -> None:
        self._run.finish(exit_code=1)


def _measures(entry: Entry) -> tuple[int, dict[str, float]]:
    (_, number), *measures = entry.items()
    return int(number), {name: value for name, value in measures if value is not None}

"""What is said while a command works: lines on stderr, a bar where that is a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

OnStep = Callable[[int, str], None]

_EVERY = 5.0  # seconds between two lines of progress in a log


class Voice:
    """Speaks on stderr; results are for stdout."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet

    def say(self, text: str) -> None:
        """Say what is going on."""
        if not self.quiet:
            typer.echo(text, err=True)

    def warn(self, text: str) -> None:
        """Say what somebody may want to do something about."""
        typer.echo(f"note: {text}", err=True)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[OnStep]:
        """Tell of steps as on_step(number, text): a bar on a terminal, else a line now and then."""
        console = Console(stderr=True)
        if self.quiet:
            yield lambda step, text: None
        elif console.is_terminal:
            bar = Progress(
                TextColumn(f"{what} {{task.completed}}/{{task.total}}"),
                BarColumn(),
                TextColumn("{task.fields[text]}"),
                TextColumn("time left"),
                TimeRemainingColumn(),
                console=console,
            )
            with bar:
                task = bar.add_task("", total=total, text="")
                yield lambda step, text: bar.update(task, completed=step, text=text)
        else:
            began = said = perf_counter()

            def on_step(step: int, text: str) -> None:
                nonlocal said
                now = perf_counter()
                if step == 1 or step == total or now - said >= _EVERY:
                    said = now
                    left = time_left((now - began) / step * (total - step))
                    typer.echo(f"{what} {step}/{total}: {text}, {left} left at most", err=True)

            yield on_step


def time_left(seconds: float) -> str:
    """Minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"

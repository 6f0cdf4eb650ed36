"""Learning the projection: progress on stderr, Ctrl-C keeps the best."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from nearfar.cli.errors import library_errors
from nearfar.sklearn import ContrastiveProjection

_MANY_ROWS = 4096

OnStep = Callable[[int, int, float], None]


def learn(
    X: NDArray[Any], y: NDArray[Any], loss: Any, components: int, max_iter: int, seed: int
) -> ContrastiveProjection:
    """Fit the projection; the first Ctrl-C ends it with the best one found so far."""
    if len(X) >= _MANY_ROWS:  # fewer do not repay the threads
        loss = loss.with_options(workers=os.cpu_count())
    projection = ContrastiveProjection(
        n_components=components, loss=loss, max_iter=max_iter, random_state=seed
    )
    with _progress(max_iter) as on_step, library_errors():
        projection._fit(X, y, on_step)
    if projection.interrupted_:
        typer.echo(
            f"interrupted after {projection.n_iter_} of {max_iter} iterations: "
            "going on with the best projection so far",
            err=True,
        )
    return projection


@contextmanager
def _progress(max_iter: int) -> Iterator[OnStep]:
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("learning {task.completed}/{task.total}"),
        BarColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TextColumn("time left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("", total=max_iter, loss="-")
        yield lambda step, total, loss: bar.update(
            task, completed=step, total=total, loss=f"{loss:.4f}"
        )

"""Learning a projection: progress on stderr, Ctrl-C keeps the best."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from nearfar.cli.errors import library_errors
from nearfar.cli.learn.maps import Learned, Linear
from nearfar.cli.learn.split import Split
from nearfar.sklearn import ContrastiveProjection

_MANY_ROWS = 4096

OnStep = Callable[[int, int, float], None]


def learn_projection(parts: Split, loss: Any, components: int, max_iter: int, seed: int) -> Learned:
    """Fit the projection; the first Ctrl-C ends it with the best one found so far."""
    start = perf_counter()
    X = parts.train_X
    if len(X) >= _MANY_ROWS:  # fewer do not repay the threads
        loss = loss.with_options(workers=os.cpu_count())
    projection = ContrastiveProjection(
        n_components=components, loss=loss, max_iter=max_iter, random_state=seed
    )
    with _progress(max_iter) as on_step, library_errors():
        projection._fit(X, parts.train_y, on_step)
    if projection.interrupted_:
        typer.echo(
            f"interrupted after {projection.n_iter_} of {max_iter} iterations: "
            "going on with the best projection so far",
            err=True,
        )
    return Learned(
        Linear(
            parts.mean,
            parts.scale,
            projection.components_,
            # mean_ is that of the standardised rows: rounding errors, but part of the map.
            projection.intercept_ - projection.components_ @ projection.mean_,
            parts.shape,
        ),
        projection.transform(X),
        projection.transform(parts.held_out_X),
        projection.loss,
        perf_counter() - start,
        {
            "iterations": int(projection.n_iter_),
            "interrupted": bool(projection.interrupted_),
        },
    )


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

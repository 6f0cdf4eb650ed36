"""Learning the projection: the loss by its name, progress on stderr, Ctrl-C keeps the best."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields as dataclass_fields
from typing import Any

import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from nearfar.cli.errors import BadInput, library_errors, listed
from nearfar.losses import LOSSES
from nearfar.sklearn import ContrastiveProjection

_MANY_ROWS = 4096

OnStep = Callable[[int, int, float], None]


# The projection is judged by its nearest neighbours, so distances are what it learns from, and an
# anchor needs some of its class near it and not all: the form that Neighbourhood Components
# Analysis has. The library's defaults stay those of the papers.
_FOR_NEIGHBOURS = {"supcon": {"similarity": "neg_euclidean", "positives": "log_sum"}}


def loss_named(name: str, temperature: float | None, fields: Sequence[str]) -> Any:
    """Make the loss that ``--loss``, ``--temperature`` and ``--field`` ask for."""
    fitting = [key for key, loss in LOSSES.items() if loss.inputs == ("embeddings", "labels")]
    key = name.lower()
    if key not in fitting:
        problem = f"is called with {', '.join(LOSSES[key].inputs)}" if key in LOSSES else "unknown"
        raise BadInput(f"--loss '{name}' {problem}; choose one of labelled rows: {listed(fitting)}")
    given: dict[str, Any] = dict(_FOR_NEIGHBOURS.get(key, {}))
    with library_errors("--field: "):
        given |= dict(_field(LOSSES[key], text) for text in fields)
        loss = LOSSES[key](**given)
    if temperature is None:
        return loss
    with library_errors("--temperature: "):
        return LOSSES[key](**given | {"temperature": temperature})


def _field(loss: Any, text: str) -> tuple[str, Any]:
    """NAME=VALUE as a field of a loss; values as in JSON, or words as they are."""
    name, equals, value = text.partition("=")
    known = [f.name for f in dataclass_fields(loss)]
    if not equals or name not in known:
        raise BadInput(
            f"--field '{text}' is not NAME=VALUE with a field of {loss.__name__}: {listed(known)}"
        )
    try:
        return name, json.loads(value.lower() if value in ("True", "False") else value)
    except json.JSONDecodeError:
        return name, value


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

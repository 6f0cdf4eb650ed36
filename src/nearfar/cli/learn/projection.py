"""Learning a projection, judged by rows set aside; Ctrl-C keeps the best."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from nearfar.cli.errors import library_errors
from nearfar.cli.learn.maps import Learned, Linear, metric_of
from nearfar.cli.learn.split import Split, set_aside
from nearfar.cli.options import LearningOptions
from nearfar.cli.report.log import Log
from nearfar.cli.report.scores import Space
from nearfar.cli.report.voice import Voice
from nearfar.cli.tasks import Task
from nearfar.linear_map import OnStep
from nearfar.sklearn import ContrastiveProjection, Embed

COMPONENTS = 8
MAX_ITER = 100
ALPHA = 1e-5
MANY_ROWS = 4096


def settled(loss: Any, options: LearningOptions, rows: int) -> tuple[Any, int, float]:
    """The loss as so many rows are worth, and iterations and alpha as asked for or usual."""
    if rows >= MANY_ROWS:  # fewer do not repay the threads
        loss = loss.with_options(workers=os.cpu_count())
    alpha = ALPHA if options.alpha is None else options.alpha
    return loss, options.max_iter or MAX_ITER, alpha


def learn_projection(
    parts: Split,
    task: Task,
    loss: Any,
    components: int,
    options: LearningOptions,
    seed: int,
    voice: Voice,
    log: Log,
) -> Learned:
    """Fit the projection; the first Ctrl-C ends it with the best one found so far."""
    start = perf_counter()
    X, y = parts.train.X, parts.train.y
    rows, judging = set_aside(y, task, seed)
    metric = metric_of(loss)
    loss, max_iter, alpha = settled(loss, options, len(rows))
    history: list[dict[str, Any]] = []

    def judge(embed: Embed) -> float:
        space = Space(embed(X[rows]), embed(X[judging]), metric, 0.0)
        return task.headline(space, y[rows], y[judging])

    projection = ContrastiveProjection(components, loss, max_iter, alpha, random_state=seed)
    with recorded(voice, log, history, max_iter) as on_step, library_errors():
        projection._fit(
            X[rows],
            y[rows],
            on_step,
            judge if len(judging) else None,
            tolerance=0.5 / math.sqrt(max(1, len(judging))),  # what chance makes of such a share
            patience=options.patience,
        )
    done, best = projection.n_iter_, projection.best_iter_
    interrupted = projection.interrupted_
    tell_end(voice, "projection", done, best, max_iter, interrupted, len(judging))
    learned = Linear(
        parts.mean,
        parts.scale,
        projection.components_,
        # mean_ is that of the standardised rows: rounding errors, but part of the map.
        projection.intercept_ - projection.components_ @ projection.mean_,
        parts.shape,
    )
    return Learned(
        learned,
        projection.transform(X),
        projection.transform(parts.held_out.X),
        projection.loss,
        perf_counter() - start,
        {
            "components": components,
            "max_iter": max_iter,
            "alpha": alpha,
            "iterations": int(done),
            "best_iteration": int(best),
            "validation_rows": len(judging),
            "interrupted": bool(interrupted),
        },
        history,
    )


@contextmanager
def recorded(
    voice: Voice, log: Log, history: list[dict[str, Any]], max_iter: int
) -> Iterator[OnStep]:
    """Give what notes an iteration in the history and the log, and tells of it."""
    with voice.progress("learning", max_iter) as told:

        def on_step(number: int, objective: float, score: float | None) -> None:
            history.append({"iteration": number, "loss": objective, "validation": score})
            log.step(history[-1])
            judged = "" if score is None else f", validation {score:.4f}"
            told(number, f"loss {objective:.4f}{judged}")

        yield on_step


def tell_end(
    voice: Voice, what: str, done: int, best: int, max_iter: int, interrupted: bool, judging: int
) -> None:
    """Say where the learning was ended, or which iteration was taken."""
    if interrupted:
        voice.warn(
            f"interrupted after {done} of {max_iter} iterations: going on with the best {what} so "
            "far"
        )
    elif best < done:
        voice.say(f"took iteration {best}, which did best on {judging} rows set aside")

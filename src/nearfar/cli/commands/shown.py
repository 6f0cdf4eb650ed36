"""What ``nearfar fit`` shows on its page: each held-out row with its label and its neighbours."""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.cli.data.reading import LabelledData
from nearfar.cli.learn.maps import Learned
from nearfar.cli.learn.split import Part, Split
from nearfar.cli.options import command
from nearfar.cli.report.interactive import Points
from nearfar.cli.report.page import Page
from nearfar.cli.report.scores import Measured
from nearfar.cli.report.table import verdict
from nearfar.cli.report.thumbnails import Thumbnails, thumbnails
from nearfar.cli.tasks import Task

_MOST_ROWS = 5000  # that are drawn: more make the page large, and points cover each other
_NEIGHBOURS = 3  # that are named
_VALUES = 6  # columns whose values are told


def shown(
    data: LabelledData,
    task: Task,
    parts: Split,
    learned: Learned,
    measured: dict[str, Measured],
    settings: dict[str, Any],
    groups: tuple[Any, ...],
) -> Page:
    """Put the page together."""
    train, held_out, space = parts.train, parts.held_out, learned.space()
    nearest, predicted = task.predicted(space, train.y)
    places = [_place(held_out, row) for row in range(len(held_out))]
    rows = np.arange(len(held_out))
    left_out = ""
    if len(rows) > _MOST_ROWS:
        rows = np.sort(np.random.default_rng(0).permutation(rows)[:_MOST_ROWS])
        left_out = f"{_MOST_ROWS} of {len(held_out)} rows are drawn, chosen by chance."
    near = nearest[rows, :_NEIGHBOURS]  # (n, 3)
    texts = {
        "row": [places[row] for row in rows],
        task.what: task.told(held_out.y[rows]),
        "predicted": task.told(predicted[rows]),
    }
    if data.columns:
        texts["values"] = _values(held_out.read[rows], data.columns.names)
    told = task.told(train.y)
    points = Points(
        texts,
        [[f"{told[row]} ({_number(train, row)})" for row in column] for column in near.T],
        task.colouring(held_out.y[rows]).on_a_page(),
        *_images(parts, rows, near),
    )
    raw, pca, learned_row = (measured[name] for name in ("raw", "pca", "learned"))
    return Page(
        title=f"{data.name}: {len(held_out)} held-out rows, {task.summary()}",
        verdict=verdict(measured),
        caption=task.caption(len(train)),
        spaces={"raw": raw, "pca": pca, "learned": learned_row},
        planes={
            f"before: PCA, {pca.dimensions} dimensions": pca.space.plane()[rows],
            f"after: learned {learned.map.name}, {learned_row.dimensions} dimensions": (
                learned_row.space.plane()[rows]
            ),
        },
        points=points,
        left_out=left_out,
        history=learned.history,
        mistakes=task.mistakes(held_out.y, predicted, places),
        settings=settings,
        command=command(*groups),
    )


def _place(part: Part, row: int) -> str:
    """Where a row is in its source: without the folders that lead there, and the label's column."""
    return part.place(row).partition(", column ")[0].rpartition("/")[2]


def _number(part: Part, row: int) -> str:
    """Its line or its number alone."""
    return re.split(r", |: ", _place(part, row))[-1].partition(" (")[0]


def _values(rows: NDArray[Any], names: tuple[str, ...]) -> list[str]:
    few = names[:_VALUES]
    more = "" if len(names) == len(few) else ", ..."
    return [
        ", ".join(f"{name} {value:.4g}" for name, value in zip(few, row, strict=False)) + more
        for row in rows.tolist()
    ]


def _images(
    parts: Split, rows: NDArray[np.intp], near: NDArray[np.intp]
) -> tuple[Thumbnails | None, list[list[int]], list[int]]:
    """One picture of the rows and their neighbours, where they are images; and who is where."""
    if len(parts.shape) < 2 or parts.held_out.read.dtype != np.uint8:
        return None, [], []
    used, at = np.unique(near, return_inverse=True)
    images = np.concatenate([parts.held_out.read[rows], parts.train.read[used]])
    sheet = thumbnails(images.reshape(-1, *parts.shape))
    columns = [[len(rows) + int(k) for k in column] for column in at.reshape(near.shape).T]
    return sheet, columns, list(range(len(rows)))

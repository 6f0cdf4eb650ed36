"""The split into a training and a held-out part, standardised by the training part."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.cli.data.reading import LabelledData
from nearfar.cli.errors import BadInput
from nearfar.cli.tasks import Task


@dataclass(frozen=True)
class Split:
    """Standardised features, and the task's ``y``, of both parts; and which rows they are."""

    train_rows: NDArray[np.intp]
    held_out_rows: NDArray[np.intp]
    train_X: NDArray[np.float64]
    train_y: NDArray[Any]
    held_out_X: NDArray[np.float64]
    held_out_y: NDArray[Any]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    shape: tuple[int, ...]  # of a row before it was flattened


def split(data: LabelledData, task: Task, test_size: float, seed: int) -> Split:
    """Hold out a ``test_size`` share of the rows, and of every stratum where the task has any."""
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    _check_sizes(data, task, test_size)
    train_rows, held_out_rows = train_test_split(
        np.arange(len(data.X)), test_size=test_size, stratify=task.strata(), random_state=seed
    )
    train_X, train_y = data.X[train_rows], task.y[train_rows]
    for part, y in (("training", train_y), ("held-out", task.y[held_out_rows])):
        trouble = task.trouble(y)
        if trouble:
            raise BadInput(f"{data.name}: the {part} part has {trouble}")
    if not np.ptp(train_X, axis=0).any():
        raise BadInput(f"{data.name}: every feature is constant; give one that varies")
    scaler = StandardScaler().fit(train_X)
    return Split(
        train_rows,
        held_out_rows,
        scaler.transform(train_X),
        train_y,
        scaler.transform(data.X[held_out_rows]),
        task.y[held_out_rows],
        scaler.mean_,
        scaler.scale_,
        data.shape,
    )


def _check_sizes(data: LabelledData, task: Task, test_size: float) -> None:
    if not 0 < test_size < 1:
        raise BadInput(f"--test-size must lie between 0 and 1, received {test_size}; try 0.3")
    rows = len(data.X)
    held_out = math.ceil(test_size * rows)
    least_train, least_held_out = task.least()
    if held_out < least_held_out.rows:
        raise BadInput(
            f"--test-size {test_size} holds out {held_out} of {rows} rows of {data.name}, fewer "
            f"than {least_held_out.what}; raise it"
        )
    if rows - held_out < least_train.rows:
        raise BadInput(
            f"--test-size {test_size} leaves {rows - held_out} of {rows} rows of {data.name} to "
            f"learn from, fewer than {least_train.what}; lower it or add rows"
        )

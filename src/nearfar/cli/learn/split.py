"""The split into a training and a held-out part, standardised by the training part."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.cli.data.reading import LabelledData
from nearfar.cli.errors import BadInput, listed
from nearfar.cli.tasks import Task
from nearfar.cli.tasks.classes import Classes

_Read = tuple[NDArray[Any], NDArray[Any], Callable[[int], str]]

TEST_SIZE = 0.3
_VALIDATION = 0.1  # of the training part
_LEAST_VALIDATION = 16  # rows; fewer say little
_MOST_VALIDATION = 2000  # more cost time and say no more


@dataclass(frozen=True)
class Part:
    """Rows as they were read (holes filled), the same standardised, and the task's ``y``."""

    read: NDArray[Any]
    X: NDArray[np.float64]
    y: NDArray[Any]
    place: Callable[[int], str]  # where in the source a row is

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Split:
    """Both parts, and what their features were filled and standardised by."""

    train: Part
    held_out: Part
    fill: NDArray[np.float64] | None  # the medians of the training rows (d,)
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    shape: tuple[int, ...]  # of a row before it was flattened

    def fingerprint(self) -> str:
        """Tell data apart: results go with the rows they were learned from."""
        parts = (self.train, self.held_out)
        return fingerprint(*(array for part in parts for array in (part.read, part.y)))


def fingerprint(*arrays: NDArray[Any]) -> str:
    """Tell arrays apart by 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr((array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def split(data: LabelledData, task: Task, test_size: float | None, seed: int, fill: bool) -> Split:
    """Hold out a ``test_size`` share of the rows, and of every stratum where the task has any.

    Holes are filled with the medians of the training rows, where that is wanted.
    """
    from sklearn.model_selection import train_test_split

    size = TEST_SIZE if test_size is None else test_size
    _check_sizes(data, task, size)
    train, held_out = train_test_split(
        np.arange(len(data.X)), test_size=size, stratify=task.strata(), random_state=seed
    )
    return _standardised(data, task, _only(data, task, train), _only(data, task, held_out), fill)


def split_by(data: LabelledData, task: Task, test: LabelledData, fill: bool) -> Split:
    """Learn from all rows of ``data`` and hold out those of ``test``."""
    if test.X.shape[1] != data.X.shape[1]:
        raise BadInput(
            f"--test: {test.name} has {test.X.shape[1]} features, and {data.name} has "
            f"{data.X.shape[1]}; give the same"
        )
    known = task.predictor(task.y)
    other = type(task).beside(known, test)
    if isinstance(other, Classes) and other.unseen(known):
        raise BadInput(
            f"--test: no row of {data.name} has the label {listed(other.unseen(known))} of "
            f"{test.name}; add some, or drop the rows"
        )
    least_train = task.least()[0]
    if len(data.X) < least_train.rows:
        raise BadInput(
            f"{data.name} has {len(data.X)} rows to learn from, fewer than {least_train.what}; add "
            "rows"
        )
    train, held_out = (data.X, task.y, data.place), (test.X, other.y, test.place)
    return _standardised(data, task, train, held_out, fill)


def set_aside(y: NDArray[Any], task: Task, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows to learn from, and a tenth to judge the learning by: none where that says nothing."""
    learned, kept = tenth_aside(len(y), seed)
    if len(kept) and any(task.trouble(y[part]) for part in (kept, learned)):
        return np.arange(len(y)), kept[:0]
    return learned, kept


def tenth_aside(n: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows to learn from, and a random tenth: none of so few that they would say little."""
    order = np.random.default_rng(seed).permutation(n)
    count = min(round(_VALIDATION * n), _MOST_VALIDATION)
    if count < _LEAST_VALIDATION:
        return np.arange(n), order[:0]
    return np.sort(order[count:]), np.sort(order[:count])


def _only(data: LabelledData, task: Task, rows: NDArray[np.intp]) -> _Read:
    return data.X[rows], task.y[rows], lambda row: data.place(int(rows[row]))


def _standardised(
    data: LabelledData,
    task: Task,
    train: _Read,
    held_out: _Read,
    fill: bool,
) -> Split:
    from sklearn.preprocessing import StandardScaler

    (train_X, train_y, train_place), (held_out_X, held_out_y, held_out_place) = train, held_out
    for part, y in (("training", train_y), ("held-out", held_out_y)):
        trouble = task.trouble(y)
        if trouble:
            raise BadInput(f"{data.name}: the {part} part has {trouble}")
    medians = _medians(train_X) if fill and train_X.dtype.kind == "f" else None
    if medians is not None:
        train_X, held_out_X = filled(train_X, medians), filled(held_out_X, medians)
    if not np.ptp(train_X, axis=0).any():
        raise BadInput(f"{data.name}: every feature is constant; give one that varies")
    scaler = StandardScaler().fit(train_X)
    return Split(
        Part(train_X, scaler.transform(train_X), train_y, train_place),
        Part(held_out_X, scaler.transform(held_out_X), held_out_y, held_out_place),
        medians,
        scaler.mean_,
        scaler.scale_,
        data.shape,
    )


def _medians(X: NDArray[np.float64]) -> NDArray[np.float64]:
    """The median of every column (d,); 0 where a column is nothing but holes."""
    empty = np.isnan(X).all(axis=0)
    medians: NDArray[np.float64] = np.zeros(X.shape[1])
    medians[~empty] = np.nanmedian(X[:, ~empty], axis=0)
    return medians


def filled(X: NDArray[Any], fill: NDArray[np.float64]) -> NDArray[Any]:
    """Put these numbers (d,) where holes are."""
    return np.where(np.isnan(X), fill, X)


def _check_sizes(data: LabelledData, task: Task, test_size: float) -> None:
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

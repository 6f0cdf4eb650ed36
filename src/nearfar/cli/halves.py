"""The stratified split into a training and a held-out part, standardised by the training part."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.cli.data import LabelledData
from nearfar.cli.errors import BadInput, listed
from nearfar.cli.model import NEIGHBOURS


@dataclass(frozen=True)
class Halves:
    """Standardised features and labels (as positions in ``classes``) of both parts."""

    train_X: NDArray[np.float64]
    train_y: NDArray[np.intp]
    held_out_X: NDArray[np.float64]
    held_out_y: NDArray[np.intp]
    classes: NDArray[Any]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]


def split(data: LabelledData, test_size: float, seed: int) -> Halves:
    """Hold out a ``test_size`` share of every class."""
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    classes, codes, counts = np.unique(data.y, return_inverse=True, return_counts=True)
    _check_classes(data.name, classes, counts)
    _check_sizes(data.name, test_size, rows=len(codes), classes=len(classes))
    train_X, held_out_X, train_y, held_out_y = train_test_split(
        data.X, codes, test_size=test_size, stratify=codes, random_state=seed
    )
    for part, y in (("training", train_y), ("held-out", held_out_y)):
        if np.bincount(y).max() < 2:
            raise BadInput(
                f"{data.name}: the {part} part has no two rows of one class; add rows to each class"
            )
    if not np.ptp(train_X, axis=0).any():
        raise BadInput(f"{data.name}: every feature is constant; give one that varies")
    scaler = StandardScaler().fit(train_X)
    return Halves(
        scaler.transform(train_X),
        train_y,
        scaler.transform(held_out_X),
        held_out_y,
        classes,
        scaler.mean_,
        scaler.scale_,
    )


def _check_classes(name: str, classes: NDArray[Any], counts: NDArray[np.intp]) -> None:
    if len(classes) < 2:
        raise BadInput(f"{name}: every row has the label '{classes[0]}'; give two classes or more")
    single = classes[counts < 2]
    if single.size:
        raise BadInput(
            f"{name}: one row only of class {listed(single.tolist())}, and both parts need one; "
            "add rows of it or drop it"
        )


def _check_sizes(name: str, test_size: float, rows: int, classes: int) -> None:
    if not 0 < test_size < 1:
        raise BadInput(f"--test-size must lie between 0 and 1, received {test_size}; try 0.3")
    held_out = math.ceil(test_size * rows)
    train = rows - held_out
    if held_out < classes:
        raise BadInput(
            f"--test-size {test_size} holds out {held_out} of {rows} rows of {name}, fewer than "
            f"its {classes} classes; raise it"
        )
    if train < max(classes, NEIGHBOURS):
        raise BadInput(
            f"--test-size {test_size} leaves {train} of {rows} rows of {name} to learn from, fewer "
            f"than {max(classes, NEIGHBOURS)} ({classes} classes, {NEIGHBOURS} neighbours); "
            "lower it or add rows"
        )

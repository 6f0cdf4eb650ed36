"""The split into a training and a held-out part, standardised by the training part."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.cli.data import LabelledData
from nearfar.cli.errors import BadInput
from nearfar.cli.kinds import Kind


@dataclass(frozen=True)
class Halves:
    """Standardised features, and the kind's ``y``, of both parts."""

    train_X: NDArray[np.float64]
    train_y: NDArray[Any]
    held_out_X: NDArray[np.float64]
    held_out_y: NDArray[Any]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]


def split(data: LabelledData, kind: Kind, test_size: float, seed: int) -> Halves:
    """Hold out a ``test_size`` share of the rows, and of every stratum where the kind has any."""
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    _check_sizes(data, kind, test_size)
    train_X, held_out_X, train_y, held_out_y = train_test_split(
        data.X, kind.y, test_size=test_size, stratify=kind.strata(), random_state=seed
    )
    for part, y in (("training", train_y), ("held-out", held_out_y)):
        trouble = kind.trouble(y)
        if trouble:
            raise BadInput(f"{data.name}: the {part} part has {trouble}")
    if not np.ptp(train_X, axis=0).any():
        raise BadInput(f"{data.name}: every feature is constant; give one that varies")
    scaler = StandardScaler().fit(train_X)
    return Halves(
        scaler.transform(train_X),
        train_y,
        scaler.transform(held_out_X),
        held_out_y,
        scaler.mean_,
        scaler.scale_,
    )


def _check_sizes(data: LabelledData, kind: Kind, test_size: float) -> None:
    if not 0 < test_size < 1:
        raise BadInput(f"--test-size must lie between 0 and 1, received {test_size}; try 0.3")
    rows = len(data.X)
    held_out = math.ceil(test_size * rows)
    least_train, least_held_out = kind.least()
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

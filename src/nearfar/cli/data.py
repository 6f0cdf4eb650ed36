"""DATA of the command line: a built-in set, an ``.npz`` or a ``.csv``, checked on the way in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfar.cli.errors import BadInput, listed
from nearfar.cli.files import read_npz

if TYPE_CHECKING:
    import pandas as pd

# What tells the rows apart: class "labels" or numeric "targets", as the losses call them.
BUILT_IN = {"digits": "labels", "wine": "labels", "breast_cancer": "labels", "diabetes": "targets"}
_SAVE_AGAIN = "save it again with numpy.savez(file, X=X, y=y)"


LARGEST = 1e100  # the squares of what is below it can be added up


@dataclass(frozen=True)
class LabelledData:
    """Features ``X (n, d)`` and labels or targets ``y (n,)``, numbers or strings, as they stand.

    ``place`` names where in the source the ``y`` of a row is; a file's columns have names.
    """

    name: str
    X: NDArray[np.float64]
    y: NDArray[Any]
    place: Callable[[int], str]
    columns: tuple[str, ...] | None = None
    label: str | None = None


def read_labelled(source: str, label: str | None) -> LabelledData:
    """Read what ``nearfar fit`` learns from; ``label`` names the column of ``y`` in a CSV."""
    kind = _kind(source)
    if label is not None and kind != ".csv":
        raise BadInput(f"--label belongs to .csv files; {source} has its own labels: leave it out")
    if kind == "built-in":
        return LabelledData(source, *_built_in(source), _place_in_array(source))
    path = Path(source)
    if kind == ".npz":
        arrays = read_npz(path, ["X", "y"], _SAVE_AGAIN)
        X = _features(arrays["X"], source)
        y = _labels(arrays["y"], len(X), source)
        return LabelledData(path.stem, X, y, _place_in_array(source))
    from nearfar.cli.tables import feature_matrix, label_column, place_in_column, read_table

    frame = read_table(path)
    if label is None:
        raise BadInput(f"{path} needs --label COLUMN; its columns are {listed(frame.columns)}")
    y = label_column(frame, label, path)
    features = frame.drop(columns=label)
    X = feature_matrix(features, path)
    return LabelledData(
        path.stem, X, y, place_in_column(path, label), tuple(map(str, features.columns)), label
    )


def read_features(
    source: str, columns: Sequence[str] | None, label: str | None
) -> NDArray[np.float64]:
    """Read features alone, for a model that knows its ``columns`` and ``label`` by these names.

    Columns of a CSV are put into the model's order, and its label column is left out.
    """
    kind = _kind(source)
    if kind == "built-in":
        return _built_in(source)[0]
    path = Path(source)
    if kind == ".npz":
        return _features(read_npz(path, ["X"], _SAVE_AGAIN)["X"], source)
    from nearfar.cli.tables import feature_matrix, read_table

    frame = read_table(path).drop(columns=[label] if label else [], errors="ignore")
    return feature_matrix(frame if columns is None else _ordered(frame, columns, path), path)


def unusable(X: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell where features are NaN, infinite or too large to be standardised."""
    return ~(np.abs(X) < LARGEST)


def _place_in_array(source: str) -> Callable[[int], str]:
    return lambda row: f"{source}: y[{row}]"


def _kind(source: str) -> str:
    if source in BUILT_IN:
        return "built-in"
    suffix = Path(source).suffix.lower()
    if suffix not in (".npz", ".csv"):
        raise BadInput(
            f"DATA '{source}' is neither {listed(list(BUILT_IN))} nor an .npz or .csv file"
        )
    return suffix


def _built_in(name: str) -> tuple[NDArray[np.float64], NDArray[Any]]:
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    y = bunch.target if BUILT_IN[name] == "targets" else bunch.target_names[bunch.target]
    return bunch.data.astype(np.float64), y


def _features(X: NDArray[Any], source: str) -> NDArray[np.float64]:
    if X.dtype.kind not in "biuf":
        raise BadInput(f"{source}: X must hold numbers, received dtype {X.dtype}; convert it")
    if X.ndim < 2 or X.size == 0:
        raise BadInput(
            f"{source}: X must be (rows, features) and not empty, received {X.shape}; reshape it"
        )
    X = X.reshape(len(X), -1).astype(np.float64)  # (n, d)
    bad = unusable(X)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise BadInput(
            f"{source}: X[{row}, {column}] is {X[row, column]}, expected a number below "
            f"{LARGEST:g}; replace it or drop the row"
        )
    return X


def _labels(y: NDArray[Any], n: int, source: str) -> NDArray[Any]:
    if y.shape != (n,):
        remedy = "pass y.ravel()" if y.shape == (n, 1) else "give one label a row"
        raise BadInput(f"{source}: y must have shape ({n},), received {y.shape}; {remedy}")
    if y.dtype.kind not in "biufU":
        raise BadInput(f"{source}: y must hold numbers or strings, received {y.dtype}; convert it")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        row = int((~np.isfinite(y)).argmax())
        raise BadInput(f"{source}: y[{row}] is {y[row]}; replace it or drop the row")
    return y


def _ordered(frame: "pd.DataFrame", columns: Sequence[str], path: Path) -> "pd.DataFrame":
    present = set(frame.columns)
    missing = [name for name in columns if name not in present]
    extra = [name for name in frame.columns if name not in set(columns)]
    if missing:
        raise BadInput(
            f"{path} has no column {listed(missing)}, which the model was made with; add it"
        )
    if extra:
        raise BadInput(
            f"{path} has {len(frame.columns)} feature columns, the model was made for "
            f"{len(columns)}; drop {listed(extra)}"
        )
    return frame[list(columns)]

"""DATA of the command line: sets known by name, files, folders; checked on the way in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfar.cli.data.arrays import checked_features, checked_labels
from nearfar.cli.data.sources import bare_rows, kind_of_path, labelled_rows
from nearfar.cli.errors import BadInput, listed
from nearfar.cli.files import read_npy, read_npz
from nearfar.datasets import SETS

if TYPE_CHECKING:
    import pandas as pd

# What tells the rows apart: class "labels" or numeric "targets", as the losses call them.
_SCIKIT_LEARN = {
    "digits": "labels",
    "wine": "labels",
    "breast_cancer": "labels",
    "diabetes": "targets",
}
# Sets known by name: with scikit-learn, or to be downloaded.
BUILT_IN = _SCIKIT_LEARN | {name: found.kind for name, found in SETS.items()}
_SAVE_AGAIN = "save it again with numpy.savez(file, X=X, y=y)"


@dataclass(frozen=True)
class LabelledData:
    """Features ``X (n, d)`` and labels or targets ``y (n,)``, numbers or strings, as they stand.

    Images are uint8, all else float64; ``X.reshape(n, *shape)`` restores what was flattened:
    (height, width), (height, width, 3) or (d,). ``place`` names where in the source the ``y`` of a
    row is; a file's columns have names.
    """

    name: str
    X: NDArray[Any]
    y: NDArray[Any]
    place: Callable[[int], str]
    shape: tuple[int, ...]
    columns: tuple[str, ...] | None = None
    label: str | None = None


def read_labelled(source: str, label: str | None, image_size: int | None = None) -> LabelledData:
    """Read what ``nearfar fit`` learns from.

    ``label`` names the column of ``y`` in a CSV; ``image_size`` is the side in pixels that images
    of a folder are resized to.
    """
    kind = _kind(source)
    if label is not None and kind != ".csv":
        raise BadInput(f"--label belongs to .csv files; {source} has its own labels: leave it out")
    if image_size is not None and kind != "folder":
        raise BadInput(f"--image-size belongs to folders of images; leave it out for {source}")
    if kind == ".csv":
        return _labelled_table(Path(source), label)
    if kind == ".npy":
        raise BadInput(f"{source} has rows, but nothing to learn from; {_SAVE_AGAIN}")
    if kind == ".npz":
        arrays = read_npz(Path(source), ["X", "y"], _SAVE_AGAIN)
        X, y = arrays["X"], arrays["y"]
    elif kind == "scikit-learn":
        X, y = _scikit_learn(source)
    else:
        X, y = labelled_rows(kind, source, image_size)
    flat = checked_features(X, source)
    y = checked_labels(y, len(flat), source)
    name = source if source in BUILT_IN else Path(source).stem or Path(source).resolve().name  # "."
    return LabelledData(name, flat, y, _place_in_array(source), X.shape[1:])


def read_features(
    source: str,
    columns: Sequence[str] | None,
    label: str | None,
    shape: tuple[int, ...] | None = None,
) -> NDArray[Any]:
    """Read features alone (n, d), for a model that knows its ``columns`` and ``label`` by name.

    Columns of a CSV are put into the model's order, and its label column is left out; images of a
    folder are given the model's ``shape``: (height, width), or (height, width, 3) in colour.
    """
    kind = _kind(source)
    if kind == ".csv":
        from nearfar.cli.data.tables import feature_matrix, read_table

        path = Path(source)
        frame = read_table(path).drop(columns=[label] if label else [], errors="ignore")
        return feature_matrix(frame if columns is None else _ordered(frame, columns, path), path)
    if kind == ".npz":
        X = read_npz(Path(source), ["X"], _SAVE_AGAIN)["X"]
    elif kind == ".npy":
        X = read_npy(Path(source), "save it again with numpy.save(file, X)")
    elif kind == "scikit-learn":
        X = _scikit_learn(source)[0]
    else:
        X = bare_rows(kind, source, shape)
    return checked_features(X, source)


def _place_in_array(source: str) -> Callable[[int], str]:
    return lambda row: f"{source}: y[{row}]"


def _kind(source: str) -> str:
    if source in _SCIKIT_LEARN:
        return "scikit-learn"
    if source in SETS:
        return "named"
    suffix = Path(source).suffix.lower()
    kind = suffix if suffix in (".npz", ".npy", ".csv") else kind_of_path(Path(source))
    if kind is None:
        raise BadInput(
            f"DATA '{source}' is neither {listed(list(_SCIKIT_LEARN))} nor an .npz, .npy or .csv "
            f"file, nor one of {listed(list(SETS), most=len(SETS))}, an *idx3-ubyte or CIFAR-10 "
            ".bin file, nor a folder of these or of images by class"
        )
    return kind


def _labelled_table(path: Path, label: str | None) -> LabelledData:
    from nearfar.cli.data.tables import feature_matrix, label_column, place_in_column, read_table

    frame = read_table(path)
    if label is None:
        raise BadInput(f"{path} needs --label COLUMN; its columns are {listed(frame.columns)}")
    y = label_column(frame, label, path)
    features = frame.drop(columns=label)
    X = feature_matrix(features, path)
    names = tuple(map(str, features.columns))
    place = place_in_column(path, label)
    return LabelledData(path.stem, X, y, place, X.shape[1:], names, label)


def _scikit_learn(name: str) -> tuple[NDArray[np.float64], NDArray[Any]]:
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    targets = _SCIKIT_LEARN[name] == "targets"
    return bunch.data, bunch.target if targets else bunch.target_names[bunch.target]


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

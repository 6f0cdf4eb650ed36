"""DATA of the command line: sets known by name, files, folders; checked on the way in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from nearfar.cli.data.arrays import checked_features, checked_labels
from nearfar.cli.data.sources import bare_rows, kind_of_path, labelled_rows
from nearfar.cli.errors import BadInput, listed, nearest
from nearfar.cli.files import COMPRESSED, read_npy, read_npz
from nearfar.cli.options import ColumnOptions
from nearfar.datasets import SETS

if TYPE_CHECKING:
    from nearfar.cli.data.columns import Columns
    from nearfar.cli.data.tables import Table

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

    Images are uint8, all else float64, NaN where a hole is to be filled; ``X.reshape(n, *shape)``
    restores what was flattened: (height, width), (height, width, 3) or (d,). ``place`` names where
    in the source the ``y`` of a row is; a table's columns have names. ``notes`` say what was done
    to the source.
    """

    name: str
    X: NDArray[Any]
    y: NDArray[Any]
    place: Callable[[int], str]
    shape: tuple[int, ...]
    columns: "Columns | None" = None
    left_out: tuple[str, ...] = ()  # columns
    label: str | None = None
    notes: tuple[str, ...] = ()

    def keep(self, rows: NDArray[np.bool_], note: str) -> Self:
        """Drop the other rows, and say so."""
        places = np.flatnonzero(rows)
        return replace(
            self,
            X=self.X[rows],
            y=self.y[rows],
            place=lambda row: self.place(places[row]),
            notes=(*self.notes, note),
        )


def read_labelled(
    source: str,
    label: str | None = None,
    columns: "ColumnOptions | Columns" = ColumnOptions(),
    image_size: int | None = None,
    shape: tuple[int, ...] | None = None,
    missing: str | None = None,
) -> LabelledData:
    """Read rows with labels or targets: what ``nearfar fit`` learns from, or is to be scored.

    ``label`` names the column of ``y`` in a table; ``columns`` those of features, as options choose
    or as they were chosen before; images of a folder are resized to a side of ``image_size``
    pixels, or to the ``shape`` of those before. Holes stay as NaN with ``missing="median"``, and
    rows that have some are dropped with ``"drop"``.
    """
    kind = _kind(source)
    if label is not None and kind != "table" and isinstance(columns, ColumnOptions):
        raise BadInput(f"--label belongs to tables; {source} has its own labels: leave it out")
    if image_size is not None and kind != "folder":
        raise BadInput(f"--image-size belongs to folders of images; leave it out for {source}")
    if isinstance(columns, ColumnOptions):
        missing = columns.missing
        for name in ("features", "drop", "one_hot"):
            if getattr(columns, name) and kind != "table":
                raise BadInput(
                    f"--{name.replace('_', '-')} belongs to tables; leave it out for {source}"
                )
    if kind == "table":
        return _labelled_table(Path(source), label, columns, missing)
    if kind == ".npy":
        raise BadInput(f"{source} has rows, but nothing to learn from; {_SAVE_AGAIN}")
    if kind == ".npz":
        arrays = read_npz(Path(source), ["X", "y"], _SAVE_AGAIN)
        X, y = arrays["X"], arrays["y"]
    elif kind == "scikit-learn":
        X, y = _scikit_learn(source)
    else:
        X, y = labelled_rows(kind, source, image_size, shape)
    holes = missing is not None
    flat = checked_features(X, source, holes)
    y = checked_labels(y, len(flat), source, holes)
    data = LabelledData(name_of(source), flat, y, lambda row: f"{source}: y[{row}]", X.shape[1:])
    if not holes:
        return data
    if y.dtype.kind == "f" and np.isnan(y).any():
        data = _dropped(data, np.isnan(y), "without a label")
        if (data.y == np.trunc(data.y)).all():
            data = replace(data, y=data.y.astype(np.int64))
    if missing == "drop" and flat.dtype.kind == "f":
        data = _dropped(data, np.isnan(data.X).any(axis=1), "with a hole")
    return data


def read_features(
    source: str,
    columns: "Columns | None",
    ignored: Sequence[str] = (),
    shape: tuple[int, ...] | None = None,
    holes: bool = False,
) -> NDArray[Any]:
    """Read features alone (n, d), for a model that knows its ``columns`` by name.

    Columns of a table are put into the model's order, and those ``ignored``, its label among them,
    are left out; images of a folder are given the model's ``shape``: (height, width), or (height,
    width, 3) in colour. ``holes`` are NaN, where a model can fill them.
    """
    kind = _kind(source)
    if kind == "table":
        from nearfar.cli.data.columns import Columns
        from nearfar.cli.data.tables import Table, read_table

        table = read_table(Path(source))
        bare = Table(table.path, table.frame.drop(columns=list(ignored), errors="ignore"))
        if columns is None:
            columns = Columns(tuple(map(str, bare.frame.columns)))
        return columns.matrix(columns.only(bare), holes)
    if kind == ".npz":
        X = read_npz(Path(source), ["X"], _SAVE_AGAIN)["X"]
    elif kind == ".npy":
        X = read_npy(Path(source), "save it again with numpy.save(file, X)")
    elif kind == "scikit-learn":
        X = _scikit_learn(source)[0]
    else:
        X = bare_rows(kind, source, shape)
    return checked_features(X, source, holes)


def name_of(source: str) -> str:
    if source in BUILT_IN:
        return source
    path = Path(source)
    bare = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    return bare.stem or path.resolve().name  # of "."


def _kind(source: str) -> str:
    if source in _SCIKIT_LEARN:
        return "scikit-learn"
    if source in SETS:
        return "named"
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix in (".npz", ".npy"):
        return suffix
    kind = kind_of_path(path)
    if kind is None and _is_table(path):
        return "table"
    if kind is None:
        raise BadInput(
            f"DATA '{source}' is neither {listed(list(_SCIKIT_LEARN))} nor an .npz, .npy, .csv, "
            f".tsv or .parquet file, nor one of {listed(list(SETS), most=len(SETS))}, an "
            "*idx3-ubyte or CIFAR-10 .bin file, nor a folder of these or of images by class"
            f"{nearest(source, BUILT_IN)}"
        )
    return kind


def _is_table(path: Path) -> bool:
    from nearfar.cli.data.tables import is_table

    return is_table(path)


def _labelled_table(
    path: Path, label: str | None, options: "ColumnOptions | Columns", missing: str | None
) -> LabelledData:
    from nearfar.cli.data.columns import choose
    from nearfar.cli.data.tables import read_table

    table = read_table(path)
    if label is None:
        raise BadInput(
            f"{path} needs --label COLUMN; its columns are {listed(table.frame.columns)}"
        )
    table.checked(label, "--label")
    notes: list[str] = []
    empty = table.frame[label].isna().to_numpy()
    if empty.any():
        if missing is None:
            place = table.place(label)(int(empty.argmax()))
            raise BadInput(f"{place}: missing label; fill it, or --missing drop drops the row")
        table, note = _rows_left(table, empty, "without a label")
        notes.append(note)
    left_out: tuple[str, ...] = ()
    if isinstance(options, ColumnOptions):
        columns, left_out, said = choose(table, label, options)
        notes += said
    else:
        columns = options
    if missing == "drop":
        holes = table.frame[list(columns.names)].isna().any(axis=1).to_numpy()
        if holes.any():
            table, note = _rows_left(table, holes, "with a hole")
            notes.append(note)
    X = columns.matrix(columns.of(table), holes=missing == "median")
    return LabelledData(
        name_of(str(path)),
        X,
        table.labels(label),
        table.place(label),
        X.shape[1:],
        columns,
        left_out,
        label,
        tuple(notes),
    )


def _rows_left(table: "Table", out: NDArray[np.bool_], why: str) -> tuple["Table", str]:
    if out.all():
        raise BadInput(f"--missing: every row of {table.path} is {why}; choose columns by --drop")
    return table.without(out), _dropping(out, why)


def _dropped(data: LabelledData, out: NDArray[np.bool_], why: str) -> LabelledData:
    if not out.any():
        return data
    if out.all():
        raise BadInput(f"--missing: every row of {data.name} is {why}; use --missing median")
    return data.keep(~out, _dropping(out, why))


def _dropping(out: NDArray[np.bool_], why: str) -> str:
    return f"dropped {int(out.sum())} of {len(out)} rows {why}"


def _scikit_learn(name: str) -> tuple[NDArray[np.float64], NDArray[Any]]:
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    targets = _SCIKIT_LEARN[name] == "targets"
    return bunch.data, bunch.target if targets else bunch.target_names[bunch.target]

"""CSV files: every complaint names the column, and the row by its line in the file."""

import csv
import warnings
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nearfar.cli.data.arrays import LARGEST, unusable
from nearfar.cli.errors import BadInput, listed
from nearfar.cli.files import check_readable


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV file with a header line."""
    check_readable(path)
    try:
        with warnings.catch_warnings():
            # Rows longer than the header would otherwise lose cells with no more than a warning.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(path, index_col=False, low_memory=False)
    except (ValueError, pd.errors.ParserWarning) as error:  # ParserError is a ValueError too.
        raise BadInput(
            f"{path} cannot be read as CSV ({error}); write it as UTF-8 with commas and one header"
        ) from error
    _check_header(path)
    if frame.empty:
        raise BadInput(f"{path} has no rows below its header; give it some")
    return frame


def feature_matrix(frame: pd.DataFrame, path: Path) -> NDArray[np.float64]:
    """Turn columns of numbers into a matrix (n, d)."""
    if frame.columns.empty:
        raise BadInput(f"{path} has no column of features; add some")
    X = np.empty(frame.shape)
    for j, name in enumerate(frame.columns):
        X[:, j] = pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64, na_value=np.nan)
        bad = unusable(X[:, j])
        if bad.any():
            row = int(bad.argmax())
            problem, remedy = _trouble(frame[name].iloc[row])
            raise BadInput(f"{place_in_column(path, name)(row)}: {problem}; {remedy}")
    return X


def label_column(frame: pd.DataFrame, label: str, path: Path) -> NDArray[Any]:
    """Take the column of labels (n,) as numbers, or as strings where it is not all numbers."""
    if label not in frame.columns:
        raise BadInput(
            f"--label: {path} has no column '{label}'; its columns are {listed(frame.columns)}"
        )
    column = frame[label]
    missing = column.isna().to_numpy()
    if missing.any():
        place = place_in_column(path, label)(int(missing.argmax()))
        raise BadInput(f"{place}: missing label; fill it or drop the row")
    values: NDArray[Any] = column.to_numpy()
    return values if values.dtype.kind in "biuf" else values.astype(str)


def place_in_column(path: Path, column: str) -> Callable[[int], str]:
    """Give what names the cell of a column in the row it is called with."""
    return lambda row: f"{path}, {_line(path, row)}, column '{column}'"


def _check_header(path: Path) -> None:
    """Refuse columns without a name of their own, which pandas would make one up for."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        header = next(cells for cells in csv.reader(file) if cells)
    for place, name in enumerate(header, start=1):
        if not name.strip():
            raise BadInput(
                f"{path}: column {place} has no name; name it, or drop it if it is an index "
                "(pandas: to_csv(index=False))"
            )
        if header.count(name) > 1:
            raise BadInput(f"{path}: two columns have the name '{name}'; rename or drop one")


def _trouble(cell: Any) -> tuple[str, str]:
    if pd.isna(cell):
        return "missing value", "fill it or drop the row"
    if isinstance(cell, str):
        return f"text '{cell}' where a number belongs", "encode it as a number or drop the column"
    return f"{cell}, expected a number below {LARGEST:g}", "replace it or drop the row"


def _line(path: Path, row: int) -> str:
    """Name a row of the table by its line: blank lines and line breaks in quotes shift them."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        ends = (reader.line_num for cells in reader if cells)
        return f"line {next(islice(ends, row + 1, None))} (row {row + 1} below the header)"

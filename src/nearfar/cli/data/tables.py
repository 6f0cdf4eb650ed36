"""Tables in files: every complaint names the column, and the row by its line in the file."""

import csv
import lzma
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nearfar.cli.errors import BadInput, listed, nearest
from nearfar.cli.files import COMPRESSED, check_readable, opened

_SEPARATORS = ",;\t|"


def is_table(path: Path) -> bool:
    """Tell a table by its name."""
    return _format(path) in (".csv", ".tsv", ".txt", ".parquet")


@dataclass(frozen=True)
class Table:
    """Columns by name; the index of a row is its place in the file, whatever was dropped."""

    path: Path
    frame: pd.DataFrame

    def place(self, column: str) -> Callable[[int], str]:
        """Give what names the cell of a column in the row it is called with."""
        if _format(self.path) == ".parquet":
            return lambda row: f"{self.path}, row {self.frame.index[row] + 1}, column '{column}'"
        # Read when it is first asked for, and once: a report asks for every row.
        lines = cache(lambda: _lines(self.path))

        def name(row: int) -> str:
            at = self.frame.index[row]
            return (
                f"{self.path}, line {lines()[at]} (row {at + 1} below the header), "
                f"column '{column}'"
            )

        return name

    def checked(self, name: str, option: str) -> str:
        """Refuse a name that no column has."""
        if name in self.frame.columns:
            return name
        columns = self.frame.columns
        raise BadInput(
            f"{option}: {self.path} has no column '{name}'{nearest(name, columns)}; its columns "
            f"are {listed(columns)}"
        )

    def without(self, rows: NDArray[np.bool_]) -> "Table":
        """Leave rows out."""
        return Table(self.path, self.frame[~rows])

    def labels(self, label: str) -> NDArray[Any]:
        """Take a column whole (n,) as numbers, or as strings where it is not all numbers."""
        column = self.frame[label]
        values: NDArray[Any] = column.to_numpy()
        if values.dtype.kind == "f" and (values == np.trunc(values)).all():
            values = values.astype(np.int64)  # whole numbers that stood beside holes
        return values if values.dtype.kind in "biuf" else column.astype(str).to_numpy(str)


def read_table(path: Path) -> Table:
    """Read a table with a header line, or a parquet file."""
    check_readable(path)
    frame = _parquet(path) if _format(path) == ".parquet" else _separated(path)
    if frame.empty:
        raise BadInput(f"{path} has no rows below its header; give it some")
    return Table(path, frame)


def check_writer(path: Path) -> None:
    """Refuse a kind of table that cannot be written here."""
    if path.suffix.lower() == ".parquet" and not _reads_parquet():
        raise BadInput(f"{path}: writing parquet needs pyarrow: pip install pyarrow")


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table by what its name ends in."""
    if path.suffix.lower() == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        frame.to_csv(path, index=False)


def _reads_parquet() -> bool:
    return any(find_spec(engine) is not None for engine in ("pyarrow", "fastparquet"))


def _format(path: Path) -> str:
    if path.suffix.lower() in COMPRESSED:
        path = path.with_suffix("")
    return path.suffix.lower()


def _parquet(path: Path) -> pd.DataFrame:
    if not _reads_parquet():
        raise BadInput(f"{path}: reading parquet needs pyarrow: pip install pyarrow")
    try:
        frame = pd.read_parquet(path).reset_index(drop=True)
    except Exception as error:  # Damaged files fail in as many ways as there are engines.
        raise BadInput(f"{path} cannot be read as parquet ({error}); write it again") from error
    return frame.rename(columns=str)


def _separated(path: Path) -> pd.DataFrame:
    try:
        header, separator = _header(path)
        with _opened(path) as file, warnings.catch_warnings():
            # Rows longer than the header would otherwise lose cells with no more than a warning.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(file, sep=separator, index_col=False, low_memory=False)
            if separator == ";":
                frame = frame.apply(_decimal_commas)
    except (ValueError, EOFError, lzma.LZMAError, zipfile.BadZipFile, pd.errors.ParserWarning) as e:
        # ParserError is a ValueError too.
        raise BadInput(
            f"{path} cannot be read as CSV ({e}); write it as UTF-8 with commas and one header"
        ) from e
    for place, name in enumerate(header, start=1):
        if not name.strip():
            raise BadInput(
                f"{path}: column {place} has no name; name it, or drop it if it is an index "
                "(pandas: to_csv(index=False))"
            )
        if header.count(name) > 1:
            raise BadInput(f"{path}: two columns have the name '{name}'; rename or drop one")
    return frame


def _header(path: Path) -> tuple[list[str], str]:
    """The names of the columns, and what stands between them: most often in the first line."""
    with _opened(path) as file:
        first = next((line for line in file if line.strip()), "")
    bare = "".join(first.split('"')[::2])
    separator = max(_SEPARATORS, key=bare.count)
    with _opened(path) as file:
        rows = csv.reader(file, delimiter=separator)
        return next((cells for cells in rows if cells), []), separator


def _decimal_commas(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Read 1,5 as a number where a whole column is of that kind, as beside semicolons it is."""
    if pd.api.types.is_numeric_dtype(column):
        return column
    points = column.astype("string").str.replace(",", ".", n=1, regex=False)
    numbers = pd.to_numeric(points, errors="coerce")
    return numbers if (numbers.notna() | column.isna()).all() else column


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    with opened(path) as raw, TextIOWrapper(raw, encoding="utf-8-sig", newline="") as file:
        yield file


def _lines(path: Path) -> list[int]:
    """The line each row ends on: blank lines and line breaks in quotes shift them."""
    with _opened(path) as file:
        reader = csv.reader(file, delimiter=_header(path)[1])
        return [reader.line_num for cells in reader if cells][1:]

"""Which columns of a table are features, and how they become numbers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nearfar.cli.data.arrays import FILL, LARGEST, unusable
from nearfar.cli.data.tables import Table
from nearfar.cli.errors import BadInput, listed, nearest
from nearfar.cli.options import ColumnOptions

_MOST_VALUES = 256  # of a column that becomes one column for each
_FEW_ROWS = 20  # whole numbers that all differ mean nothing in so few
_ID_NAME = re.compile(r"(^|[\W_])(id|ids|idx|index|key|uuid|guid|no|nr|number|row)$", re.IGNORECASE)


@dataclass(frozen=True)
class Columns:
    """The columns of features in their order; those of words with the words they may hold."""

    names: tuple[str, ...]
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def matrix(self, table: Table, holes: bool) -> NDArray[np.float64]:
        """Turn columns into a matrix (n, d): words into one column for each, of zeros and ones.

        A word that is unknown, or missing, has none. Holes among numbers are NaN where they may be.
        """
        parts = []
        for name in self.names:
            if name in self.categories:
                words = table.frame[name].astype("string").fillna("").to_numpy(str)
                known = np.array(self.categories[name])
                parts.append((words[:, None] == known).astype(np.float64))
            else:
                parts.append(_numbers(table, name, holes)[:, None])
        return np.concatenate(parts, axis=1)

    def of(self, table: Table) -> Table:
        """Take the columns of another table, in this order; refuse missing ones."""
        columns = table.frame.columns
        missing = [name for name in self.names if name not in columns]
        if missing:
            raise BadInput(
                f"{table.path} has no column {listed(missing)}, which the model was made with"
                f"{nearest(missing[0], columns)}; add it"
            )
        return Table(table.path, table.frame[list(self.names)])

    def only(self, table: Table) -> Table:
        """Take the columns of another table, and refuse others beside them."""
        taken = self.of(table)
        extra = [name for name in table.frame.columns if name not in set(self.names)]
        if extra:
            raise BadInput(
                f"{table.path} has {len(table.frame.columns)} feature columns, the model was made "
                f"for {len(self.names)}; drop {listed(extra)}"
            )
        return taken


def choose(
    table: Table, label: str, options: ColumnOptions
) -> tuple[Columns, tuple[str, ...], list[str]]:
    """Choose the features: the columns, those left out, and what is to be said of it."""
    names = [str(name) for name in table.frame.columns if name != label]
    wanted = _matching(names, options.features, table, "--features")
    kept = names if options.features is None else wanted
    dropped = _matching(names, options.drop, table, "--drop")
    kept = [name for name in kept if name not in dropped]
    hot = _one_hot(table, kept, options.one_hot)
    notes = []
    if options.features is None:
        for name in [name for name in kept if name not in hot]:
            ids = _id(table.frame[name])
            if ids == "row number":
                kept.remove(name)
                notes.append(
                    f"left out column '{name}', which looks like an id or a row number: another "
                    f"whole number in every row; --features '*' keeps it"
                )
            elif ids:
                notes.append(
                    f"column '{name}' has another whole number in every row; if it is an id, leave "
                    f"it out: --drop '{name}'"
                )
    if not kept:
        raise BadInput(f"{table.path} has no column of features; add some")
    _refuse_text(table, [name for name in kept if name not in hot])
    categories = {name: _words(table, name) for name in kept if name in hot}
    out = tuple(name for name in names if name not in kept)
    return Columns(tuple(kept), categories), out, notes


def _matching(
    names: Sequence[str], patterns: Sequence[str] | None, table: Table, option: str
) -> list[str]:
    """Names in their own order that are, or match, one of the patterns."""
    found: set[str] = set()
    for pattern in patterns or ():
        matches = {pattern} if pattern in names else {n for n in names if fnmatchcase(n, pattern)}
        if not matches:
            table.checked(pattern, option)
            raise BadInput(f"{option}: column '{pattern}' is the label; leave it out")
        found |= matches
    return [name for name in names if name in found]


def _one_hot(table: Table, names: Sequence[str], patterns: Sequence[str] | None) -> set[str]:
    found = _matching(names, patterns, table, "--one-hot")
    return {n for n in found if n in (patterns or ()) or _of_text(table.frame[n])}


def _of_text(column: "pd.Series[Any]") -> bool:
    return not pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _words(table: Table, name: str) -> tuple[str, ...]:
    words = table.frame[name].astype("string").dropna().unique().tolist()
    if len(words) > _MOST_VALUES:
        raise BadInput(
            f"--one-hot: column '{name}' of {table.path} has {len(words)} values, expected at most "
            f"{_MOST_VALUES}; leave it out: --drop '{name}'"
        )
    return tuple(sorted(words))


def _id(column: "pd.Series[Any]") -> str | None:
    """Tell whether whole numbers that all differ look like a "row number", or are "unique"."""
    if len(column) < _FEW_ROWS or not pd.api.types.is_numeric_dtype(column):
        return None
    values = column.to_numpy(np.float64, na_value=np.nan)
    if not (np.isfinite(values).all() and (values == np.trunc(values)).all()):
        return None
    ordered = np.sort(values)
    steps = np.diff(ordered)
    if (steps == 0).any():
        return None
    in_order = (np.diff(values) > 0).all() or (np.diff(values) < 0).all()
    dense = ordered[-1] - ordered[0] < 2 * len(values)
    return "row number" if in_order or dense or _ID_NAME.search(str(column.name)) else "unique"


def _refuse_text(table: Table, names: Sequence[str]) -> None:
    """Name every column that holds text, with the first cell that does."""
    of_text = {}
    for name in names:
        column = table.frame[name]
        if _of_text(column):
            bad = pd.to_numeric(column, errors="coerce").isna() & column.notna()
            if bad.any():
                of_text[name] = int(bad.to_numpy().argmax())
    if of_text:
        name, row = next(iter(of_text.items()))
        cell = table.frame[name].iloc[row]
        others = [other for other in of_text if other != name]
        also = f"; so do columns {listed(others)}" if others else ""
        raise BadInput(
            f"{table.place(name)(row)}: text '{cell}' where a number belongs{also}; encode it by "
            f"--one-hot '{name}' or leave it out by --drop '{name}'"
        )


def _numbers(table: Table, name: str, holes: bool) -> NDArray[np.float64]:
    column = table.frame[name]
    values: NDArray[np.float64] = pd.to_numeric(column, errors="coerce").to_numpy(
        np.float64, na_value=np.nan
    )
    empty = column.isna().to_numpy()
    bad = unusable(values) & ~(empty if holes else np.zeros_like(empty))
    if bad.any():
        row = int(bad.argmax())
        cell = column.iloc[row]
        if pd.isna(cell):
            problem, remedy = "missing value", FILL
        elif isinstance(cell, str):
            problem = f"text '{cell}' where a number belongs"
            remedy = "encode it as a number or drop the column"
        else:
            problem, remedy = f"{cell}, expected a number below {LARGEST:g}", "replace it or drop"
            remedy = "replace it or drop the row"
        raise BadInput(f"{table.place(name)(row)}: {problem}; {remedy}")
    return values

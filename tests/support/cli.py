"""Files to be refused, and what a refusal must look like."""

import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd


def assert_matches(line: str, message: str) -> None:
    assert re.search(message, line), f"{message!r} is not in {line!r}"


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def write_csv(folder: Path, table: pd.DataFrame) -> Path:
    table.to_csv(folder / "data.csv", index=False)
    return folder / "data.csv"


def write_npz(folder: Path, **arrays: object) -> Path:
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


def damaged(path: Path) -> None:
    """Spoil bytes inside an archive whose directory stays whole."""
    content = bytearray(path.read_bytes())
    content[200:260] = b"\xff" * 60
    path.write_bytes(content)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def other_format(path: Path) -> None:
    path.write_text("X = 1, y = 2")


def other_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing here")


def emptied(path: Path) -> None:
    path.write_bytes(b"")


SPOILERS = {
    damaged: r"is damaged \(.*\); ",
    truncated: r"is truncated or no \.npz file; ",
    other_format: r"is truncated or no \.npz file; ",
    other_zip: r"has no array ",
    emptied: r"is empty; write it again",
}

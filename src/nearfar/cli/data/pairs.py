"""Pairs of two kinds: an ``.npz`` with arrays X and Y of matched rows, or two folders of images."""

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nearfar import datasets
from nearfar.cli.data.arrays import checked_features
from nearfar.cli.data.reading import name_of
from nearfar.cli.errors import BadInput, library_errors, listed
from nearfar.cli.files import read_npz

_SAVE_AGAIN = "save it again with numpy.savez(file, X=X, Y=Y)"


@dataclass(frozen=True)
class Pairs:
    """Row i of ``x (n, d1)`` belongs to row i of ``y (n, d2)``, both float64."""

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: NDArray[np.intp]) -> Self:
        """Keep these rows of both sides."""
        return replace(self, x=self.x[rows], y=self.y[rows])

    def repeated(self) -> dict[str, int]:
        """Count the rows of a side that stand before them too, where there are any."""
        sides = {"X": self.x, "Y": self.y}
        counts = {name: len(x) - len({row.tobytes() for row in x}) for name, x in sides.items()}
        return {name: count for name, count in counts.items() if count}


def holds_pairs(source: str) -> bool:
    """Tell pairs by their array Y; beside labels y it means nothing here."""
    path = Path(source)
    if path.suffix.lower() != ".npz" or not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:  # whoever reads it will say so
        return False
    return "Y.npy" in names and "y.npy" not in names


def read_pairs(source: str, image_size: int | None) -> Pairs:
    """Read and check both sides of a file."""
    if image_size is not None:
        raise BadInput(f"--image-size belongs to folders of images; leave it out for {source}")
    arrays = read_npz(Path(source), ["X", "Y"], _SAVE_AGAIN)
    for name, array in arrays.items():
        if name == "Y" and array.ndim == 1:
            raise BadInput(
                f"{source}: Y must be (rows, features), received {array.shape}; save labels or "
                "targets as an array y"
            )
    x, y = (_side(arrays[name], name, source) for name in ("X", "Y"))
    if len(x) != len(y):
        raise BadInput(
            f"{source}: X has {len(x)} rows and Y has {len(y)}, expected as many; row i of each "
            "must belong together"
        )
    return Pairs(name_of(source), x, y)


def read_folders(left: str, right: str, image_size: int | None) -> Pairs:
    """Read two folders of images: those of one name, whatever its ending, belong together."""
    for name in (left, right):
        if not Path(name).is_dir():
            raise BadInput(
                f"RIGHT makes pairs of two folders of images, and {name} is no folder; pairs in a "
                "file are one .npz with arrays X and Y"
            )
    with library_errors():
        files = [_by_stem(Path(name)) for name in (left, right)]
        for (here, found), (there, expected) in zip(
            ((left, files[0]), (right, files[1])),
            ((right, files[1]), (left, files[0])),
            strict=True,
        ):
            alone = [stem for stem in expected if stem not in found]
            if alone:
                raise BadInput(
                    f"{here} has no image of the names {listed(alone, most=3)}, which {there} has; "
                    "add or remove them"
                )
        stems = sorted(files[0])
        x, y = (
            datasets.read_images([by_stem[stem] for stem in stems], image_size) for by_stem in files
        )
    name = "-".join(Path(folder).resolve().name for folder in (left, right))
    return Pairs(name, _side(x, "X", left), _side(y, "Y", right))


def _by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in datasets.image_files(folder):
        other = found.setdefault(file.stem, file)
        if other != file:
            raise BadInput(
                f"{other} and {file} have one name, expected one image of it; rename one"
            )
    return found


def _side(array: NDArray[Any], name: str, source: str) -> NDArray[np.float64]:
    checked = checked_features(array, source, name=name, fill="replace it or drop the pair")
    return checked.astype(np.float64)

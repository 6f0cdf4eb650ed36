"""DATA that holds images, and the named sets: read by ``nearfar.datasets``, refused in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from nearfar import datasets
from nearfar.cli.errors import BadInput
from nearfar.cli.files import check_readable


class Rows(NamedTuple):
    """Features (n, ...) and labels or targets (n,)."""

    X: NDArray[Any]
    y: NDArray[Any]


def kind_of_path(path: Path) -> str | None:
    """Tell which kind of images a file or folder holds by its name and what is in it."""
    if not path.is_dir():
        if "idx3-ubyte" in path.name.lower():
            return "idx"
        return "cifar" if path.suffix.lower() == ".bin" else None
    if any(path.glob("train-images?idx3-ubyte*")):
        return "idx"
    if any(path.glob("data_batch_*.bin")) or (path / "test_batch.bin").is_file():
        return "cifar"
    return "folder"


def labelled_rows(
    kind: str, source: str, image_size: int | None, shape: tuple[int, ...] | None = None
) -> Rows:
    """Read images or a named set with what is learned from; a folder's images get the ``shape``."""
    with _one_line(kind, source):
        if kind == "named":
            return Rows(*datasets.load(source))
        if kind == "idx":
            return Rows(*datasets.read_idx(source))
        if kind == "cifar":
            return Rows(*datasets.read_cifar10(source))
        size, colour = _pixels(shape)
        return Rows(*datasets.read_image_folder(source, image_size or size, colour))


def bare_rows(kind: str, source: str, shape: tuple[int, ...] | None) -> NDArray[Any]:
    """Read images or a named set without labels; images of a folder get the ``shape``.

    A folder may then hold images without folders of classes too.
    """
    with _one_line(kind, source):
        if kind == "idx":
            return datasets.read_idx_images(source)
        if kind != "folder":
            return labelled_rows(kind, source, None).X
        size, colour = _pixels(shape)
        folder = Path(source)
        inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
        if inside and not any(path.is_dir() for path in inside):
            return datasets.read_images(datasets.image_files(folder), size, colour)
        return datasets.read_image_folder(folder, size, colour)[0]


def _pixels(shape: tuple[int, ...] | None) -> tuple[tuple[int, int] | None, bool | None]:
    """Height and width, and whether there is colour, where a shape is one of images."""
    if shape is None or len(shape) < 2:
        return None, None
    return (shape[0], shape[1]), len(shape) == 3


@contextmanager
def _one_line(kind: str, source: str) -> Iterator[None]:
    if kind != "named" and not Path(source).is_dir():
        check_readable(Path(source))
    try:
        yield
    except (ValueError, ModuleNotFoundError) as error:
        raise BadInput(str(error)) from error

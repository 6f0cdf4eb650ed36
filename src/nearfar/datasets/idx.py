"""MNIST's IDX format: a big-endian header of magic number and sizes, then bytes."""

import gzip
import math
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

_MAGIC = {"images": 0x00000803, "labels": 0x00000801}  # unsigned bytes, of 3 axes and of 1
_GZIP = b"\x1f\x8b"
_PART = 2**24  # bytes read at once


def read_idx(
    images: str | Path, labels: str | Path | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read images ``(n, height, width)``, 0 to 255, and labels ``(n,)`` of MNIST and its kin.

    ``images`` is a file, plain or compressed by gzip, or a folder that holds
    ``train-images-idx3-ubyte``. ``labels`` are looked for beside the images by default: for
    ``train-images-idx3-ubyte`` that is ``train-labels-idx1-ubyte``, with or without ``.gz`` and
    with ``.`` or ``-`` before ``idx``.

    Raises ``ValueError`` where a file is damaged, truncated or of another format, where there are
    no labels, or where their number differs from that of the images.

    Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits.
    """
    path = _images_file(Path(images))
    X = read_idx_images(path)
    labels = _labels_of(path) if labels is None else Path(labels)
    y = _read(labels, "labels")
    if len(y) != len(X):
        raise ValueError(
            f"{path} holds {len(X)} images, expected {len(y)} for the labels in {labels}; name "
            "files that belong together"
        )
    return X, y.astype(np.int64)


def read_idx_images(images: str | Path) -> NDArray[np.uint8]:
    """Read images ``(n, height, width)`` alone, as ``read_idx`` does with their labels."""
    path = _images_file(Path(images))
    X = _read(path, "images")
    if X.size == 0:
        raise ValueError(f"{path} holds no images, its sizes are {X.shape}; name another file")
    return X


def _images_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    for dash in "-.":
        for suffix in ("", ".gz"):
            file = path / f"train-images{dash}idx3-ubyte{suffix}"
            if file.is_file():
                return file
    raise ValueError(
        f"{path} holds no train-images-idx3-ubyte, plain or .gz; name a file of images"
    )


def _labels_of(images: Path) -> Path:
    name = images.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    for spelt in (name, name.replace("-idx1", ".idx1"), name.replace(".idx1", "-idx1")):
        for suffix in ("", ".gz"):
            file = images.with_name(spelt + suffix)
            if file != images and file.is_file():
                return file
    raise ValueError(
        f"{images} has no labels beside it, expected {name} or {name}.gz there; add that file"
    )


def _read(path: Path, what: str) -> NDArray[np.uint8]:
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            return _entries(file, path, what)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path} is truncated or damaged, expected a whole gzip file ({error}); "
            "get the file again"
        ) from error


def _entries(file: IO[bytes] | gzip.GzipFile, path: Path, what: str) -> NDArray[np.uint8]:
    """Read what the header says and one byte more at most, whatever a file unpacks to."""
    start = file.read(4)
    magic = int.from_bytes(start)
    if len(start) < 4 or magic != _MAGIC[what]:
        raise ValueError(
            f"{path} starts with the magic number 0x{magic:08x}, expected 0x{_MAGIC[what]:08x} of "
            f"IDX {what}; name a file of {what}"
        )
    axes = magic & 0xFF
    header = file.read(4 * axes)
    if len(header) < 4 * axes:
        raise ValueError(
            f"{path} ends within its header, expected {4 * axes} bytes of sizes; get the file again"
        )
    sizes = [int.from_bytes(header[4 * k : 4 * k + 4]) for k in range(axes)]
    expected, parts, held = math.prod(sizes), [], 0
    while held <= expected and (part := file.read(min(_PART, expected + 1 - held))):
        parts.append(part)
        held += len(part)
    if held != expected:
        more = "or more " if held > expected else ""
        begin = len(start) + len(header)
        raise ValueError(
            f"{path} holds {begin + held} bytes {more}where {begin + expected} were expected by "
            f"its header ({' x '.join(map(str, sizes))} {what}); get the file again"
        )
    return np.frombuffer(b"".join(parts), np.uint8).reshape(sizes).copy()

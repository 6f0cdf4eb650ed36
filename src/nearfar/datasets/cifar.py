"""CIFAR-10's binary version: records of one label byte and 32 x 32 pixels, colour by colour."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PIXELS = 3 * 32 * 32
_CLASSES = 10


def read_cifar10(path: str | Path) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Read images ``(n, 32, 32, 3)``, 0 to 255, and labels ``(n,)`` of CIFAR-10's binary version.

    ``path`` is one ``.bin`` file, or a folder: its ``data_batch_*.bin`` in order of their names,
    or its ``test_batch.bin`` where that is alone. Labels are the names in ``batches.meta.txt``
    beside the files, or 0 to 9 where there is none.

    Raises ``ValueError`` where a file is truncated or of another format.

    Source: Krizhevsky 2009, Learning multiple layers of features from tiny images.
    """
    path = Path(path)
    files = _batches(path) if path.is_dir() else [path]
    records = np.concatenate([_records(file) for file in files])
    X = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    y = records[:, 0].astype(np.int64)
    names = _class_names(files[0].with_name("batches.meta.txt"))
    return np.ascontiguousarray(X), y if names is None else names[y]


def _batches(folder: Path) -> list[Path]:
    files = sorted(folder.glob("data_batch_*.bin")) or sorted(folder.glob("test_batch.bin"))
    if not files:
        raise ValueError(
            f"{folder} holds no data_batch_*.bin nor test_batch.bin; name the folder of CIFAR-10's "
            "binary version"
        )
    return files


def _records(file: Path) -> NDArray[np.uint8]:
    content = np.frombuffer(file.read_bytes(), np.uint8)
    if content.size == 0 or content.size % (1 + _PIXELS):
        raise ValueError(
            f"{file} holds {content.size} bytes, expected a multiple of {1 + _PIXELS}, the size of "
            "a CIFAR-10 record; get the file again"
        )
    records = content.reshape(-1, 1 + _PIXELS)
    wrong = records[:, 0] >= _CLASSES
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{file}: record {row} has the label {records[row, 0]}, expected 0 to {_CLASSES - 1}; "
            "name a file of CIFAR-10's binary version"
        )
    return records


def _class_names(file: Path) -> NDArray[np.str_] | None:
    if not file.is_file():
        return None
    names = file.read_text(encoding="utf-8", errors="replace").split("\n")
    names = [name.strip() for name in names if name.strip()]
    if len(set(names)) != _CLASSES or len(names) != _CLASSES:
        raise ValueError(
            f"{file} holds {len(names)} names, expected {_CLASSES} different ones, one a line; "
            "get the file again, or remove it"
        )
    return np.array(names)

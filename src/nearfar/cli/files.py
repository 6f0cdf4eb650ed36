"""Files read whole or refused, and written whole or not at all."""

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.cli.errors import BadInput, listed

_STAGE = ".nearfar-"


def check_readable(path: Path) -> None:
    """Refuse a path that is no readable file, or an empty one."""
    if path.is_dir():
        raise BadInput(f"{path} is a folder; name a file")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); check the path") from error
    if empty:
        raise BadInput(f"{path} is empty; write it again")


def read_npz(path: Path, names: Sequence[str], remedy: str) -> dict[str, NDArray[Any]]:
    """Read the named arrays of an ``.npz`` file, never unpickling anything."""
    check_readable(path)
    if not zipfile.is_zipfile(path):
        raise BadInput(f"{path} is truncated or no .npz file; {remedy}")
    arrays, name = {}, ""
    try:
        with np.load(path, allow_pickle=False) as archive:
            held = archive.files
            for name in names:
                if name in held:
                    arrays[name] = archive[name]
    except Exception as error:  # A damaged archive fails in a dozen ways: zip, zlib, header, size.
        if "allow_pickle" in str(error):
            raise BadInput(
                f"{path}: array '{name}' holds Python objects, which are not read; "
                "save it with a numeric or string dtype"
            ) from error
        raise BadInput(f"{path} is damaged ({error}); {remedy}") from error
    missing = [name for name in names if name not in arrays]
    if missing:
        raise BadInput(f"{path} has no array {listed(missing)}, only {listed(held)}; {remedy}")
    return arrays


def read_npy(path: Path, remedy: str) -> NDArray[Any]:
    """Read the array of an ``.npy`` file, never unpickling anything."""
    check_readable(path)
    try:
        with path.open("rb") as file:
            array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # Headers lie in as many ways.
        raise BadInput(f"{path} is no .npy file of numbers ({error}); {remedy}") from error
    return array


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Give a hidden folder inside ``folder`` whose files move there once all of them are whole.

    Entering proves that ``folder`` can be written; leaving by an error removes every trace.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    stage = None
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _sweep(folder)
            stage = Path(tempfile.mkdtemp(prefix=f"{_STAGE}{os.getpid()}-", dir=folder))
        except OSError as error:
            raise BadInput(
                f"--out: folder {folder} cannot be written ({error.strerror}); choose another"
            ) from error
        yield stage
        for file in sorted(stage.iterdir()):
            with file.open("rb") as written:
                os.fsync(written.fileno())  # or a power cut could leave the new name without data
            file.replace(folder / file.name)
        made = []
    finally:
        if stage is not None:
            shutil.rmtree(stage, ignore_errors=True)
        for path in made:
            with suppress(OSError):
                path.rmdir()


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed have left."""
    for path in folder.glob(f"{_STAGE}*"):
        process = path.name.removeprefix(_STAGE).split("-")[0]
        if not (process.isdigit() and _is_running(int(process))):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(process: int) -> bool:
    if os.name != "posix":  # where the call would end the process
        return True
    try:
        os.kill(process, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)
    return True

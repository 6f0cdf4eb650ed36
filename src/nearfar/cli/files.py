"""Files read whole or refused, and written whole or not at all."""

import bz2
import gzip
import lzma
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from nearfar.cli.errors import BadInput, listed

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]

_STAGE = ".nearfar-"
_LOCK = ".nearfar.lock"


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


def opened(path: Path) -> IO[bytes]:
    """Open a file for reading, unpacked where its name says that it is compressed."""
    unpack = COMPRESSED.get(path.suffix.lower())
    return path.open("rb") if unpack is None else unpack(path)


def _only_member(path: Path) -> IO[bytes]:
    archive = zipfile.ZipFile(path)
    names = [name for name in archive.namelist() if not name.endswith("/")]
    if len(names) != 1:
        raise BadInput(f"{path} holds {len(names)} files, expected one; take it out")
    return archive.open(names[0])


COMPRESSED: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zip": _only_member,
}


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
def claimed(folder: Path) -> Iterator[None]:
    """Keep a folder for one run: another that wants it meanwhile is refused.

    Entering proves that the folder can be written, and removes what runs that were killed have left
    in it; leaving removes folders that were made for it and hold nothing.
    """
    made = _missing(folder)
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = _locked(folder / _LOCK)
        except OSError as error:
            raise _unwritable(folder, error) from error
        if lock is None:
            raise BadInput(
                f"--out: another run is at work in {folder}; wait for its end or choose another"
            )
        with lock:
            try:
                _sweep(folder)
                yield
            finally:
                (folder / _LOCK).unlink(missing_ok=True)
    finally:
        _remove_empty(made)


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Give a hidden folder inside ``folder`` whose files move there once all of them are whole.

    Leaving by an error removes every trace.
    """
    made = _missing(folder)
    stage = None
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stage = Path(tempfile.mkdtemp(prefix=_STAGE, dir=folder))
            lock = _locked(stage / _LOCK)
        except OSError as error:
            raise _unwritable(folder, error) from error
        with lock or nullcontext():
            yield stage
            (stage / _LOCK).unlink(missing_ok=True)
            for file in sorted(stage.iterdir()):
                with file.open("rb") as written:
                    os.fsync(written.fileno())  # or a power cut could leave a name without data
                file.replace(folder / file.name)
    finally:
        if stage is not None:
            shutil.rmtree(stage, ignore_errors=True)
        _remove_empty(made)


def _missing(folder: Path) -> list[Path]:
    return [path for path in (folder, *folder.parents) if not path.exists()]


def _remove_empty(folders: list[Path]) -> None:
    for path in folders:
        with suppress(OSError):
            path.rmdir()


def _unwritable(folder: Path, error: OSError) -> BadInput:
    return BadInput(f"--out: folder {folder} cannot be written ({error.strerror}); choose another")


def _sweep(folder: Path) -> None:
    """Remove the stages of processes that were killed: nobody holds their locks."""
    for stage in folder.glob(f"{_STAGE}*/"):
        if fcntl is not None and (stage / _LOCK).exists():
            with suppress(OSError), _locked(stage / _LOCK) or nullcontext() as lock:
                if lock is not None:
                    shutil.rmtree(stage, ignore_errors=True)


def _locked(path: Path) -> IO[bytes] | None:
    """Lock a file as long as it stays open, or find that another process has locked it.

    The kernel frees the lock of a process that is killed. The number of a process would say nothing
    of one in another container, or on another machine, that shares the folder.
    """
    while True:
        file = path.open("ab")
        if fcntl is None:
            return file
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
            file.close()  # its owner removed it between the opening and the lock
        except BlockingIOError:
            file.close()
            return None
        except OSError:  # a file system without locks
            return file

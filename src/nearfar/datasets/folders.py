"""Folders of images, one subfolder per class, read by Pillow."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
)
_DEEP = ("I", "F")  # Modes of more than 8 bits a channel start so.

Size = int | tuple[int, int]


def read_image_folder(
    path: str | Path, size: Size | None = None, colour: bool | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.str_]]:
    """Read images and the names of the subfolders they are in, one subfolder per class.

    Rows are in order of class, then of file name; hidden files are ignored. See ``read_images`` for
    the images ``(n, height, width[, 3])``, ``size`` and ``colour``; labels are strings ``(n,)``.

    Raises ``ValueError`` where a class has no images, a file is no image or a broken one, or sizes
    differ; ``ModuleNotFoundError`` without Pillow.
    """
    path = Path(path)
    classes = [folder for folder in _visible(path) if folder.is_dir()]
    loose = [file for file in _visible(path) if file.suffix.lower() in SUFFIXES and file.is_file()]
    if not classes or loose:
        found = f"the image {loose[0].name}" if loose else "no folders"
        raise ValueError(
            f"{path}: expected one folder of images per class, found {found} in it; move each "
            "class's images into a folder of its own"
        )
    members = [image_files(folder) for folder in classes]
    X = read_images([file for files in members for file in files], size, colour)
    return X, np.repeat([folder.name for folder in classes], [len(files) for files in members])


def image_files(folder: Path) -> list[Path]:
    """List the images of one class by name; anything else in the folder is refused."""
    files = _visible(folder)
    for file in files:
        if file.is_dir() or file.suffix.lower() not in SUFFIXES:
            raise ValueError(
                f"{file} is no image, expected files of {', '.join(sorted(SUFFIXES))} only in "
                f"{folder}; convert or remove it"
            )
    if not files:
        raise ValueError(f"{folder} holds no images, expected some of its class; add or remove it")
    return files


def read_images(
    files: Sequence[str | Path], size: Size | None = None, colour: bool | None = None
) -> NDArray[np.uint8]:
    """Read images of 8 bits a channel as ``(n, height, width)``, or ``(n, height, width, 3)``.

    ``size`` resizes all of them to that side, or to (height, width), by antialiased bilinear
    interpolation that does not keep the aspect ratio; without it they must have one size.
    ``colour`` chooses RGB or grey; by default grey images stay grey unless any has colour. Images
    are turned as their EXIF orientation says, transparency is dropped, and of an animation the
    first frame is read.

    Raises ``ValueError`` naming the first file that is broken or differs in size;
    ``ModuleNotFoundError`` without Pillow.
    """
    paths = [Path(file) for file in files]
    if not paths:
        raise ValueError("files is empty, expected images; name some")
    shape = (size, size) if isinstance(size, int) else size
    if shape is not None and min(shape) < 1:
        raise ValueError(
            f"size must be 1 or more, received {size}; pass height and width in pixels"
        )
    images = [_pixels(path, shape, colour) for path in paths]
    for path, image in zip(paths, images, strict=True):
        if image.shape[:2] != images[0].shape[:2]:
            raise ValueError(
                f"{path} is {_dimensions(image)} pixels, expected {_dimensions(images[0])} as "
                f"{paths[0]}; resize it, or all of them by size (--image-size)"
            )
    if len({image.ndim for image in images}) == 2:  # grey among colours
        images = [np.stack([im] * 3, axis=-1) if im.ndim == 2 else im for im in images]
    return np.stack(images)


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _dimensions(image: NDArray[np.uint8]) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"


def _pixels(path: Path, shape: tuple[int, int] | None, colour: bool | None) -> NDArray[np.uint8]:
    try:
        from PIL import Image, ImageOps
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("reading images needs Pillow: pip install pillow") from error

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Of metadata; damaged pixels are errors.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                mode = opened.mode
                upright = ImageOps.exif_transpose(opened)
                image = _converted(upright, colour) if not mode.startswith(_DEEP) else None
    except Exception as error:  # Broken images fail in a dozen ways: struct, zlib, syntax, end.
        raise ValueError(
            f"{path} cannot be read as an image ({error}), expected a whole one of a usual size; "
            "write it again or remove it"
        ) from error
    if image is None:
        raise ValueError(f"{path} has pixels of mode {mode}, expected 8 bits a channel; convert it")
    if shape is not None:
        image = image.resize(shape[::-1], Image.Resampling.BILINEAR)
    return np.array(image, np.uint8)


def _converted(image: "Image.Image", colour: bool | None) -> "Image.Image":
    if colour is None:
        colour = image.mode not in ("1", "L", "LA", "La")
    # A palette's transparent colour is dropped by way of RGBA.
    rgb = image.convert("RGBA") if image.mode == "P" else image
    return rgb.convert("RGB" if colour else "L")

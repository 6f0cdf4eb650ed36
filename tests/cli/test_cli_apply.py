"""`nearfar transform` and `nearfar predict`: a model applied to rows, old and new."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import normalize
from support.cli import assert_matches

from nearfar.cli.learn.maps import Linear
from nearfar.cli.learn.model import Model
from nearfar.cli.tasks.predictors import Vote


def embeddings(run, trained, data, out):
    result = run("transform", trained.folder, data, "--out", out)
    assert result.exit_code == 0, result.output
    return np.load(out, allow_pickle=False)


def test_transform_is_the_map_of_the_model(run, trained, blobs, tmp_path):
    model = trained.model
    standardised = (blobs.X - model["mean"]) / model["scale"]
    expected = standardised @ model["components"].T + model["intercept"]
    actual = embeddings(run, trained, trained.npz, tmp_path / "z.npy")
    np.testing.assert_allclose(actual, expected, atol=1e-9)


def test_csv_in_any_order_with_or_without_labels(run, trained, blobs, tmp_path):
    expected = embeddings(run, trained, trained.npz, tmp_path / "z.npy")
    for name, frame in {
        "labelled": blobs.frame,
        "bare": blobs.frame.drop(columns="tree"),
        "shuffled": blobs.frame[["f", "b", "d", "tree", "a", "c", "e"]],
    }.items():
        path = tmp_path / f"{name}.csv"
        frame.to_csv(path, index=False)
        actual = embeddings(run, trained, path, tmp_path / f"{name}.npy")
        np.testing.assert_allclose(actual, expected, atol=1e-9)


def test_rows_of_an_npy_file(run, trained, blobs, tmp_path):
    np.save(tmp_path / "rows.npy", blobs.X)
    expected = embeddings(run, trained, trained.npz, tmp_path / "z.npy")
    actual = embeddings(run, trained, tmp_path / "rows.npy", tmp_path / "again.npy")
    np.testing.assert_array_equal(actual, expected)


def test_npy_files_that_are_refused(refused, trained, blobs, tmp_path):
    rows, out = tmp_path / "rows.npy", tmp_path / "out.npy"
    np.save(rows, blobs.X)
    assert_matches(
        refused("transform", trained.folder, rows, "--out", rows), r"rows.npy is DATA itself"
    )
    assert_matches(
        refused("fit", rows, "--out", tmp_path / "model"), r"nothing to learn from; save .*y=y"
    )
    whole = rows.read_bytes()
    for broken in (whole[:-9], b"x" + whole, b"PK\x03\x04" + whole):
        rows.write_bytes(broken)
        line = refused("transform", trained.folder, rows, "--out", out)
        assert_matches(line, r"rows.npy is no .npy file of numbers .*numpy.save")
    np.save(rows, np.array([[1, "a"]], dtype=object), allow_pickle=True)
    line = refused("transform", trained.folder, rows, "--out", out)
    assert_matches(line, r"rows.npy is no .npy file of numbers .*numpy.save")
    assert not out.exists()


def test_labels_of_rows_to_embed_are_not_read(run, trained, blobs, tmp_path):
    frame = blobs.frame.assign(tree=np.nan)
    frame.to_csv(tmp_path / "unknown.csv", index=False)
    np.savez(tmp_path / "no_y.npz", X=blobs.X)
    assert len(embeddings(run, trained, tmp_path / "unknown.csv", tmp_path / "a.npy")) == 90
    assert len(embeddings(run, trained, tmp_path / "no_y.npz", tmp_path / "b.npy")) == 90


def test_model_is_named_by_folder_or_file(run, trained, tmp_path):
    by_folder = embeddings(run, trained, trained.npz, tmp_path / "a.npy")
    file = trained.folder / "model.npz"
    assert run("transform", file, trained.npz, "--out", tmp_path / "b.npy").exit_code == 0
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), by_folder)


def test_predict_against_scikit_learn(run, trained, tmp_path):
    out = tmp_path / "labels.csv"
    result = run("predict", trained.folder, trained.csv, "--out", out)
    assert result.exit_code == 0, result.output
    table = pd.read_csv(out)
    assert list(table.columns) == ["row", "label", "agreement"]
    assert table["row"].tolist() == list(range(90))

    model = trained.model
    voters = KNeighborsClassifier(3).fit(normalize(model["reference"]), model["reference_labels"])
    z = normalize(embeddings(run, trained, trained.npz, tmp_path / "z.npy"))
    shares = voters.predict_proba(z)
    assert table["label"].tolist() == model["classes"][shares.argmax(axis=1)].tolist()
    np.testing.assert_allclose(table["agreement"], shares.max(axis=1), atol=1e-4)
    assert table["agreement"].nunique() > 1


def test_three_different_neighbours_give_the_label_that_sorts_first():
    model = Model(
        map=Linear(np.zeros(1), np.ones(1), np.ones((1, 1)), np.zeros(1), (1,)),
        reference=np.array([[1.0], [1.2], [1.4], [9.0]]),
        predictor=Vote(np.array([1, 2, 0, 0]), np.array(["a", "b", "c"])),
        metric="euclidean",
        loss={},
    )
    columns = model.predict(np.array([[1.1], [8.0]]))
    assert columns["label"].tolist() == ["a", "a"]
    assert columns["agreement"].tolist() == [0.3333, 0.6667]


def test_predict_scores_what_fit_reported(run, trained, blobs, tmp_path):
    held_out = train_test_split(np.arange(90), test_size=0.3, stratify=blobs.y, random_state=0)[1]
    assert run("predict", trained.folder, trained.csv, "--out", tmp_path / "p.csv").exit_code == 0
    labels = pd.read_csv(tmp_path / "p.csv")["label"].to_numpy()
    reported = json.loads((trained.folder / "metrics.json").read_text())["learned"]["knn3"]
    assert np.mean(labels[held_out] == blobs.y[held_out]) == pytest.approx(reported)


def test_results_make_their_folder(run, trained, tmp_path):
    out = tmp_path / "new" / "deep" / "z.npy"
    assert len(embeddings(run, trained, trained.npz, out)) == 90
    assert [path.name for path in out.parent.iterdir()] == ["z.npy"]

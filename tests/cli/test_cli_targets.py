"""`nearfar fit` and `predict` on numeric targets: SupCR, R2 and rank correlation."""

import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler
from support.cli import read_arrays, write_npz

import nearfar
from nearfar import metrics

MEASURES = ["knn_r2", "spearman"]


def report_of(trained):
    return json.loads((trained.folder / "metrics.json").read_text())


def parts(slope):
    X, Q, y, q = train_test_split(slope.X, slope.y, test_size=0.3, random_state=0)
    scaler = StandardScaler().fit(X)
    return scaler.transform(X), scaler.transform(Q), y, q


def test_metrics_json(trained_on_targets, slope):
    report = report_of(trained_on_targets)
    assert list(report) == ["raw", "pca", "learned", "settings", "options", "history"]
    for row in ("raw", "pca", "learned"):
        assert list(report[row]) == [*MEASURES, "dimensions", "seconds"]
    assert [report[row]["dimensions"] for row in ("raw", "pca", "learned")] == [6, 2, 2]
    settings = report["settings"]
    assert settings["loss"] == nearfar.SupCR().to_dict()
    assert (settings["training_rows"], settings["held_out_rows"]) == (84, 36)
    assert settings["target_min"] == pytest.approx(slope.y.min())
    assert settings["target_max"] == pytest.approx(slope.y.max())
    assert "classes" not in settings


def test_measures_against_scikit_learn_and_scipy(trained_on_targets, slope):
    X, Q, y, q = parts(slope)
    model = trained_on_targets.model
    pca = PCA(2).fit(X)
    spaces = {
        "raw": (X, Q),
        "pca": (pca.transform(X), pca.transform(Q)),
        "learned": [rows @ model["components"].T + model["intercept"] for rows in (X, Q)],
    }
    report = report_of(trained_on_targets)
    for name, (train, held_out) in spaces.items():
        predictor = KNeighborsRegressor(15).fit(train, y)
        found = report[name]
        assert found["knn_r2"] == pytest.approx(predictor.score(held_out, q))
        assert found["knn_r2"] == pytest.approx(metrics.knn_r2(held_out, q, train, y))
        # Means that are equal but for rounding tie.
        expected = spearmanr(q, predictor.predict(held_out).round(9)).statistic
        assert found["spearman"] == pytest.approx(expected)
    np.testing.assert_allclose(model["reference_targets"], y, rtol=1e-13)
    np.testing.assert_allclose(model["reference"], spaces["learned"][0], atol=1e-9)


def test_the_learned_projection_finds_the_feature_that_counts(trained_on_targets):
    report = report_of(trained_on_targets)
    assert report["learned"]["knn_r2"] > 0.8
    assert report["learned"]["knn_r2"] > report["pca"]["knn_r2"] + 0.5
    assert report["learned"]["spearman"] > report["pca"]["spearman"] + 0.3


def test_table(trained_on_targets):
    report = report_of(trained_on_targets)
    lines = trained_on_targets.result.stdout.splitlines()
    assert lines[0].startswith("fields: 36 held-out rows, targets from ")
    for row in ("raw", "pca", "learned"):
        (line,) = [line for line in lines if line.startswith(row)]
        assert line.split()[1:3] == [f"{report[row][name]:.3f}" for name in MEASURES]
    (line,) = [line for line in lines if line.startswith("gain")]
    gains = [report["learned"][name] - report["pca"][name] for name in MEASURES]
    assert line.split()[1:] == [f"{gain:+.3f}" for gain in gains]
    for words in ("15-NN R2", "Spearman", "learned above PCA"):
        assert words in trained_on_targets.result.stdout


def test_picture_has_two_panels_and_a_colour_bar(trained_on_targets):
    pixels = imread(trained_on_targets.folder / "embedding.png")[:, :, :3]
    coloured = np.ptp(pixels, axis=2) > 0.2
    left, right = np.split(coloured, [coloured.shape[1] // 2], axis=1)
    assert left.sum() > 1000
    assert right.sum() > 1000
    # The bar: columns coloured from top to bottom, with many colours.
    (columns,) = np.nonzero(coloured.mean(axis=0) > 0.6)
    assert len(columns) > 5
    assert columns.min() > 0.85 * coloured.shape[1]
    assert len(np.unique(pixels[:, columns.min() + 3], axis=0)) > 100


def test_predict_is_the_mean_of_fifteen_neighbours(run, trained_on_targets, slope, tmp_path):
    out = tmp_path / "p.csv"
    result = run("predict", trained_on_targets.folder, trained_on_targets.csv, "--out", out)
    assert result.exit_code == 0, result.output
    table = pd.read_csv(out)
    assert list(table.columns) == ["row", "target"]
    assert table["row"].tolist() == list(range(120))
    model = trained_on_targets.model
    Z = (slope.X - model["mean"]) / model["scale"] @ model["components"].T + model["intercept"]
    predictor = KNeighborsRegressor(15).fit(model["reference"], model["reference_targets"])
    np.testing.assert_allclose(table["target"], predictor.predict(Z), rtol=1e-9)
    low, high = table["target"].min(), table["target"].max()
    assert f"120 rows, targets from {low:.6g} to {high:.6g}" in result.stdout


def test_predict_scores_what_fit_reported(run, trained_on_targets, slope, tmp_path):
    out = tmp_path / "p.csv"
    result = run("predict", trained_on_targets.folder, trained_on_targets.npz, "--out", out)
    assert result.exit_code == 0, result.output
    held_out = train_test_split(np.arange(120), test_size=0.3, random_state=0)[1]
    predicted = pd.read_csv(out)["target"].to_numpy()[held_out]
    residual = np.square(slope.y[held_out] - predicted).sum()
    r2 = 1 - residual / np.square(slope.y[held_out] - slope.y[held_out].mean()).sum()
    assert r2 == pytest.approx(report_of(trained_on_targets)["learned"]["knn_r2"])


def test_transform_is_the_map_of_the_model(run, trained_on_targets, slope, tmp_path):
    # The column of targets is not needed, and where there is one it is left out.
    slope.frame.drop(columns="yield").to_csv(tmp_path / "bare.csv", index=False)
    for data in (trained_on_targets.csv, tmp_path / "bare.csv"):
        out = tmp_path / "z.npy"
        assert run("transform", trained_on_targets.folder, data, "--out", out).exit_code == 0
        model = trained_on_targets.model
        Z = (slope.X - model["mean"]) / model["scale"] @ model["components"].T
        np.testing.assert_allclose(np.load(out), Z + model["intercept"], atol=1e-9)


@pytest.mark.parametrize("dtype", [np.int64, np.float32, bool])
def test_npz_with_numbers_of_any_dtype(run, slope, tmp_path, dtype):
    y = (slope.y - 40 if dtype is not bool else slope.y > 40).astype(dtype)
    path = write_npz(tmp_path, X=slope.X, y=y)
    args = ("--loss", "supcr", "--components", 2, "--max-iter", 5, "--out", tmp_path / "out")
    assert run("fit", path, *args).exit_code == 0
    reference = read_arrays(tmp_path / "out" / "model.npz")["reference_targets"]
    assert reference.dtype == np.float64
    assert set(reference) <= set(y.astype(float))


def test_cosine_and_fields_reach_the_loss_and_the_neighbours(run, trained_on_targets, tmp_path):
    fields = ("--field", "similarity=cosine", "--field", "order=nearer", "--temperature", 0.5)
    args = ("--loss", "SupCR", "--components", 2, "--max-iter", 5, *fields, "--out", tmp_path)
    result = run("fit", trained_on_targets.npz, *args)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "metrics.json").read_text())
    wanted = nearfar.SupCR(similarity="cosine", order="nearer", temperature=0.5)
    assert report["settings"]["loss"] == wanted.to_dict()
    assert "learned cosine" in result.stdout
    record = json.loads(str(read_arrays(tmp_path / "model.npz")["record"]))
    assert (record["kind"], record["metric"]) == ("targets", "cosine")


def test_predictions_that_are_all_equal_correlate_with_nothing(run, tmp_path):
    # Fifteen neighbours of target 0 are always nearest: the one other target is far off.
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 2)), np.zeros(60)
    train, held_out = train_test_split(np.arange(60), test_size=0.3, random_state=0)
    y[train[0]], y[held_out[0]] = 1, 1
    X[train[0]] = 1000
    path = write_npz(tmp_path, X=X, y=y)
    args = ("--loss", "supcr", "--components", 1, "--max-iter", 1, "--out", tmp_path / "out")
    assert run("fit", path, *args).exit_code == 0
    report = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert report["raw"]["spearman"] == 0
    assert report["raw"]["knn_r2"] == pytest.approx(1 - 1 / (17 / 18))


def gain_on_diabetes(run, folder, seed, *options):
    assert run("fit", "diabetes", *options, "--seed", seed, "--out", folder).exit_code == 0
    report = json.loads((folder / "metrics.json").read_text())
    assert report["settings"]["loss"] == nearfar.SupCR().to_dict()
    assert report["learned"]["dimensions"] == report["pca"]["dimensions"] == 2
    return report["learned"]["knn_r2"] - report["pca"]["knn_r2"]


@pytest.mark.parametrize("options", [(), ("--loss", "supcr")])
def test_diabetes_gain_over_pca(run, tmp_path, options):
    assert gain_on_diabetes(run, tmp_path, 0, "--components", 2, *options) >= 0.08


@pytest.mark.long
def test_diabetes_gain_over_pca_on_five_splits(run, tmp_path):
    gains = [
        gain_on_diabetes(run, tmp_path / str(seed), seed, "--components", 2) for seed in range(5)
    ]
    assert min(gains) > 0
    assert np.mean(gains) >= 0.08

"""`nearfar fit`: what it prints and writes, and that the numbers are what they claim to be."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler, normalize
from support.cli import assert_matches, read_arrays

import nearfar

MEASURES = [
    "knn3", "balanced", "recall1", "map_at_r", "alignment", "uniformity", "dimensions", "seconds",
]  # fmt: skip
FILES = ["README.md", "embedding.png", "log.jsonl", "metrics.json", "model.npz", "report.html"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_writes_its_files_and_nothing_else(trained):
    assert names(trained.folder) == FILES


def test_metrics_json(trained):
    report = json.loads((trained.folder / "metrics.json").read_text())
    assert list(report) == ["raw", "pca", "learned", "settings", "options", "history"]
    for row in ("raw", "pca", "learned"):
        assert list(report[row]) == MEASURES
    assert report["raw"]["dimensions"] == 6
    assert report["pca"]["dimensions"] == report["learned"]["dimensions"] == 2
    settings = report["settings"]
    assert settings["held_out_rows"] == 27
    assert settings["training_rows"] == 63
    assert settings["interrupted"] is False
    assert settings["loss"] == nearfar.SupCon().to_dict()


def test_measures_against_scikit_learn(trained, blobs):
    # The split, standardisation and 3-NN written out with scikit-learn alone.
    codes = np.unique(blobs.y, return_inverse=True)[1]
    X, Q, y, q = train_test_split(blobs.X, codes, test_size=0.3, stratify=codes, random_state=0)
    scaler = StandardScaler().fit(X)
    X, Q = scaler.transform(X), scaler.transform(Q)
    pca = PCA(2).fit(X)
    Z, QZ = (rows @ trained.model["components"].T + trained.model["intercept"] for rows in (X, Q))

    def knn3(train, held_out):
        return KNeighborsClassifier(3).fit(train, y).score(held_out, q)

    report = json.loads((trained.folder / "metrics.json").read_text())
    assert report["raw"]["knn3"] == pytest.approx(knn3(X, Q))
    assert report["pca"]["knn3"] == pytest.approx(knn3(pca.transform(X), pca.transform(Q)))
    assert report["learned"]["knn3"] == pytest.approx(knn3(normalize(Z), normalize(QZ)))

    def recall1(rows):  # within the held-out part, each row without itself
        nearest = KNeighborsClassifier(1)
        found = [
            nearest.fit(np.delete(rows, i, 0), np.delete(q, i)).predict(rows[i : i + 1])[0]
            for i in range(len(q))
        ]
        return np.mean(np.array(found) == q)

    assert report["raw"]["recall1"] == pytest.approx(recall1(Q))
    assert report["learned"]["recall1"] == pytest.approx(recall1(normalize(QZ)))
    np.testing.assert_array_equal(trained.model["reference_labels"], y)
    np.testing.assert_allclose(trained.model["reference"], Z, atol=1e-9)


def test_the_learned_projection_beats_pca_where_noise_is_loud(trained):
    report = json.loads((trained.folder / "metrics.json").read_text())
    assert report["learned"]["knn3"] > report["pca"]["knn3"] + 0.1


def test_table_shows_the_numbers_of_metrics_json(trained):
    report = json.loads((trained.folder / "metrics.json").read_text())
    lines = trained.result.stdout.splitlines()
    for row in ("raw", "pca", "learned"):
        (line,) = [line for line in lines if line.startswith(row)]
        shown = [float(cell) for cell in line.split()[1:]]
        assert shown == pytest.approx([report[row][name] for name in MEASURES], abs=0.051)
        assert shown[:6] == pytest.approx([report[row][name] for name in MEASURES[:6]], abs=6e-4)
    for heading in ("accuracy", "recall@1", "MAP@R", "alignment", "uniformity", "sec"):
        assert heading in trained.result.stdout
    assert "cosine" in trained.result.stdout


def test_table_says_how_far_the_learned_space_is_above_pca(trained):
    report = json.loads((trained.folder / "metrics.json").read_text())
    (line,) = [text for text in trained.result.stdout.splitlines() if text.startswith("gain")]
    gains = [report["learned"][name] - report["pca"][name] for name in MEASURES[:4]]
    assert line.split()[1:] == [f"{gain:+.3f}" for gain in gains]  # nothing where lower is better


def test_no_control_codes_without_a_terminal(trained):
    assert "\x1b" not in trained.result.output
    assert "\r" not in trained.result.output


def test_model_is_arrays_and_json(trained):
    arrays = dict(trained.model)
    record = json.loads(str(arrays.pop("record")))
    assert all(array.dtype.kind in "biufU" for array in arrays.values())
    assert record["columns"] == list("abcdef")
    assert record["label"] == "tree"
    assert nearfar.loss_from_dict(record["loss"]) == nearfar.SupCon()
    assert arrays["classes"].tolist() == ["ash", "elm", "oak"]


def test_picture_has_two_panels_of_points(trained):
    pixels = imread(trained.folder / "embedding.png")[:, :, :3]
    coloured = np.ptp(pixels, axis=2) > 0.2
    parts = np.array_split(coloured, 2, axis=1)
    assert all(half.sum() > 1000 for half in parts)


def test_same_seed_same_numbers_other_seed_other_rows(run, trained, tmp_path):
    def measures(seed):
        out = tmp_path / str(seed)
        fields = ("--field", "similarity=cosine", "--field", "positives=mean_log")
        args = ("--components", 2, "--max-iter", 30, *fields, "--seed", seed, "--out", out)
        assert run("fit", trained.npz, *args).exit_code == 0
        report = json.loads((out / "metrics.json").read_text())
        return {name: value for name, value in report["learned"].items() if name != "seconds"}

    by_csv = json.loads((trained.folder / "metrics.json").read_text())["learned"]
    del by_csv["seconds"]
    # Older releases of pandas read the last bit of a CSV's numbers otherwise than it was written.
    assert measures(0) == pytest.approx(by_csv, rel=1e-10)
    assert measures(1) != by_csv


def test_results_go_to_runs_by_default(run, monkeypatch, tmp_path, trained):
    monkeypatch.chdir(tmp_path)
    result = run("fit", trained.npz, "--components", 1, "--max-iter", 2)
    assert result.exit_code == 0
    assert names(tmp_path / "runs" / "trees") == FILES
    assert "runs/trees" in result.stdout


def test_another_run_is_replaced_only_when_asked(run, refused, tmp_path, trained, slope):
    out = tmp_path / "out"
    args = ("fit", trained.npz, "--max-iter", 2, "--out", out)
    assert run(*args, "--components", 1).exit_code == 0
    assert run(*args, "--components", 1).exit_code == 0  # the same run, the same numbers
    line = refused(*args, "--components", 2)
    assert_matches(line, r"out holds another run, with components 1 and not 2; --overwrite")
    other = tmp_path / "trees.npz"  # of the same name
    np.savez(other, X=slope.X, y=slope.y > 40)
    line = refused("fit", other, *args[2:], "--components", 1)
    assert_matches(line, r"holds another run, with data ")
    assert run(*args, "--components", 2, "--overwrite").exit_code == 0
    assert names(out) == FILES
    assert read_arrays(out / "model.npz")["components"].shape == (2, 6)


@pytest.mark.parametrize("name", ["wine", "breast_cancer"])
def test_built_in_sets(run, tmp_path, name):
    result = run("fit", name, "--max-iter", 3, "--out", tmp_path)
    assert result.exit_code == 0
    assert result.stdout.lstrip().startswith(name)


def test_constant_columns_many_classes_and_odd_names(run, tmp_path):
    rng = np.random.default_rng(0)
    y = np.repeat([f"_${k}^ 五 a rather long name" for k in range(45)], 5)
    X = rng.normal(size=(225, 3)).astype(np.float32)
    X[:, 1] = 4  # constant: standardised to 0, not to NaN
    np.savez(tmp_path / "odd.npz", X=X, y=y)
    result = run("fit", tmp_path / "odd.npz", "--components", 1, "--max-iter", 3, "--out", tmp_path)
    assert result.exit_code == 0
    assert "NaN" not in (tmp_path / "metrics.json").read_text()


def test_images_are_flattened(run, tmp_path, blobs):
    np.savez(tmp_path / "cubes.npz", X=blobs.X.reshape(90, 2, 3), y=blobs.y)
    args = ("--components", 2, "--max-iter", 2, "--out", tmp_path)
    assert run("fit", tmp_path / "cubes.npz", *args).exit_code == 0
    assert read_arrays(tmp_path / "model.npz")["components"].shape == (2, 6)


def test_temperature_reaches_the_loss(run, tmp_path, trained):
    args = ("--components", 2, "--max-iter", 2, "--temperature", 0.5, "--out", tmp_path)
    assert run("fit", trained.npz, *args).exit_code == 0
    settings = json.loads((tmp_path / "metrics.json").read_text())["settings"]
    assert settings["temperature"] == 0.5
    wanted = nearfar.SupCon(temperature=0.5, similarity="neg_euclidean", positives="log_sum")
    assert settings["loss"] == wanted.to_dict()


def test_fields_reach_the_loss(run, tmp_path, trained):
    fields = ("--field", "similarity=cosine", "--field", "scale=2", "--field", "include_self=true")
    args = ("--components", 2, "--max-iter", 2, *fields, "--out", tmp_path)
    assert run("fit", trained.npz, *args).exit_code == 0
    settings = json.loads((tmp_path / "metrics.json").read_text())["settings"]
    wanted = nearfar.SupCon(positives="log_sum", scale=2, include_self=True)
    assert settings["loss"] == wanted.to_dict()


@pytest.mark.parametrize("field", ["positives", "colour=red", "positives=median", "scale=wide"])
def test_wrong_fields(run, tmp_path, trained, field):
    out = tmp_path / "new"
    result = run("fit", trained.npz, "--field", field, "--out", out)
    assert result.exit_code == 2
    assert "--field" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not out.exists()


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 5))]
)
def test_digits_gain_over_pca(run, tmp_path, seed):
    assert run("fit", "digits", "--seed", seed, "--out", tmp_path).exit_code == 0
    report = json.loads((tmp_path / "metrics.json").read_text())
    assert report["learned"]["dimensions"] == report["pca"]["dimensions"] == 8
    # A tenth of the training rows is set aside to judge the learning, and lost to it.
    assert report["learned"]["knn3"] >= report["pca"]["knn3"] + 0.03
    assert report["learned"]["map_at_r"] >= report["pca"]["map_at_r"] + 0.1

"""Tables as people have them: holes, words, ids, small classes, separators, compression."""

import json

import numpy as np
import pandas as pd
import pytest
from support.cli import assert_matches, read_arrays

from nearfar.cli.data import tables
from nearfar.cli.data.reading import read_labelled
from nearfar.cli.options import ColumnOptions

N = 90
QUICK = ("--label", "kind", "--components", 2, "--max-iter", 3)


@pytest.fixture
def frame():
    rng = np.random.default_rng(5)
    kind = np.array(["cat", "dog", "owl"])[rng.integers(0, 3, N)]
    frame = pd.DataFrame(rng.normal(size=(N, 3)), columns=["tall", "wide", "deep"])
    frame["tall"] += 4 * (kind == "cat")
    frame["colour"] = np.array(["red", "green", "blue"])[rng.integers(0, 3, N)]
    return frame.assign(kind=kind)


def saved(folder, frame, name="data.csv", **options):
    frame.to_csv(folder / name, index=False, **options)
    return folder / name


def as_written(X, frame):
    """Older releases of pandas read the last bit otherwise than it was written."""
    np.testing.assert_allclose(X, frame.to_numpy(), rtol=1e-13)


def model_of(folder):
    return read_arrays(folder / "model.npz")


class TestColumns:
    def test_words_are_refused_all_at_once_with_the_way_on(self, refused, frame, tmp_path):
        path = saved(tmp_path, frame.assign(town=["Oslo", "Bern", "Rome"] * (N // 3)))
        line = refused("fit", path, *QUICK)
        assert_matches(line, r"line 2 .*'colour': text '\w+' .*so do columns 'town'.*--one-hot '")
        assert_matches(line, r"--drop 'colour'")

    def test_one_hot_and_its_unknown_words(self, run, frame, tmp_path):
        path, out = saved(tmp_path, frame), tmp_path / "out"
        assert run("fit", path, *QUICK, "--one-hot", "*", "--out", out).exit_code == 0
        model = model_of(out)
        record = json.loads(str(model["record"]))
        assert record["columns"] == ["tall", "wide", "deep", "colour"]
        assert record["categories"] == {"colour": ["blue", "green", "red"]}
        rows = frame.drop(columns="kind").assign(colour=["blue", "violet"] * (N // 2))
        assert run("transform", out, saved(tmp_path, rows, "new.csv"), "--out",
                   tmp_path / "z.npy").exit_code == 0  # fmt: skip
        words = rows["colour"].to_numpy()[:, None] == ["blue", "green", "red"]
        X = np.hstack([rows[["tall", "wide", "deep"]].to_numpy(), words])
        expected = (X - model["mean"]) / model["scale"] @ model["components"].T
        np.testing.assert_allclose(
            np.load(tmp_path / "z.npy"), expected + model["intercept"], atol=1e-9
        )

    def test_features_and_drop_by_pattern(self, tmp_path, frame):
        path = str(saved(tmp_path, frame))
        chosen = {
            ("features", "tall"): ("tall",),
            ("features", "[td]*"): ("tall", "deep"),
            ("drop", "colour"): ("tall", "wide", "deep"),
        }
        for (name, pattern), names in chosen.items():
            options = ColumnOptions(**{name: [pattern]})
            if name == "features" or pattern == "colour":
                data = read_labelled(path, "kind", options)
                assert data.columns.names == names
                as_written(data.X, frame[list(names)])

    @pytest.mark.parametrize("option", ["--label", "--drop", "--features", "--one-hot"])
    def test_a_column_that_is_not_there(self, refused, frame, tmp_path, option):
        wide = pd.DataFrame(np.ones((N, 200)), columns=[f"x{k}" for k in range(200)])
        path = saved(tmp_path, pd.concat([wide, frame.rename(columns={"kind": "species"})], axis=1))
        label = () if option == "--label" else ("--label", "species")
        line = refused("fit", path, *label, option, "specie")
        assert_matches(line, rf"{option}: .*no column 'specie'; did you mean 'species'\?")

    def test_a_table_with_other_columns(self, run, refused, frame, tmp_path):
        path, out = saved(tmp_path, frame), tmp_path / "out"
        run("fit", path, *QUICK, "--drop", "colour", "--out", out)
        z = tmp_path / "z.npy"
        assert run("transform", out, path, "--out", z).exit_code == 0  # what was left out may stay
        line = refused("transform", out, saved(tmp_path, frame.rename(columns={"tall": "talll"})),
                       "--out", z)  # fmt: skip
        assert_matches(line, r"no column 'tall', .*did you mean 'talll'\?; add it")


class TestIds:
    @pytest.mark.parametrize(
        "values",
        [np.arange(N), np.arange(N)[::-1] * 10 + 3, np.random.default_rng(0).permutation(N) + 7],
    )
    def test_row_numbers_are_left_out_aloud(self, run, frame, tmp_path, values):
        path = saved(tmp_path, frame.drop(columns="colour").assign(nr=values))
        result = run("fit", path, *QUICK, "--out", tmp_path / "out")
        assert_matches(result.stderr, r"note: left out column 'nr', which looks like an id")
        assert model_of(tmp_path / "out")["mean"].shape == (3,)
        result = run("predict", tmp_path / "out", path, "--out", tmp_path / "p.csv")
        assert result.exit_code == 0, result.stderr
        result = run("fit", path, *QUICK, "--features", "*", "--out", tmp_path / "all")
        assert "left out" not in result.stderr
        assert model_of(tmp_path / "all")["mean"].shape == (4,)

    def test_numbers_that_all_differ_are_told_and_kept(self, run, frame, tmp_path):
        income = np.random.default_rng(1).permutation(10_000)[:N] * 7
        path = saved(tmp_path, frame.drop(columns="colour").assign(income=income))
        result = run("fit", path, *QUICK, "--out", tmp_path / "out")
        assert_matches(result.stderr, r"note: column 'income' has another .*--drop 'income'")
        assert model_of(tmp_path / "out")["mean"].shape == (4,)

    def test_ordinary_whole_numbers_are_neither(self, run, frame, tmp_path):
        path = saved(tmp_path, frame.drop(columns="colour").assign(legs=np.arange(N) // 2))
        assert "note:" not in run("fit", path, *QUICK, "--out", tmp_path / "out").stderr


class TestHoles:
    @pytest.fixture
    def holes(self, frame):
        frame = frame.drop(columns="colour")
        frame.loc[[3, 10], "tall"] = np.nan
        frame.loc[3, "deep"] = np.nan
        frame.loc[20, "kind"] = None
        return frame

    def test_are_refused_with_the_way_on(self, refused, holes, tmp_path):
        line = refused("fit", saved(tmp_path, holes), *QUICK)
        assert_matches(line, r"line 22 .*'kind': missing label; .*--missing drop")
        path = saved(tmp_path, holes.dropna(subset="kind"))
        assert_matches(refused("fit", path, *QUICK), r"line 5 .*'tall': missing .*--missing median")

    def test_drop(self, run, holes, tmp_path):
        path = saved(tmp_path, holes)
        result = run("fit", path, *QUICK, "--missing", "drop", "--out", tmp_path / "out")
        assert result.exit_code == 0, result.output
        assert "dropped 1 of 90 rows without a label" in result.stderr
        assert "dropped 2 of 89 rows with a hole" in result.stderr
        data = read_labelled(str(path), "kind", ColumnOptions(missing="drop"), missing="drop")
        as_written(data.X, holes.dropna().iloc[:, :3])

    def test_median_is_that_of_the_training_rows(self, run, holes, tmp_path):
        path, out = saved(tmp_path, holes), tmp_path / "out"
        result = run("fit", path, *QUICK, "--missing", "median", "--out", out)
        assert result.exit_code == 0, result.output
        model = model_of(out)
        from sklearn.model_selection import train_test_split

        known = holes.dropna(subset="kind")
        train = train_test_split(
            np.arange(N - 1), test_size=0.3, stratify=known["kind"], random_state=0
        )[0]
        medians = known.iloc[train, :3].median().to_numpy()
        np.testing.assert_allclose(model["fill"], medians)
        assert run("transform", out, path, "--out", tmp_path / "z.npy").exit_code == 0
        X = holes.iloc[:, :3].fillna(dict(zip(["tall", "wide", "deep"], medians, strict=True)))
        expected = (X - model["mean"]) / model["scale"] @ model["components"].T
        np.testing.assert_allclose(
            np.load(tmp_path / "z.npy"), expected + model["intercept"], atol=1e-9
        )

    def test_arrays_have_holes_too(self, run, refused, holes, tmp_path):
        known = holes.dropna(subset="kind")
        np.savez(tmp_path / "a.npz", X=known.iloc[:, :3].to_numpy(), y=known["kind"].to_numpy(str))
        assert_matches(refused("fit", tmp_path / "a.npz"), r"X\[3, 0\] is nan, .*--missing median")
        for missing, rows in (("median", 89), ("drop", 87)):
            args = ("--components", 2, "--max-iter", 2, "--missing", missing, "--overwrite")
            assert run("fit", tmp_path / "a.npz", *args, "--out", tmp_path / "o").exit_code == 0
            settings = json.loads((tmp_path / "o" / "metrics.json").read_text())["settings"]
            assert settings["training_rows"] + settings["held_out_rows"] == rows

    def test_whole_labels_beside_holes_stay_whole(self, tmp_path, holes):
        path = saved(tmp_path, holes.assign(kind=[1, 2, None] * (N // 3)))
        data = read_labelled(str(path), "kind", ColumnOptions(missing="median"), missing="median")
        assert sorted(set(data.y.tolist())) == [1, 2]
        assert data.y.dtype.kind == "i"


class TestRows:
    def test_min_rows(self, run, refused, frame, tmp_path):
        frame = frame.drop(columns="colour")
        frame.loc[[0, 1], "kind"], frame.loc[2, "kind"] = "emu", "yak"
        path = saved(tmp_path, frame)
        assert_matches(refused("fit", path, *QUICK), r"one row only of class 'yak'.*--min-rows 2")
        result = run("fit", path, *QUICK, "--min-rows", 5, "--out", tmp_path / "out")
        assert "left out 2 of 5 classes (3 rows) with fewer than 5 rows" in result.stderr
        assert model_of(tmp_path / "out")["classes"].tolist() == ["cat", "dog", "owl"]

    def test_test_file(self, run, refused, frame, tmp_path):
        frame = frame.drop(columns="colour")
        train, test = saved(tmp_path, frame[:60], "a.csv"), saved(tmp_path, frame[60:], "b.csv")
        out = tmp_path / "out"
        assert run("fit", train, *QUICK, "--test", test, "--out", out).exit_code == 0
        report = json.loads((out / "metrics.json").read_text())
        assert report["settings"]["training_rows"] == 60
        assert report["settings"]["held_out_rows"] == 30
        assert report["settings"]["nearfar"]
        result = run("evaluate", out, test, "--json")
        found = json.loads(result.stdout)
        assert found["rows"] == 30
        for name in ("knn3", "balanced", "recall1", "map_at_r"):
            assert found[name] == pytest.approx(report["learned"][name], abs=1e-12)
        assert_matches(
            refused("fit", train, *QUICK, "--test", test, "--test-size", 0.5), r"leave --test-size"
        )
        other = saved(tmp_path, frame[60:].assign(kind="bat"), "c.csv")
        assert_matches(refused("fit", train, *QUICK, "--test", other), r"has the label 'bat'")

    def test_balanced_accuracy(self, run, tmp_path):
        from sklearn.metrics import balanced_accuracy_score

        rng = np.random.default_rng(1)
        y = np.repeat([0, 1], [160, 20])
        X = rng.normal(size=(180, 3))
        X[:, 0] += 1.5 * y
        np.savez(tmp_path / "few.npz", X=X, y=y)
        args = ("--components", 2, "--max-iter", 3, "--out", tmp_path / "o")
        run("fit", tmp_path / "few.npz", *args)
        found = json.loads(run("evaluate", tmp_path / "o", tmp_path / "few.npz", "--json").stdout)
        run("predict", tmp_path / "o", tmp_path / "few.npz", "--out", tmp_path / "p.csv")
        predicted = pd.read_csv(tmp_path / "p.csv")["label"]
        assert found["balanced"] == pytest.approx(balanced_accuracy_score(y, predicted))
        assert found["knn3"] == pytest.approx((predicted == y).mean())
        assert found["balanced"] < found["knn3"] - 0.01

    def test_classes_that_the_model_never_saw(self, run, frame, tmp_path):
        frame = frame.drop(columns="colour")
        path, out = saved(tmp_path, frame), tmp_path / "out"
        run("fit", path, *QUICK, "--out", out)
        kinds = np.where(np.arange(N) < 40, "bat", frame["kind"])
        new = saved(tmp_path, frame.assign(kind=kinds), "new.csv")
        result = run("evaluate", out, new, "--json")
        assert_matches(result.stderr, r"note: the model has seen no row of 'bat'")
        assert json.loads(result.stdout)["knn3"] <= 50 / 90


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("d.tsv", {"sep": "\t"}),
        ("d.csv", {"sep": "\t"}),
        ("d.csv", {"sep": ";"}),
        ("d.csv", {"sep": ";", "decimal": ","}),
        ("d.csv", {"sep": "|"}),
        ("d.csv.gz", {}),
        ("d.csv.xz", {"sep": ";"}),
        ("d.tsv.bz2", {"sep": "\t"}),
        ("d.csv.zip", {}),
    ],
)
def test_separators_and_compression(frame, tmp_path, name, options):
    frame = frame.drop(columns="colour")
    data = read_labelled(str(saved(tmp_path, frame, name, **options)), "kind")
    assert data.name == "d"
    np.testing.assert_allclose(data.X, frame.iloc[:, :3].to_numpy(), rtol=1e-12)
    assert data.y.tolist() == frame["kind"].tolist()


def test_lines_of_a_compressed_table(refused, frame, tmp_path):
    frame = frame.drop(columns="colour").astype(object)
    frame.loc[4, "wide"] = "broad"
    path = saved(tmp_path, frame, "d.csv.gz", sep=";")
    assert_matches(refused("fit", path, *QUICK), r"d.csv.gz, line 6 .*'wide': text 'broad'")
    path.write_bytes(path.read_bytes()[:-20])
    assert_matches(refused("fit", path, *QUICK), r"cannot be read as CSV")


def test_parquet(run, frame, tmp_path):
    pytest.importorskip("pyarrow")
    frame = frame.drop(columns="colour")
    frame.to_parquet(tmp_path / "d.parquet")
    assert run("fit", tmp_path / "d.parquet", *QUICK, "--out", tmp_path / "out").exit_code == 0
    for command, out in (("transform", "z.parquet"), ("predict", "p.parquet")):
        result = run(command, tmp_path / "out", tmp_path / "d.parquet", "--out", tmp_path / out)
        assert result.exit_code == 0, result.output
    assert pd.read_parquet(tmp_path / "z.parquet").columns.tolist() == ["z0", "z1"]
    assert len(pd.read_parquet(tmp_path / "p.parquet")) == N


def test_parquet_without_its_package(refused, frame, tmp_path, monkeypatch):
    monkeypatch.setattr("nearfar.cli.data.tables.find_spec", lambda name: None)
    (tmp_path / "d.parquet").write_bytes(b"PAR1")
    assert_matches(refused("fit", tmp_path / "d.parquet", *QUICK), r"pip install pyarrow")


def test_transform_writes_a_table(run, trained, tmp_path):
    run("transform", trained.folder, trained.npz, "--out", tmp_path / "z.npy")
    assert run("transform", trained.folder, trained.npz, "--out", tmp_path / "z.csv").exit_code == 0
    table = pd.read_csv(tmp_path / "z.csv")
    assert table.columns.tolist() == ["z0", "z1"]
    np.testing.assert_allclose(table.to_numpy(), np.load(tmp_path / "z.npy"), rtol=1e-12)


def test_rows_are_named_by_one_reading_of_the_file(tmp_path, frame, monkeypatch):
    frame["note"] = ["two\nlines" if k % 7 == 3 else "one" for k in range(N)]
    data = read_labelled(
        str(saved(tmp_path, frame)), "kind", ColumnOptions(drop=["note", "colour"])
    )
    opened = []
    once = tables._opened
    monkeypatch.setattr(tables, "_opened", lambda path: opened.append(path) or once(path))
    places = [data.place(row) for row in range(N)]
    assert len(opened) < 5  # for its header and its rows, not for every row
    broken = np.cumsum(frame["note"] != "one")
    for row, place in enumerate(places):
        expected = f"line {row + 2 + broken[row]} (row {row + 1} below the header), column 'kind'"
        assert place.endswith(expected)

"""Bad input: exit code 2, one line that names the thing and the remedy, and no file touched."""

import numpy as np
import pandas as pd
import pytest
from support.cli import SPOILERS, assert_matches, write_csv, write_npz


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(30, 4)), columns=["w", "x", "y", "z"])
    return table.assign(kind=["cat", "dog", "owl"] * 10)


def with_cell(row: int, column: str, value: object) -> pd.DataFrame:
    table = frame().astype(object)
    table.loc[row, column] = value
    return table


CSV_CASES = {
    "missing value": (with_cell(4, "x", None), "kind", r"line 6 .*column 'x': missing value; fit"),
    "text": (with_cell(7, "y", "tall"), "kind", r"line 9 .*column 'y': text 'tall'.*encode it"),
    "infinite": (with_cell(0, "w", "inf"), "kind", r"line 2 .*column 'w': inf, expected a number"),
    "missing label": (with_cell(2, "kind", None), "kind", r"line 4 .*'kind': missing label"),
    "no such label": (frame(), "sort", r"no column 'sort'.* 'w', 'x', 'y', 'z', 'kind'"),
    "only labels": (frame()[["kind"]], "kind", r"no column of features"),
    "no rows": (frame()[:0], "kind", r"no rows below its header"),
    "one class": (frame().assign(kind="cat"), "kind", r"every row has the label 'cat'; give two"),
    "one member": (with_cell(5, "kind", "emu"), "kind", r"one row only of class 'emu'.*-rows 2$"),
    "continuous labels": (frame().drop(columns="kind"), "z", r"class .* and 18 more, and .*supcr"),
    "constant": (frame().assign(w=1, x=2, y=3, z=4), "kind", r"every feature is constant"),
    "too large": (with_cell(4, "w", -1e200), "kind", r"line 6 .*'w': -1e\+200, expected .* below"),
}  # fmt: skip


@pytest.mark.parametrize("case", CSV_CASES)
def test_csv(refused, tmp_path, case):
    table, label, message = CSV_CASES[case]
    path = write_csv(tmp_path, table)
    args = ("--label", label, "--components", 2, "--out", tmp_path / "kept")
    assert_matches(refused("fit", path, *args), message)


def test_line_numbers_survive_blank_lines_and_quoted_line_breaks(refused, tmp_path):
    path = tmp_path / "data.csv"
    path.write_text('a,kind\n\n1,"two\nlines"\n\n2,b\n,b\n')
    assert_matches(refused("fit", path, "--label", "kind"), r"line 7 \(row 3 ")


def test_csv_needs_its_label_named(refused, tmp_path):
    line = refused("fit", write_csv(tmp_path, frame()), "--out", tmp_path / "kept")
    assert_matches(line, r"needs --label COLUMN; its columns are 'w', 'x', 'y', 'z', 'kind'")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"data.csv is empty; write it again"),
        (b"a,kind\n1,b\n1,b,c\n", r"cannot be read as CSV"),
        (b"a,kind\n1,b,c\n2,b,c\n", r"cannot be read as CSV"),
        (b",a,kind\n0,1,b\n1,2,c\n", r"column 1 has no name; .*index=False"),
        (b"a,kind,kind\n0,1,b\n1,2,c\n", r"two columns have the name 'kind'; rename or drop"),
        (b"a,kind\n\xff\xfe,b\n", r"cannot be read as CSV.*UTF-8"),
    ],
)
def test_broken_csv(refused, tmp_path, content, message):
    path = tmp_path / "data.csv"
    path.write_bytes(content)
    assert_matches(refused("fit", path, "--label", "kind", "--out", tmp_path / "kept"), message)


def two_classes(**changes: object) -> dict[str, object]:
    rng = np.random.default_rng(0)
    return {"X": rng.normal(size=(20, 4)), "y": np.arange(20) % 2} | changes


def with_nan() -> np.ndarray:
    X = np.ones((20, 4))
    X[3, 2] = np.nan
    return X


NPZ_CASES = {
    "no X": ({"y": np.arange(3), "data": np.ones(3)}, r"no array 'X', only 'y', 'data'.*savez"),
    "no y": ({"X": np.ones((3, 2))}, r"no array 'y', only 'X'"),
    "objects": (two_classes(y=np.array([{}] * 20)), r"array 'y' holds Python objects"),
    "NaN": (
        two_classes(X=with_nan()),
        r"X\[3, 2\] is nan, expected .*; fit with --missing median",
    ),
    "text X": (two_classes(X=np.full((20, 4), "a")), r"X must hold numbers, received dtype <U1"),
    "flat X": (two_classes(X=np.arange(20.0)), r"X must be \(rows, features\).*\(20,\); reshape"),
    "empty X": (two_classes(X=np.ones((0, 4))), r"not empty, received \(0, 4\)"),
    "column y": (two_classes(y=np.ones((20, 1))), r"y must have shape \(20,\).*y.ravel\(\)"),
    "short y": (two_classes(y=np.ones(19)), r"y must have shape \(20,\), received \(19,\)"),
    "NaN y": (two_classes(y=np.array([0, np.nan] * 10)), r"y\[1\] is nan"),
    "dates y": (two_classes(y=np.zeros(20, "M8[D]")), r"y must hold numbers or strings"),
    "one class": (two_classes(y=np.ones(20)), r"every row has the label '1.0'"),
}


@pytest.mark.parametrize("case", NPZ_CASES)
def test_npz(refused, tmp_path, case):
    arrays, message = NPZ_CASES[case]
    line = refused("fit", write_npz(tmp_path, **arrays), "--out", tmp_path / "kept")
    assert "data" in line
    assert_matches(line, message)


@pytest.mark.parametrize("spoil", SPOILERS)
def test_spoiled_npz(refused, tmp_path, spoil):
    path = write_npz(tmp_path, **two_classes())
    spoil(path)
    assert_matches(refused("fit", path, "--out", tmp_path / "kept"), SPOILERS[spoil])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "nowhere.npz",
            r"nowhere.npz cannot be read \(No such file or directory\); check the path",
        ),
        ("nowhere.csv", r"nowhere.csv cannot be read"),
        ("kept.npz", r"kept.npz is a folder; name a file"),
        ("data.xlsx", r"neither 'digits', 'wine', .*'diabetes' nor an .npz, .npy, .csv"),
        ("digit", r"neither 'digits'"),
    ],
)
def test_paths(refused, tmp_path, name, message):
    (tmp_path / "kept.npz").mkdir()
    line = refused("fit", tmp_path / name, "--out", tmp_path / "kept")
    assert_matches(line, message)


OPTION_CASES = [
    (("--components", 5), r"--components 5 is more than the 4 features; pass 4 or fewer"),
    (("--components", 0), r"'--components'"),
    (("--components", "many"), r"'--components'"),
    (("--test-size", 0), r"--test-size must lie between 0 and 1, received 0.0"),
    (("--test-size", 1.5), r"--test-size must lie between 0 and 1, received 1.5"),
    (("--test-size", "nan"), r"--test-size must lie between 0 and 1, received nan"),
    (("--test-size", "half"), r"'--test-size'"),
    (("--test-size", 0.04), r"holds out 1 of 20 rows of data, fewer than its 2 classes; raise it"),
    (("--test-size", 0.93), r"leaves 1 of 20 rows .* 3 neighbours\); lower it or add rows"),
    (("--test-size", 0.1), r"held-out part has no two rows of one class"),
    (("--temperature", 0), r"--temperature"),
    (("--temperature", -1), r"--temperature"),
    (("--temperature", "inf"), r"--temperature"),
    (("--temperature", "warm"), r"'--temperature'"),
    (
        ("--loss", "nosuch"),
        r"--loss 'nosuch' is unknown; choose one for class labels: .*'supcon'.*, or",
    ),
    (
        ("--loss", "ntxent"),
        r"two views, and needs --encoder.*; choose one for .*'supcon', .*targets: 'supcr'",
    ),
    (("--max-iter", 0), r"'--max-iter'"),
    (("--seed", -1), r"'--seed'"),
    (("--label", "y"), r"--label belongs to tables"),
    (("--nonsense",), r"No such option: --nonsense.*\(see nearfar fit --help\)"),
]


@pytest.mark.parametrize(("options", "message"), OPTION_CASES, ids=lambda value: str(value)[:40])
def test_options(refused, tmp_path, options, message):
    path = write_npz(tmp_path, **two_classes())
    valid = ("--components", 2, "--max-iter", 2, "--out", tmp_path / "kept")
    assert_matches(refused("fit", path, *valid, *options), message)


def test_more_components_than_rows(refused, tmp_path):
    rng = np.random.default_rng(0)
    path = write_npz(tmp_path, X=rng.normal(size=(12, 40)), y=np.arange(12) % 2)
    assert_matches(
        refused("fit", path, "--components", 10), r"--components 10 .* 8 training rows; pass 8 or"
    )


def test_training_part_without_a_pair(refused, tmp_path):
    path = write_npz(
        tmp_path, X=np.random.default_rng(0).normal(size=(10, 9)), y=np.arange(10) // 2
    )
    assert_matches(refused("fit", path, "--test-size", 0.5), r"part has no two rows of one class")


@pytest.mark.parametrize("below", ["", "deeper"])
def test_output_folder_is_checked_before_learning(refused, tmp_path, monkeypatch, below):
    import nearfar.cli.commands.fit

    def learn(*args: object, **options: object) -> None:
        pytest.fail("learned before the folder was checked")

    monkeypatch.setattr(nearfar.cli.commands.fit, "learn_projection", learn)
    path = write_npz(tmp_path, **two_classes())
    (tmp_path / "file").write_text("not a folder")
    line = refused("fit", path, "--components", 2, "--out", tmp_path / "file" / below)
    assert_matches(line, r"--out: folder .*file.* cannot be written \(.+\); choose another")


@pytest.mark.parametrize("failing", ["learn_projection", "draw"])
@pytest.mark.parametrize("out", ["kept", "new/folder"])
def test_a_failing_run_leaves_no_trace(refused, tmp_path, monkeypatch, failing, out):
    import nearfar.cli.commands.fit

    def fail(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nearfar.cli.commands.fit, failing, fail)
    path = write_npz(tmp_path, **two_classes())
    args = ("--components", 2, "--max-iter", 2, "--out", tmp_path / out, "--overwrite", "--quiet")
    line = refused("fit", path, *args)
    assert "No space left on device" in line

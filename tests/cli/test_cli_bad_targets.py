"""Losses that do not fit the data, and targets that are none: one line, code 2, no file touched."""

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import train_test_split
from support.cli import assert_matches, write_csv, write_npz

FITS = r"for class labels: (?:'\w+', )*'supcon'(?:, '\w+')*"
TARGETS = r"for numeric targets: (?:'\w+', )*'supcr'(?:, '\w+')*"


@pytest.mark.parametrize(
    ("data", "loss", "message"),
    [
        ("diabetes", "supcon", rf"needs class labels, and diabetes has numeric .*one {TARGETS}$"),
        ("digits", "supcr", rf"needs numeric targets, and digits has class labels; .*one {FITS}$"),
        ("wine", "SupCR", rf"'supcr' needs numeric targets, and wine has class .*one {FITS}$"),
        ("breast_cancer", "supcr", rf"breast_cancer has class labels; choose one {FITS}$"),
        ("diabetes", "ntxent", rf"'ntxent' compares two views, .*; choose one {TARGETS}$"),
        ("wine", "clip", rf"'clip' compares two views, .*; choose one {FITS}$"),
        ("wine", "nosuch", rf"'nosuch' is unknown; choose one {FITS}$"),
        ("rows.csv", "triplet", rf"'triplet' is called with .*choose one {FITS}, or {TARGETS}$"),
    ],
)
def test_loss_that_does_not_fit(refused, tmp_path, data, loss, message):
    line = refused("fit", data, "--loss", loss, "--out", tmp_path / "kept")
    assert_matches(line, rf"--loss .*{message}")


def frame(n: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(n, 3)), columns=list("abc"))
    return table.assign(height=np.round(10 * rng.normal(size=n), 2), kind=["cat", "dog"] * (n // 2))


def with_cell(row: int, value: object) -> pd.DataFrame:
    table = frame().drop(columns="kind").astype(object)
    table.loc[row, "height"] = value
    return table


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            with_cell(7, "tall"),
            r"line 9 \(row 8 .*'height': text 'tall' where .*--loss supcr needs a",
        ),
        (with_cell(7, None), r"line 9 \(row 8 .*'height': missing"),
        (with_cell(0, "-inf"), r"line 2 \(row 1 .*'height' is -inf, expected a number .*; replace"),
        (with_cell(3, 1e200), r"line 5 .*'height' is 1e\+200, expected a number below 1e\+100"),
        (frame().drop(columns="kind").assign(height=2.5), r"every row has the target 2.5; give"),
        (frame(20).drop(columns="kind"), r"leaves 14 of 20 rows .* than 16, one more than the 15"),
    ],
)
def test_targets_of_a_csv(refused, tmp_path, table, message):
    path = write_csv(tmp_path, table)
    args = ("--label", "height", "--loss", "supcr", "--components", 2, "--out", tmp_path / "kept")
    assert_matches(refused("fit", path, *args), message)


def test_text_labels_are_no_targets(refused, tmp_path):
    path = write_csv(tmp_path, frame().drop(columns="height"))
    line = refused("fit", path, "--label", "kind", "--loss", "supcr", "--components", 2)
    assert_matches(
        line,
        r"line 2 \(row 1 .*'kind': text 'cat' where .*--loss supcr .*; encode it, or .* by "
        r".*--loss supcon",
    )


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.array(["1.5", "two"] * 20), r"data.npz: y\[1\]: text 'two' .*or .*--loss supcon"),
        (np.array([1.0, np.nan] * 20), r"y\[1\] is nan; replace it or drop the row"),
        (np.array([1.0, 2.0, -np.inf, 3.0] * 10), r"y\[2\] is -inf; replace it"),
        (np.array([1.0, 2e150] * 20), r"y\[1\] is 2e\+150, expected a number below 1e\+100"),
        (np.full(40, 7), r"every row has the target 7; give ones that differ"),
        (np.ones((40, 2)), r"y must have shape \(40,\), received \(40, 2\)"),
    ],
)
def test_targets_of_an_npz(refused, tmp_path, y, message):
    path = write_npz(tmp_path, X=np.random.default_rng(0).normal(size=(40, 3)), y=y)
    line = refused("fit", path, "--loss", "supcr", "--components", 2, "--out", tmp_path / "kept")
    assert_matches(line, message)


@pytest.mark.parametrize(("part", "place"), [("training", 0), ("held-out", 1)])
def test_part_with_one_target_only(refused, tmp_path, part, place):
    y = np.random.default_rng(0).normal(size=40)
    y[train_test_split(np.arange(40), test_size=0.3, random_state=0)[place]] = 3
    path = write_npz(tmp_path, X=np.random.default_rng(1).normal(size=(40, 3)), y=y)
    line = refused("fit", path, "--loss", "supcr", "--components", 2)
    assert_matches(line, rf"the {part} part has the target 3 only; add rows or choose another")


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (0.02, r"holds out 1 of 40 rows of data, fewer than the 2 .*; raise it"),
        (0.61, r"leaves 15 of 40 rows of data to learn from, fewer than 16, .*; lower it or add"),
        (1, r"--test-size must lie between 0 and 1, received 1.0"),
    ],
)
def test_sizes_of_the_parts(refused, tmp_path, size, message):
    path = write_npz(tmp_path, X=np.random.default_rng(0).normal(size=(40, 3)), y=np.arange(40.0))
    args = ("--loss", "supcr", "--components", 2, "--test-size", size)
    assert_matches(refused("fit", path, *args), message)


def test_sixteen_training_rows_are_enough(run, tmp_path):
    path = write_npz(tmp_path, X=np.random.default_rng(0).normal(size=(40, 3)), y=np.arange(40.0))
    args = ("--loss", "supcr", "--components", 2, "--test-size", 0.6, "--out", tmp_path / "out")
    assert run("fit", path, *args).exit_code == 0


def test_amounts_taken_for_classes(refused, tmp_path):
    table = frame().drop(columns="kind")
    path = write_csv(tmp_path, table)
    for options in ((), ("--loss", "supcon")):
        line = refused("fit", path, "--label", "height", "--components", 2, *options)
        assert_matches(line, r"one row only of class .*, or learn .* by .*--loss supcr")
    path = write_npz(tmp_path, X=table[list("abc")].to_numpy(), y=table["height"].to_numpy())
    assert_matches(refused("fit", path, "--components", 2), r"by .*--loss supcr")


def test_few_numbers_stay_class_labels(run, refused, tmp_path):
    table = frame().drop(columns="kind").assign(height=[1.5, 2.5] * 20)
    path = write_csv(tmp_path, table)
    line = refused("fit", write_csv(tmp_path, table.assign(height=[9.5, 2.5] + [1.5] * 38)),
                   "--label", "height", "--components", 2)  # fmt: skip
    assert_matches(line, r"one row only of class '2.5', '9.5'.*--min-rows 2$")
    write_csv(tmp_path, table)
    args = ("--label", "height", "--components", 2, "--max-iter", 2, "--out", tmp_path / "out")
    result = run("fit", path, *args)
    assert result.exit_code == 0
    assert "2 classes" in result.stdout

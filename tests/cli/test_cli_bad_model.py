"""Bad models, rows and usage of `nearfar transform` and `predict`: one line, code 2."""

from pathlib import Path

import numpy as np
import pytest
from support.cli import SPOILERS, assert_matches, write_csv, write_npz


def apply(refused, command: str, model: Path, data: Path, kept: Path) -> str:
    out = {"transform": "z.npy", "predict": "p.csv"}[command]
    return refused(command, model, data, "--out", kept / out)


@pytest.mark.parametrize("command", ["transform", "predict"])
class TestModelAndData:
    def test_other_number_of_features(self, refused, trained, tmp_path, command):
        path = write_npz(tmp_path, X=np.ones((3, 5)))
        line = apply(refused, command, trained.folder, path, tmp_path / "kept")
        assert_matches(line, r"DATA has 5 features, the model was made for 6; give the columns")

    def test_columns_by_name(self, refused, trained, blobs, tmp_path, command):
        path = write_csv(tmp_path, blobs.frame.drop(columns=["b", "e"]))
        line = apply(refused, command, trained.folder, path, tmp_path / "kept")
        assert_matches(line, r"has no column 'b', 'e', which the model was made with; add")
        path = write_csv(tmp_path, blobs.frame.assign(g=1, h=2))
        line = apply(refused, command, trained.folder, path, tmp_path / "kept")
        assert_matches(line, r"8 feature columns, the model was made for 6; drop 'g', 'h'")

    def test_missing_value(self, refused, trained, blobs, tmp_path, command):
        table = blobs.frame.copy()
        table.loc[3, "d"] = np.nan
        line = apply(
            refused, command, trained.folder, write_csv(tmp_path, table), tmp_path / "kept"
        )
        assert_matches(line, r"line 5 .*column 'd': missing value")

    @pytest.mark.parametrize("spoil", SPOILERS)
    def test_spoiled_model(self, refused, trained, tmp_path, command, spoil):
        model = tmp_path / "model.npz"
        model.write_bytes((trained.folder / "model.npz").read_bytes())
        spoil(model)
        line = apply(refused, command, tmp_path, trained.npz, tmp_path / "kept")
        assert_matches(line, r"model\.npz " + SPOILERS[spoil])

    def test_not_a_model(self, refused, trained, tmp_path, command):
        line = apply(refused, command, trained.npz, trained.npz, tmp_path / "kept")
        assert_matches(line, r"trees.npz has no array 'record'.*make a model with nearfar fit")
        line = apply(refused, command, tmp_path / "void", trained.npz, tmp_path / "kept")
        assert_matches(line, r"void cannot be read \(No such file or directory\)")
        (tmp_path / "folder").mkdir()
        line = apply(refused, command, tmp_path / "folder", trained.npz, tmp_path / "kept")
        assert_matches(line, r"model.npz cannot be read \(No such file or directory\)")

    @pytest.mark.parametrize(
        ("record", "message"),
        [
            ("no JSON", r"is no nearfar model; make a model"),
            ("[1, 2]", r"is no nearfar model"),
            ('"nearfar model 4"', r"is no nearfar model"),
            ('{"format": "nearfar model 5"}', r"a 'nearfar model 5', expected a 'nearfar model 4'"),
            ('{"format": "nearfar model 4"}', r"a model of 'None', expected 'labels', 'targets'"),
            (
                '{"format": "nearfar model 4", "kind": "pixels"}',
                r"is a model of 'pixels', expected 'labels', 'targets'; make a model",
            ),
            (
                '{"format": "nearfar model 4", "kind": "targets", '
                '"map": {"kind": "linear", "arrays": []}}',
                r"has no array 'reference_targets'.*; make a model",
            ),
            (
                '{"format": "nearfar model 4", "kind": "labels", "map": {"kind": "tree"}}',
                r"has a map 'tree', expected 'linear', 'encoder'; make a model",
            ),
        ],
    )
    def test_other_record(self, refused, trained, tmp_path, command, record, message):
        np.savez(tmp_path / "model.npz", **trained.model | {"record": np.array(record)})
        line = apply(refused, command, tmp_path, trained.npz, tmp_path / "kept")
        assert_matches(line, message)

    def test_an_older_format_is_called_by_its_name(self, refused, trained, tmp_path, command):
        # Its arrays were others; that must not make it damaged.
        record = np.array('{"format": "nearfar model 1", "metric": "cosine"}')
        np.savez(tmp_path / "model.npz", record=record, mean=trained.model["mean"])
        line = apply(refused, command, tmp_path, trained.npz, tmp_path / "kept")
        assert_matches(line, r"is a 'nearfar model 1', expected a 'nearfar model 4'; make a model")

    def test_output(self, refused, trained, tmp_path, command):
        suffix = {"transform": ".npy", "predict": ".csv"}[command]
        args = (command, trained.folder, trained.npz, "--out")
        assert_matches(refused(*args, tmp_path / "z.txt"), rf"z.txt must end in {suffix}")
        (tmp_path / "file").write_text("not a folder")
        line = refused(*args, tmp_path / "file" / f"z{suffix}")
        assert_matches(line, r"--out: folder .*file cannot be written")
        (tmp_path / f"folder{suffix}").mkdir()
        line = refused(*args, tmp_path / f"folder{suffix}")
        assert_matches(line, r"is a folder; name a file")


def test_predict_does_not_overwrite_its_data(refused, trained, blobs, tmp_path):
    path = write_csv(tmp_path, blobs.frame)
    assert_matches(refused("predict", trained.folder, path, "--out", path), r"is DATA itself")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("nosuch",), r"No such command 'nosuch'.*\(see nearfar --help\)"),
        (("--nosuch",), r"No such option: --nosuch"),
        (("fit",), r"Missing argument 'DATA'.*\(see nearfar fit --help\)"),
        (("transform", "m", "d.npz"), r"Missing option '--out'"),
    ],
)
def test_usage(refused, args, message):
    assert_matches(refused(*args), message)

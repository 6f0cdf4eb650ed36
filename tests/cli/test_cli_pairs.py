"""Pairs of two kinds: two maps, recall@1 on held-out pairs, and what is refused."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.cli import assert_matches, read_arrays, write_npz

from nearfar.cli.learn import pairs as learning
from nearfar.cli.options import LearningOptions
from nearfar.cli.report.voice import Voice
from nearfar.losses import CLIP, SigLIP


def two_kinds(n: int = 240, seed: int = 0) -> dict[str, np.ndarray]:
    """What 4 hidden numbers make of 9 and of 6 features, with loud ones that tell nothing."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n, 4))
    mixing = np.random.default_rng(9)
    X = hidden @ mixing.normal(size=(4, 9)) + 0.05 * rng.normal(size=(n, 9))
    Y = hidden @ mixing.normal(size=(4, 6)) + 0.05 * rng.normal(size=(n, 6))
    X[:, 8], Y[:, 5] = 50 * rng.normal(size=(2, n))
    return {"X": X * 3 + 5, "Y": Y.astype(np.float32)}


def recall(x: np.ndarray, y: np.ndarray) -> float:
    """By one row at a time."""
    found = 0
    for k, row in enumerate(x):
        cosines = [row @ other / np.sqrt((row @ row) * (other @ other)) for other in y]
        found += int(np.argmax(cosines)) == k
    return found / len(x)


@pytest.mark.parametrize("loss", ["clip", "siglip"])
def test_two_maps_are_learned_from_chance_to_near_all(run, tmp_path, loss):
    data, out = two_kinds(), tmp_path / "out"
    path = write_npz(tmp_path, **data)
    given = () if loss == "clip" else ("--loss", loss)
    result = run("fit", path, "--components", 4, "--out", out, *given)
    assert result.exit_code == 0, result.output
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["chance"] == {"x_to_y": 1 / 72, "y_to_x": 1 / 72}
    assert metrics["settings"]["loss"]["loss"] == {"clip": "CLIP", "siglip": "SigLIP"}[loss]
    assert metrics["settings"]["training_pairs"] == 168
    assert metrics["settings"]["held_out_pairs"] == 72
    assert metrics["settings"]["validation_pairs"] == 17
    assert metrics["history"][0]["iteration"] == 1
    embedded, model = read_arrays(out / "embeddings.npz"), read_arrays(out / "model.npz")
    x, y, rows = (embedded[f"held_out_{name}"] for name in ("x", "y", "rows"))
    assert sorted([*rows, *embedded["train_rows"]]) == list(range(240))
    for side, kind, z in (("X", "x", x), ("Y", "y", y)):
        mean, scale, components, intercept = (
            model[f"{kind}_{name}"] for name in ("mean", "scale", "components", "intercept")
        )
        assert components.shape == (4, data[side].shape[1])
        again = (data[side][rows].astype(float) - mean) / scale @ components.T + intercept
        np.testing.assert_allclose(z, again, rtol=1e-12, atol=1e-12)
        assert z.dtype == np.float64
    learned = metrics["learned"]
    assert learned["x_to_y"] == pytest.approx(recall(x, y))
    assert learned["y_to_x"] == pytest.approx(recall(y, x))
    assert min(learned["x_to_y"], learned["y_to_x"]) > 0.8
    assert learned["x_to_y"] > metrics["pls"]["x_to_y"] > metrics["chance"]["x_to_y"]
    card = (out / "README.md").read_text()
    for text in (result.stdout, card):
        assert f"{learned['x_to_y']:.3f}" in text
        assert f"{1 / 72:.3f}" in text
    assert sorted(file.name for file in out.iterdir()) == [
        *("README.md", "embeddings.npz", "log.jsonl", "metrics.json", "model.npz")
    ]


@pytest.mark.parametrize("loss", [CLIP(), SigLIP(bias=-3.0), CLIP(similarity="neg_euclidean")])
def test_the_search_has_the_gradient_of_its_objective(monkeypatch, loss):
    """With penalties and, of SigLIP, the bias; by central differences, in random directions."""
    rng = np.random.default_rng(1)
    sides = [
        learning.Side.of(rows, name) for name, rows in two_kinds(30).items() for rows in [rows[:30]]
    ]

    class Seen(Exception):
        pass

    def instead(objective, start, *rest, **named):
        at = start + 0.1 * rng.normal(size=start.shape)
        _, gradient = objective(at)
        assert gradient.shape == at.shape
        for _ in range(5):
            way = rng.normal(size=at.shape)
            ahead, behind = (objective(at + step * way)[0] for step in (1e-5, -1e-5))
            assert (ahead - behind) / 2e-5 == pytest.approx(gradient @ way, rel=1e-6)
        raise Seen

    monkeypatch.setattr(learning, "search", instead)
    options = LearningOptions(alpha=0.7)
    with pytest.raises(Seen):
        learning.learn_pairs(*sides, loss, 3, options, 0, Voice(quiet=True), None)


def test_a_file_of_held_out_pairs(run, tmp_path):
    path, out, data = write_npz(tmp_path, **two_kinds()), tmp_path / "out", two_kinds(50, seed=5)
    np.savez(tmp_path / "test.npz", **data)
    args = ("--test", tmp_path / "test.npz", "--components", 4, "--json", "--out", out)
    result = run("fit", path, *args, "--temperature", 0.1)
    metrics = json.loads(result.stdout)
    assert metrics["settings"]["held_out_pairs"] == 50
    assert metrics["settings"]["training_pairs"] == 240
    assert metrics["settings"]["temperature"] == 0.1
    assert metrics["learned"]["y_to_x"] > 0.8


def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three shades in a column, and in a row: of another shape and kind of file."""
    rng = np.random.default_rng(4)
    left, right = tmp_path / "tall", tmp_path / "wide"
    for folder in (left, right):
        folder.mkdir()
    for k in range(80):
        shades = rng.integers(0, 256, size=3).astype(np.uint8)
        Image.fromarray(np.repeat(shades[:, None], 2, 1)).save(left / f"{k}.png")
        Image.fromarray(np.repeat(shades[None], 4, 0)[:, ::-1]).save(right / f"{k}.bmp")
    return left, right


def test_two_folders_of_images_are_matched_by_name(run, tmp_path, monkeypatch):
    left, right = folders(tmp_path)
    monkeypatch.chdir(tmp_path)
    result = run("fit", left, right, "--components", 3, "--json")
    metrics = json.loads(result.stdout)
    assert metrics["learned"]["x_to_y"] > 0.8
    made = tmp_path / "runs" / "tall-wide"
    assert read_arrays(made / "model.npz")["y_components"].shape == (3, 12)
    assert f"nearfar fit {shlex.join(map(str, (left, right)))} --comp" in (
        (made / "README.md").read_text()
    )
    result = run("fit", left, right, "--components", 3, "--image-size", 3, "--out", tmp_path / "o")
    assert read_arrays(tmp_path / "o" / "model.npz")["x_components"].shape == (3, 9)


def test_folders_that_do_not_match(refused, tmp_path):
    left, right = folders(tmp_path)
    (left / "7.png").unlink()
    assert_matches(refused("fit", left, right), r"tall has no image of the names '7', which .*wide")
    (right / "7.bmp").unlink()
    (right / "8.bmp").rename(right / "eight.bmp")
    assert_matches(refused("fit", left, right), r"tall has no image of the names 'eight', which")
    (right / "eight.bmp").rename(right / "9.png")
    assert_matches(refused("fit", left, right), r"9\.png have one name.*rename one")
    assert_matches(
        refused("fit", "digits", right), r"RIGHT .* and digits is no folder; .* one \.npz"
    )
    assert_matches(refused("fit", left, left, "--test", right), r"--test names one file")


def spoiled(**arrays: object) -> dict[str, object]:
    return two_kinds() | arrays


X, Y = two_kinds()["X"], two_kinds()["Y"]
HOLE = np.where(np.arange(240)[:, None] == 3, [[0, 0, np.nan, 0, 0, 0]], Y)
FILES = {
    "lengths": (spoiled(Y=Y[1:]), r"X has 240 rows and Y has 239.*belong together"),
    "hole": (spoiled(Y=HOLE), r"Y\[3, 2\] is nan, expected a number below.*drop the pair"),
    "infinite": (spoiled(X=np.where(np.arange(240)[:, None] == 4, np.inf, X)), r"X\[4, 0\] is inf"),
    "labels in Y": (spoiled(Y=np.arange(240)), r"Y must be \(rows, features\).*as an array y"),
    "words": (spoiled(Y=Y.astype(str)), r"Y must hold numbers"),
    "constant": (spoiled(Y=np.ones_like(Y)), r"Y: every feature is constant"),
    "few": ({"X": X[:3], "Y": Y[:3]}, r"2 or more of each; lower it or add pairs"),
    "no X": ({"Y": Y}, r"has no array 'X', only 'Y'"),
}


@pytest.mark.parametrize("case", FILES)
def test_bad_files(refused, tmp_path, case):
    arrays, message = FILES[case]
    path = write_npz(tmp_path, **arrays)
    args = () if case != "few" else ("--test-size", 0.5)
    assert_matches(refused("fit", path, "--components", 1, *args), message)


OPTIONS = {
    "--label": ("kind", r"--label belongs to rows of one kind.*no labels"),
    "--min-rows": (2, r"--min-rows belongs .* leave it out"),
    "--features": ("a", r"--features belongs .* leave it out"),
    "--drop": ("a", r"--drop belongs .* leave it out"),
    "--one-hot": ("a", r"--one-hot belongs .* leave it out"),
    "--missing": ("median", r"--missing belongs .*without holes"),
    "--encoder": ("mlp", r"--encoder belongs .*loop of your own"),
    "--picture": ("pca", r"--picture belongs .*none is drawn"),
    "--image-size": (8, r"--image-size belongs to folders of images"),
    "--loss": ("supcon", r"'supcon' is called with embeddings, labels, .*'clip', 'siglip'"),
    "--components": (7, r"--components 7 is more than the 6 features of Y; pass 6"),
    "--field": ("same=ignore", r"--field same .* pairs have none"),
    "--test": ("digits", r"--test: digits holds no pairs.* an \.npz with arrays X and Y"),
    "--test-size": (0.001, r"--test-size 0\.001 cuts the 240 pairs .*raise it"),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_options_of_something_else(refused, tmp_path, option):
    value, message = OPTIONS[option]
    args = ("--components", 4) if option != "--components" else ()
    path = write_npz(tmp_path, **two_kinds())
    assert_matches(refused("fit", path, option, value, *args), message)


def test_more_that_does_not_go_together(refused, tmp_path):
    path = write_npz(tmp_path, **two_kinds())
    line = refused("fit", path, "--components", 4, "--field", "similarity=dot")
    assert_matches(line, r"similarity=dot: R@1 .*choose 'cosine', 'neg_euclidean'")
    assert_matches(refused("fit", path, "--loss", "clipp"), r"'clipp' is unknown.*'clip', 'siglip'")
    np.savez(tmp_path / "other.npz", X=X, Y=Y[:, :5])
    line = refused("fit", path, "--components", 4, "--test", tmp_path / "other.npz")
    assert_matches(line, r"--test: Y of other has 5 features, and that of data has 6")
    assert_matches(
        refused("fit", "digits", "--loss", "clip"), r"needs --encoder .*or pairs as DATA"
    )


def test_equal_rows_are_told_of(run, tmp_path):
    data = two_kinds()
    data["Y"][7] = data["Y"][8] = data["Y"][9]
    path = write_npz(tmp_path, **data)
    result = run(
        "fit", path, "--components", 4, "--max-iter", 2, "--quiet", "--out", tmp_path / "o"
    )
    assert "note: 2 rows of Y equal an earlier one" in result.stderr
    assert "of X equal" not in result.stderr


def test_a_run_over_another_of_the_other_kind_leaves_nothing_of_it(run, trained, tmp_path):
    path, out = write_npz(tmp_path, **two_kinds()), tmp_path / "out"
    pairs = ("fit", path, "--components", 4, "--max-iter", 2, "--out", out)
    rows = ("fit", trained.npz, "--components", 2, "--max-iter", 2, "--out", out)
    assert run(*pairs).exit_code == 0
    assert "holds another run" in run(*rows).stderr
    assert run(*rows, "--overwrite").exit_code == 0
    assert not (out / "embeddings.npz").exists()
    assert run(*pairs, "--overwrite").exit_code == 0
    assert not (out / "embedding.png").exists()
    assert not (out / "report.html").exists()


def test_a_model_of_pairs_is_refused_by_what_takes_one_map(run, tmp_path):
    path, out = write_npz(tmp_path, **two_kinds()), tmp_path / "out"
    run("fit", path, "--components", 4, "--max-iter", 2, "--out", out)
    result = run("transform", out, path, "--out", tmp_path / "z.npy")
    assert result.exit_code == 2
    assert_matches(result.stderr, r"model\.npz holds the two maps of pairs.*README\.md")

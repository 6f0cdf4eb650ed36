"""What people see of a fit: the picture, progress in a log, JSON, a warning below PCA."""

import json

import numpy as np
import pytest
from matplotlib.image import imread
from support.cli import assert_matches

from nearfar.cli.report import colouring, fonts
from nearfar.cli.report.colouring import ByClass
from nearfar.cli.report.picture import Panel, draw
from nearfar.cli.report.scores import Space


def drawn(path, names, n=600, layout="pca", **options):
    rng = np.random.default_rng(0)
    y = rng.choice(len(names), n, p=np.arange(len(names), 0, -1) / sum(range(len(names) + 1)))
    X = rng.normal(size=(len(names), 4))[y] + 0.2 * rng.normal(size=(n, 4))
    panels = [Panel("before", Space(X, X, "euclidean", 0.0)), Panel("after", Space(X, X, "cosine",
              0.0))]  # fmt: skip
    return draw(path, "title", panels, ByClass(y, np.array(names)), layout, 0)


@pytest.fixture
def written(monkeypatch):
    """Every name that is written into a panel: its text, its box, the frame."""
    found = []
    spread = colouring._spread

    def after(axes, texts, homes):
        spread(axes, texts, homes)
        renderer = axes.figure.canvas.get_renderer()
        frame = axes.get_window_extent(renderer)
        found.append([(t.get_text(), t.get_window_extent(renderer), frame) for t in texts])

    monkeypatch.setattr(colouring, "_spread", after)
    return found


@pytest.mark.parametrize(("classes", "named"), [(3, 3), (10, 10), (20, 20), (40, 10), (300, 10)])
def test_names_can_be_read(tmp_path, written, classes, named):
    assert drawn(tmp_path / "p.png", [f"class number {k}" for k in range(classes)]) == []
    assert len(written) == 2
    for panel in written:
        assert len(panel) == named
        for k, (_, box, frame) in enumerate(panel):
            sides = (box.x0 - frame.x0, frame.x1 - box.x1, box.y0 - frame.y0, frame.y1 - box.y1)
            assert min(sides) >= 0, "a name leaves the frame"
            for _, other, _ in panel[:k]:
                assert not box.overlaps(other), "two names overlap"


def test_the_largest_classes_are_named_and_the_rest_grey(tmp_path):
    labels = np.repeat(np.arange(30), np.arange(1, 31))
    named = ByClass(labels, np.array([f"c{k}" for k in range(30)]))
    assert named.words() == [f"c{k}" for k in range(20, 30)]


def test_characters_that_no_font_has_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(fonts, "_installed", lambda: [])
    (note,) = drawn(tmp_path / "p.png", ["苹果", "banana", "葡萄"])
    assert_matches(note, r"no font here has .*果.*Noto Sans CJK")


def test_a_font_that_has_the_characters_is_taken(monkeypatch):
    monkeypatch.setattr(fonts, "_installed", lambda: [("Half", "half"), ("Whole", "whole")])
    held = {"half": set("苹"), "whole": set("苹果萄")}
    monkeypatch.setattr(fonts, "_characters", lambda path: held.get(path, set("abc ")))
    assert fonts.families_for("a 苹果") == (["DejaVu Sans", "Half", "Whole"], "")
    assert fonts.families_for("果") == (["DejaVu Sans", "Whole"], "")
    assert fonts.families_for("abc") == (["DejaVu Sans"], "")


def test_a_font_that_came_after_the_list_was_made_is_found(monkeypatch):
    """Matplotlib keeps its list of fonts for good: who installs one as told must be helped."""
    manager = fonts.font_manager
    new = manager.findfont("DejaVu Serif")
    before = [font for font in manager.fontManager.ttflist if font.fname != new]
    monkeypatch.setattr(manager.fontManager, "ttflist", before)
    monkeypatch.setattr(manager, "findSystemFonts", lambda: [new, __file__])
    held = {new: set("苹")}
    monkeypatch.setattr(fonts, "_characters", lambda path: held.get(path, set("abc ")))
    assert fonts.families_for("a 苹") == (["DejaVu Sans", "DejaVu Serif"], "")


def test_tsne_shows_other_planes(tmp_path):
    names = [f"c{k}" for k in range(5)]
    drawn(tmp_path / "pca.png", names, n=60)
    drawn(tmp_path / "tsne.png", names, n=60, layout="tsne")
    a, b = imread(tmp_path / "pca.png"), imread(tmp_path / "tsne.png")
    assert a.shape != b.shape or np.abs(a - b).max() > 0.5


def test_umap_without_its_package(refused, trained, monkeypatch):
    monkeypatch.setattr("nearfar.cli.report.picture.find_spec", lambda name: None)
    line = refused("fit", trained.npz, "--picture", "umap")
    assert_matches(line, r"--picture umap needs umap-learn.*pip install")
    assert_matches(refused("fit", trained.npz, "--picture", "mds"), r"none of 'pca', 'tsne'")


def test_progress_off_a_terminal(run, trained, tmp_path):
    args = ("fit", trained.npz, "--components", 2, "--max-iter", 4, "--out", tmp_path)
    lines = run(*args).stderr.splitlines()
    assert lines[0] == (
        "learning 2 dimensions of trees (63 rows, 6 features, 3 classes) "
        "by supcon at temperature 0.1"
    )
    assert any(line.startswith("learning 1/4: loss ") for line in lines)
    assert sum(line.startswith("comparing: ") for line in lines) == 3
    quiet = run(*args, "--quiet")
    assert quiet.exit_code == 0
    assert quiet.stderr == ""
    assert "learned" in quiet.stdout
    _, told, *_ = run(*args, "--verbose").stderr.splitlines()
    assert told.startswith("loss: SupCon(temperature=0.1, ")
    assert "'without_positives': 'skip'" in told


def test_json_and_history(run, trained, tmp_path):
    args = ("fit", trained.npz, "--components", 2, "--max-iter", 4, "--out", tmp_path, "--json")
    found = json.loads(run(*args).stdout)
    assert found == json.loads((tmp_path / "metrics.json").read_text())
    steps = found["history"]
    assert [step["iteration"] for step in steps] == list(range(1, found["settings"]["iterations"]
                                                               + 1))  # fmt: skip
    losses = [step["loss"] for step in steps]
    assert losses == sorted(losses, reverse=True)


def test_what_is_compared_is_said(trained):
    text = " ".join(trained.result.stdout.split())
    assert_matches(text, r"2 dimensions learned: 3-NN accuracy 0\.\d+ \(PCA 0\.\d+; all 6 features")


@pytest.fixture
def overfitted(tmp_path):
    """Classes along the first principal components, and noise that tells the training rows."""
    rng = np.random.default_rng(0)
    y = np.arange(400) % 20
    X = rng.normal(size=(20, 6))[y] @ rng.normal(size=(6, 150)) + 3 * rng.normal(size=(400, 150))
    np.savez(tmp_path / "noise.npz", X=X, y=y)
    return tmp_path / "noise.npz"


def test_held_out_rows_end_the_learning(run, overfitted, tmp_path):
    found = {}
    for name, extra in (("ended", ()), ("not", ("--patience", 10_000))):
        args = ("--components", 8, "--max-iter", 40, "--json", *extra, "--out", tmp_path / name)
        found[name] = json.loads(run("fit", overfitted, *args).stdout)
    settings = found["ended"]["settings"]
    assert settings["validation_rows"] == 28
    assert found["ended"]["learned"]["knn3"] >= found["ended"]["pca"]["knn3"] - 0.1


def test_below_pca_is_told_with_what_may_help(run, monkeypatch, overfitted, tmp_path):
    import nearfar.cli.learn.projection as projection

    nobody = lambda y, task, seed: (np.arange(len(y)), np.arange(0))  # noqa: E731
    monkeypatch.setattr(projection, "set_aside", nobody)
    args = ("--components", 8, "--max-iter", 60, "--alpha", 0, "--out", tmp_path / "o")
    result = run("fit", overfitted, *args)
    report = json.loads((tmp_path / "o" / "metrics.json").read_text())
    assert report["learned"]["knn3"] < report["pca"]["knn3"]
    assert_matches(result.stderr, r"note: learned is below PCA in 3-NN accuracy, .*--alpha 1 ")

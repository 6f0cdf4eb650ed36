"""One small data set, one model fitted on it, and a way to run the command line in this process."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.cli import read_arrays
from typer.testing import CliRunner, Result

from nearfar.cli.app import app

Run = Callable[..., Result]


def run_app(*args: object) -> Result:
    """Run `nearfar ARGS`; an exception that would be a traceback fails the test."""
    words = [str(arg) for arg in args]
    result = CliRunner(env={"COLUMNS": "80"}).invoke(app, words, prog_name="nearfar")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def run() -> Run:
    return run_app


@pytest.fixture
def refused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run a command that must be refused without touching a file; give its line of complaint."""
    monkeypatch.chdir(tmp_path)  # where runs/ would be made
    kept = tmp_path / "kept"
    kept.mkdir()
    for name in ("model.npz", "metrics.json", "embedding.png", "z.npy", "p.csv"):
        (kept / name).write_text("older result")

    def check(*args: object, silent: bool = True) -> str:
        before = tree(tmp_path)
        result = run(*args)
        assert result.exit_code == 2, result.output
        assert not (silent and result.stdout)
        (line,) = [text for text in result.stderr.splitlines() if not text.startswith("learning")]
        assert line.startswith("error: ")
        assert tree(tmp_path) == before
        return line

    return check


def tree(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@dataclass(frozen=True)
class Blobs:
    """Three classes told apart by two of six features; the others are louder noise."""

    X: np.ndarray
    y: np.ndarray
    frame: pd.DataFrame


def make_blobs() -> Blobs:
    rng = np.random.default_rng(7)
    y = np.repeat(["ash", "elm", "oak"], 30)
    X = rng.normal(size=(90, 6))
    X[:, :2] += 3 * np.repeat([[0, 0], [1, 0], [0, 1]], 30, axis=0)
    X[:, 2:] *= 5
    order = rng.permutation(90)
    X, y = X[order], y[order]
    frame = pd.DataFrame(X, columns=list("abcdef"))
    frame.insert(2, "tree", y)
    return Blobs(X, y, frame)


@pytest.fixture(scope="session")
def blobs() -> Blobs:
    return make_blobs()


@dataclass(frozen=True)
class Trained:
    folder: Path
    npz: Path
    csv: Path
    result: Result
    model: dict[str, np.ndarray]


@dataclass(frozen=True)
class Slope:
    """Targets that one of six features tells; the others are noise, two of them in unison."""

    X: np.ndarray
    y: np.ndarray
    frame: pd.DataFrame


@pytest.fixture(scope="session")
def slope() -> Slope:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(120, 6))
    X[:, 5] = X[:, 4] + 0.1 * X[:, 5]  # PCA's first direction
    y = 40 + 10 * X[:, 1] + rng.normal(size=120)
    frame = pd.DataFrame(X, columns=list("abcdef"))
    frame.insert(3, "yield", y)
    return Slope(X, y, frame)


@pytest.fixture(scope="session")
def trained_on_targets(tmp_path_factory: pytest.TempPathFactory, slope: Slope) -> Trained:
    """`nearfar fit --loss supcr` on the CSV, beside the data in both formats."""
    folder = tmp_path_factory.mktemp("targets")
    npz, csv = folder / "fields.npz", folder / "fields.csv"
    np.savez(npz, X=slope.X, y=slope.y)
    slope.frame.to_csv(csv, index=False)
    out = folder / "out"
    args = ("--label", "yield", "--loss", "supcr", "--components", 2, "--out", out)
    result = run_app("fit", csv, *args)
    assert result.exit_code == 0, result.output
    return Trained(out, npz, csv, result, read_arrays(out / "model.npz"))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, blobs: Blobs) -> Trained:
    """`nearfar fit` on the CSV: a folder with the model, beside the data in both formats."""
    folder = tmp_path_factory.mktemp("trained")
    npz, csv = folder / "trees.npz", folder / "trees.csv"
    np.savez(npz, X=blobs.X, y=blobs.y)
    blobs.frame.to_csv(csv, index=False)
    out = folder / "out"
    result = run_app(
        *("fit", csv, "--label", "tree", "--components", 2, "--max-iter", 30, "--out", out),
        # Cosines: then the learned space and the others differ in their metric.
        *("--field", "similarity=cosine", "--field", "positives=mean_log"),
    )
    assert result.exit_code == 0, result.output
    return Trained(out, npz, csv, result, read_arrays(out / "model.npz"))

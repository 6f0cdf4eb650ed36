"""`nearfar fit --encoder`: training, stopping, going on, and what its models do."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from support.cli import assert_matches, damaged, read_arrays, write_npz

import nearfar as nf
from nearfar.cli.learn import encoder

QUICK = ("--epochs", 4, "--batch-size", 64, "--components", 6)


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """A file of 360 images of 8 x 8 with their digits."""
    X, y = load_digits(return_X_y=True)
    folder = tmp_path_factory.mktemp("digits")
    return write_npz(folder, X=X[:360].reshape(-1, 8, 8).astype(np.uint8), y=y[:360])


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    """A file of 160 rows of 5 features, one of which tells the target."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(160, 5))
    return write_npz(tmp_path_factory.mktemp("table"), X=X, y=3 * X[:, 2] + 0.1 * X[:, 0])


def results(folder):
    """What a fit wrote, but for the time it took."""
    report = json.loads((folder / "metrics.json").read_text())
    for space in ("raw", "pca", "learned"):
        del report[space]["seconds"]
    del report["options"]["resume"]
    return report


class TestFit:
    @pytest.mark.parametrize("loss", ["supcon", "ntxent"])
    def test_images(self, run, digits, tmp_path, loss):
        args = (*QUICK, "--encoder", "cnn", "--loss", loss, "--out", tmp_path / "out")
        result = run("fit", digits, *args)
        assert result.exit_code == 0, result.output
        report = results(tmp_path / "out")
        assert report["learned"]["knn3"] > 0.5  # a tenth is chance
        assert {"probe", "knn3", "map_at_r"} < set(report["learned"])
        assert report["learned"]["dimensions"] == 6
        assert (tmp_path / "out" / "embedding.png").stat().st_size > 10_000
        assert "probe" in result.stdout
        lines = [line for line in result.stderr.splitlines() if line.startswith("epoch ")]
        assert len(lines) == 4
        for word in ("loss", "validation", "temperature", "alignment", "uniformity"):
            assert f"{word} " in lines[-1]

        run("predict", tmp_path / "out", digits, "--out", tmp_path / "p.csv")
        run("transform", tmp_path / "out", digits, "--out", tmp_path / "z.npy")
        Z, labels = np.load(tmp_path / "z.npy"), read_arrays(digits)["y"]
        assert Z.shape == (360, 6)
        model = read_arrays(tmp_path / "out" / "model.npz")
        # The rows of the reference are among those embedded anew.
        difference = np.abs(Z[:, None] - model["reference"][None]).max(axis=2).min(axis=0)
        assert difference.max() < 1e-4
        predicted = pd.read_csv(tmp_path / "p.csv")["label"].to_numpy()
        assert (predicted == labels).mean() > 0.5

    def test_proxies(self, run, digits, tmp_path):
        args = (*QUICK, "--encoder", "mlp", "--loss", "softtriple", "--out", tmp_path)
        result = run("fit", digits, *args)
        assert result.exit_code == 0, result.output
        report = results(tmp_path)
        assert report["settings"]["loss"] == nf.SoftTriple().to_dict()
        assert report["learned"]["knn3"] > 0.5  # a tenth is chance
        assert "alignment" in result.stderr
        record = json.loads(str(read_arrays(tmp_path / "model.npz")["record"]))
        assert record["metric"] == "cosine"

    def test_targets_and_a_table(self, run, table, tmp_path):
        args = (*QUICK, "--encoder", "mlp", "--loss", "supcr", "--out", tmp_path / "out")
        result = run("fit", table, *args)
        assert result.exit_code == 0, result.output
        learned = results(tmp_path / "out")["learned"]
        assert learned["probe"] > 0.5
        assert learned["spearman"] > 0.5
        assert "alignment" not in result.stderr  # it is of labels or views

    def test_learned_temperature_is_kept(self, run, digits, tmp_path):
        args = (*QUICK, "--encoder", "mlp", "--learn-temperature", "--temperature", 0.3)
        run("fit", digits, *args, "--out", tmp_path)
        report = results(tmp_path)
        found = report["settings"]["loss"]["temperature"]
        assert found == report["settings"]["temperature"]
        assert 0.01 < found != 0.3
        record = json.loads(str(read_arrays(tmp_path / "model.npz")["record"]))
        assert nf.loss_from_dict(record["loss"]) == nf.SupCon(temperature=found)

    def test_probe_labels(self, run, digits, tmp_path):
        args = (*QUICK, "--encoder", "mlp", "--epochs", 1, "--out", tmp_path)
        assert "logistic regression on 252 " in " ".join(run("fit", digits, *args).stdout.split())
        few = run("fit", digits, *args, "--probe-labels", 3, "--overwrite")
        assert "logistic regression on 30 training rows" in " ".join(few.stdout.split())

    def test_ends_early(self, run, tmp_path):
        rng = np.random.default_rng(0)  # labels without a pattern: validation gets worse
        path = write_npz(tmp_path, X=rng.normal(size=(300, 20)), y=rng.integers(0, 2, 300))
        args = ("--encoder", "mlp", "--epochs", 60, "--patience", 2, "--batch-size", 64)
        result = run("fit", path, *args, "--out", tmp_path / "out")
        settings = results(tmp_path / "out")["settings"]
        assert settings["epochs"] == settings["best_epoch"] + 2 < 60
        assert_matches(result.stderr, r"no lower validation loss since epoch \d+: ended early")


class TestStopped:
    """A training that was stopped gives the numbers of one that was not."""

    def stop_in_epoch(self, monkeypatch, number, error):
        train = encoder.Training._train

        def stopping(training):
            if training.epoch + 1 == number:
                raise error
            return train(training)

        monkeypatch.setattr(encoder.Training, "_train", stopping)

    @pytest.mark.parametrize(
        ("kind", "loss", "learned"),
        [
            pytest.param("cnn", "ntxent", ["--learn-temperature"], marks=pytest.mark.long),
            ("mlp", "supcon", []),
        ],
    )
    def test_resume(self, run, digits, tmp_path, monkeypatch, kind, loss, learned):
        args = ("fit", digits, *QUICK, "--encoder", kind, "--loss", loss, *learned, "--out")
        run(*args, tmp_path / "unbroken")
        with monkeypatch.context() as patch:
            self.stop_in_epoch(patch, 3, MemoryError())
            with pytest.raises(MemoryError):
                run(*args, tmp_path / "broken")
        assert not (tmp_path / "broken" / "metrics.json").exists()
        result = run(*args, tmp_path / "broken", "--resume")
        assert "resuming after epoch 2 of 4" in result.stderr
        whole, resumed = (results(tmp_path / name) for name in ("unbroken", "broken"))
        assert whole == resumed
        for name, array in read_arrays(tmp_path / "unbroken" / "model.npz").items():
            np.testing.assert_array_equal(
                array, read_arrays(tmp_path / "broken" / "model.npz")[name]
            )
        # And again, from the end.
        run(*args, tmp_path / "broken", "--resume")
        assert results(tmp_path / "broken") == whole

    def test_a_run_that_did_not_end_is_not_replaced_unasked(
        self, run, refused, digits, tmp_path, monkeypatch
    ):
        args = ("fit", digits, *QUICK, "--encoder", "mlp", "--out", tmp_path / "out")
        with monkeypatch.context() as patch:
            self.stop_in_epoch(patch, 3, MemoryError())
            with pytest.raises(MemoryError):
                run(*args)
        assert_matches(refused(*args), r"a run that did not end; --resume goes on .*--overwrite")
        assert run(*args, "--overwrite").exit_code == 0
        history = results(tmp_path / "out")["history"]
        assert [epoch["epoch"] for epoch in history] == [1, 2, 3, 4]

    def test_interrupted(self, run, digits, tmp_path, monkeypatch):
        self.stop_in_epoch(monkeypatch, 3, KeyboardInterrupt())
        result = run("fit", digits, *QUICK, "--encoder", "mlp", "--out", tmp_path)
        assert result.exit_code == 0
        assert "interrupted in epoch 3 of 4" in result.stderr
        settings = results(tmp_path)["settings"]
        assert settings["interrupted"]
        assert settings["epochs"] == 2

    def test_resume_without_a_checkpoint_begins(self, run, digits, tmp_path):
        args = ("fit", digits, *QUICK, "--encoder", "mlp", "--out", tmp_path, "--resume")
        assert run(*args).exit_code == 0

    def test_an_unknown_loss(self, refused, digits, tmp_path):
        line = refused("fit", digits, "--encoder", "mlp", "--loss", "nosuch", "--out", tmp_path)
        assert_matches(line, r"'nosuch' is unknown; .* labels: .*, or for two views: .*'ntxent'")

    def test_other_settings_are_refused(self, refused, run, digits, table, tmp_path):
        args = (*QUICK, "--encoder", "mlp", "--out", tmp_path / "out", "--resume")
        assert run("fit", digits, *args).exit_code == 0
        line = refused("fit", digits, *args, "--lr", 0.5)
        assert_matches(line, r"--resume: .*checkpoint.npz was made with lr 0.001, not 0.5; give")
        assert_matches(refused("fit", digits, *args, "--seed", 5), r"made with seed 0, not 5")
        assert "--overwrite without --resume" in refused("fit", table, *args, "--loss", "supcr")

    def test_damaged_checkpoint_is_refused(self, refused, run, digits, tmp_path):
        args = ("fit", digits, *QUICK, "--encoder", "mlp", "--out", tmp_path / "out", "--resume")
        assert run(*args).exit_code == 0
        damaged(tmp_path / "out" / "checkpoint.npz")
        assert_matches(refused(*args), r"checkpoint.npz is damaged .*--overwrite without --resume")
        np.savez(tmp_path / "out" / "checkpoint.npz", record=np.array("{}"))
        assert_matches(refused(*args), r"checkpoint.npz is no checkpoint of nearfar")

    @pytest.mark.long
    def test_killed(self, digits, tmp_path):
        command = [sys.executable, "-m", "nearfar.cli", "fit", str(digits), "--encoder", "cnn"]
        command += ["--epochs", "6", "--batch-size", "32", "--loss", "ntxent"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        options = {"env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        begun = time.perf_counter()
        subprocess.run([*command, "--out", str(tmp_path / "a")], check=True, **options)
        whole = time.perf_counter() - begun
        rng = random.Random(4)
        for kill in range(int(os.environ.get("NEARFAR_KILLS", "2"))):
            process = subprocess.Popen(
                [*command, "--out", str(tmp_path / "b"), "--resume"], **options
            )
            time.sleep(rng.uniform(0.2, 0.7) * whole)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            for path in tmp_path.joinpath("b").glob("*.npz"):
                assert read_arrays(path), (kill, path)
            for path in tmp_path.joinpath("b").glob("*.json"):
                json.loads(path.read_text())
        subprocess.run([*command, "--out", str(tmp_path / "b"), "--resume"], check=True, **options)
        assert results(tmp_path / "a") == results(tmp_path / "b")
        assert {path.name for path in (tmp_path / "b").iterdir()} == {
            "README.md", "checkpoint.npz", "embedding.png", "log.jsonl", "metrics.json",
            "model.npz", "report.html",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", 3], r"--epochs is an encoder's: add --encoder mlp or cnn"),
        (["--learn-temperature"], r"--learn-temperature is an encoder's"),
        (["--framework", "torch"], r"--framework is an encoder's"),
        (["--encoder", "vit"], r"--encoder 'vit' is neither 'mlp' nor 'cnn'; choose one"),
        (["--encoder", "mlp", "--framework", "jax"], r"--framework 'jax' has no encoders here"),
        (["--encoder", "mlp", "--max-iter", 3], r"--max-iter is a projection's: .* give --epochs"),
        (["--encoder", "mlp", "--lr", "nan"], r"--lr must be a finite number from 0 on"),
        (["--encoder", "mlp", "--device", "gpu"], r"expected device .* 'gpu' .*; choose 'cpu'"),
        (["--encoder", "mlp", "--device", "meta"], r"expected device .* 'meta' .*; choose 'cpu'"),
        (["--encoder", "mlp", "--flip"], r"--flip mirrors images, and needs --encoder cnn"),
        (["--encoder", "mlp", "--loss", "triplet"], r"'triplet' is called with anchor, positive"),
        (["--loss", "arcface"], r"'arcface' learns proxies of the classes, and needs --encoder"),
        (
            ["--encoder", "mlp", "--loss", "ntxent", "--augmentation", 0],
            r"--augmentation 0 makes both views of a row the same; raise it",
        ),
    ],
)
def test_options_that_are_refused(refused, digits, options, message):
    assert_matches(refused("fit", digits, *options, silent=False), message)


def test_training_that_diverges(run, digits, tmp_path):
    result = run("fit", digits, "--encoder", "mlp", "--lr", 1e30, "--out", tmp_path)
    assert result.exit_code == 2
    assert_matches(
        result.stderr.splitlines()[-1],
        r"error: the loss is .* in epoch \d, and embeddings up to .*; lower the learning rate",
    )
    assert not (tmp_path / "metrics.json").exists()


def test_a_cnn_needs_images(refused, table):
    line = refused("fit", table, "--loss", "supcr", "--encoder", "cnn")
    assert_matches(line, r"expected images of 8 x 8 or more for a cnn.*\(5,\); choose mlp")


def test_a_model_of_another_encoder_is_damaged(run, refused, digits, tmp_path):
    run("fit", digits, *QUICK, "--epochs", 1, "--encoder", "mlp", "--out", tmp_path / "out")
    path = tmp_path / "out" / "model.npz"
    arrays = read_arrays(path)
    arrays["net.1.weight"] = arrays["net.1.weight"][:7]
    np.savez(path, **arrays)
    line = refused("transform", path, digits, "--out", tmp_path / "z.npy")
    assert_matches(
        line, r"model.npz is damaged \(.*net.1.weight.*\); make a model with nearfar fit"
    )

"""What `nearfar fit` tells a logger, and the card of its folder."""

import json
import sys
import types

import numpy as np
import pytest
from support.cli import assert_matches

import nearfar as nf
from nearfar.cli.report import log as logs
from nearfar.sklearn import ContrastiveProjection


def arguments(trained, out, *more):
    return ("fit", trained.npz, "--components", 2, "--max-iter", 4, "--out", out, *more)


def report(folder):
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def lines(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text("utf-8").splitlines()]


def test_a_line_for_every_iteration(run, trained, tmp_path):
    assert run(*arguments(trained, tmp_path / "out")).exit_code == 0
    found = lines(tmp_path / "out")
    assert found == report(tmp_path / "out")["history"]
    assert [entry["iteration"] for entry in found] == list(range(1, len(found) + 1))
    assert set(found[0]) == {"iteration", "loss", "validation"}


def test_a_line_for_every_epoch_while_it_learns_and_after_a_resume(
    run, trained, tmp_path, monkeypatch
):
    pytest.importorskip("torch")
    from nearfar.torch.trainer.training import Training

    args = ("fit", trained.npz, "--encoder", "mlp", "--epochs", 4, "--components", 2)
    seen, step = [], logs._Lines.step

    def watched(self, entry):
        step(self, entry)
        seen.append(len(lines(self._folder)))

    monkeypatch.setattr(logs._Lines, "step", watched)
    assert run(*args, "--out", tmp_path / "whole").exit_code == 0
    assert seen == [1, 2, 3, 4]
    monkeypatch.undo()
    state, calls = Training.state, []

    def stopped(self):
        calls.append(1)
        if len(calls) == 4:  # at the start, and after three epochs
            raise MemoryError
        return state(self)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "state", stopped)
        with pytest.raises(MemoryError):
            run(*args, "--out", tmp_path / "broken")
    assert [entry["epoch"] for entry in lines(tmp_path / "broken")] == [1, 2]
    assert run(*args, "--out", tmp_path / "broken", "--resume").exit_code == 0
    assert lines(tmp_path / "broken") == lines(tmp_path / "whole")
    assert lines(tmp_path / "whole") == report(tmp_path / "whole")["history"]


def test_events_are_read_back_by_tensorboard(run, trained, tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for _ in range(2):  # the events of the first run are not added to
        result = run(*arguments(trained, tmp_path / "out", "--log", "tensorboard"))
        assert result.exit_code == 0, result.output
    assert not (tmp_path / "out" / "log.jsonl").exists()
    (file,) = (tmp_path / "out" / "tensorboard").iterdir()
    events = reader.EventAccumulator(str(file)).Reload()
    found = report(tmp_path / "out")
    told = events.Scalars("loss")
    assert [event.step for event in told] == [entry["iteration"] for entry in found["history"]]
    wanted = np.float32([entry["loss"] for entry in found["history"]])
    np.testing.assert_array_equal(np.float32([event.value for event in told]), wanted)
    (score,) = events.Scalars("learned/knn3")
    assert np.float32(score.value) == np.float32(found["learned"]["knn3"])
    assert "`tensorboard --logdir`" in (tmp_path / "out" / "README.md").read_text("utf-8")


@pytest.fixture
def failing(monkeypatch):
    """The learning ends in an error after a step."""

    def fit(self, X, y, on_step, *_, **__):
        on_step(1, 0.5, None)
        raise ValueError("the learning went wrong")

    monkeypatch.setattr(ContrastiveProjection, "_fit", fit)


@pytest.mark.parametrize("kind", ["jsonl", "tensorboard"])
def test_a_run_that_fails_leaves_nothing(refused, failing, trained, tmp_path, kind):
    if kind == "tensorboard":
        pytest.importorskip("tensorboard")
    line = refused(*arguments(trained, tmp_path / "out", "--log", kind))
    assert_matches(line, "the learning went wrong")


class _Run:
    def __init__(self, **settings):
        self.settings, self.logged, self.summary, self.ended = settings, [], {}, None

    def log(self, measures, step):
        self.logged.append((step, measures))

    def finish(self, exit_code=0):
        self.ended = exit_code


@pytest.fixture
def wandb(monkeypatch):
    """A stand-in for the package, which sends what it is told elsewhere."""
    runs = []
    module = types.ModuleType("wandb")
    module.init = lambda **settings: runs.append(_Run(**settings)) or runs[-1]
    module.__spec__ = types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "wandb", module)
    return runs


def test_wandb_is_told_steps_options_and_scores(run, wandb, trained, tmp_path):
    assert run(*arguments(trained, tmp_path / "out", "--log", "wandb")).exit_code == 0
    (told,) = wandb
    found = report(tmp_path / "out")
    assert told.settings["project"] == "nearfar"
    assert told.settings["name"] == "out"
    assert told.settings["config"]["components"] == 2
    assert [step for step, _ in told.logged] == [e["iteration"] for e in found["history"]]
    assert told.logged[0][1]["loss"] == found["history"][0]["loss"]
    assert None not in [x for _, measures in told.logged for x in measures.values()]
    assert told.summary["learned/knn3"] == found["learned"]["knn3"]
    assert told.ended == 0


def test_wandb_is_told_of_a_failure(run, failing, wandb, trained, tmp_path):
    assert run(*arguments(trained, tmp_path / "out", "--log", "wandb")).exit_code == 2
    assert wandb[0].logged == [(1, {"loss": 0.5})]
    assert wandb[0].ended == 1


@pytest.mark.parametrize("kind", ["tensorboard", "wandb"])
def test_a_logger_that_is_not_installed(refused, trained, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(logs, "find_spec", lambda name: None)
    line = refused(*arguments(trained, tmp_path / "out", "--log", kind))
    assert_matches(line, f"--log {kind} needs {kind}, which is not installed: pip install {kind}")


def test_an_unknown_logger(refused, trained, tmp_path):
    line = refused(*arguments(trained, tmp_path / "out", "--log", "mlflow"))
    assert_matches(line, "--log 'mlflow' is none of 'jsonl', 'tensorboard', 'wandb'; choose one")


def test_the_card_tells_a_stranger_all(trained):
    card = (trained.folder / "README.md").read_text(encoding="utf-8")
    found = report(trained.folder)
    assert f"`{nf.loss_from_dict(found['settings']['loss'])!r}`" in card
    assert "Supervised contrastive loss: rows of a class are each other's positives." in card
    assert '`nf.preset("pytorch-metric-learning/SupConLoss")`' in card
    assert "63 to learn from, 27 held out" in card
    assert found["options"]["fingerprint"] in card
    for space in ("raw", "pca", "learned"):
        shown = " | ".join(f"{found[space][key]:.3f}" for key in ("knn3", "balanced", "recall1"))
        assert f"| {space} | {shown} |" in card
    for file in trained.folder.iterdir():
        assert f"| {file.name} |" in card
    assert f"| nearfar | {nf.__version__} |" in card
    assert f"| numpy | {np.__version__} |" in card
    assert "eprint = {2004.11362}" in card


def test_a_preset_at_another_temperature_is_named_with_it(run, trained, tmp_path):
    fields = ("--field", "similarity=cosine", "--field", "positives=mean_log")
    args = arguments(trained, tmp_path / "out", *fields, "--temperature", 0.3)
    assert run(*args).exit_code == 0
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert '`nf.preset("pytorch-metric-learning/SupConLoss", temperature=0.3)`' in card

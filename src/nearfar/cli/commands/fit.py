"""``nearfar fit``: learn on one part of the data, compare on the other, write what came out."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from sklearn.decomposition import PCA

from nearfar import __version__
from nearfar.cli.data.reading import LabelledData, read_labelled
from nearfar.cli.errors import BadInput
from nearfar.cli.files import staged
from nearfar.cli.learn.maps import Learned, require_torch
from nearfar.cli.learn.model import Model
from nearfar.cli.learn.projection import learn_projection
from nearfar.cli.learn.settings import EncoderSettings
from nearfar.cli.learn.split import Split, split
from nearfar.cli.report.picture import draw
from nearfar.cli.report.scores import Measured, Probe, Space
from nearfar.cli.report.table import print_table
from nearfar.cli.tasks import TASKS, Task
from nearfar.cli.tasks.losses import kind_of, loss_for


@dataclass(frozen=True)
class Settings:
    """What the user chose."""

    data: str
    label: str | None
    loss: str | None
    components: int
    temperature: float | None
    fields: tuple[str, ...]
    test_size: float
    max_iter: int
    seed: int
    deep: EncoderSettings | None
    image_size: int | None


def fit(settings: Settings, out: Path | None) -> None:
    """Check everything, then learn, report and write; where a check fails nothing is written."""
    deep = settings.deep
    loss = loss_for(
        settings.data, settings.loss, settings.temperature, settings.fields, deep is not None
    )
    data = read_labelled(settings.data, settings.label, settings.image_size)
    task = TASKS[kind_of(loss, data)].of(data)
    parts = split(data, task, settings.test_size, settings.seed)
    if deep is None:
        _check_components(settings.components, parts)
    out = out or Path("runs") / data.name
    with staged(out) as stage:
        typer.echo(
            f"learning {settings.components} dimensions from {data.X.shape[1]} features of "
            f"{len(parts.train_y)} rows of {data.name} by {loss}",
            err=True,
        )
        learned = _learn(data, task, parts, loss, settings, out)
        spaces = _before(parts, settings) | {"learned": learned.space()}
        measured = {
            name: Measured(
                space,
                task.score(space, parts.train_y, parts.held_out_y),
                None if deep is None else _probe(task, space, parts, deep, settings.seed),
            )
            for name, space in spaces.items()
        }
        held_out = f"{data.name}: {len(parts.held_out_y)} held-out rows"
        caption = task.caption(len(parts.train_y))
        print_table(Console(), f"{held_out}, {task.summary()}", caption, measured)
        _model(learned, parts, task, data).save(stage / "model.npz")
        _write_metrics(stage / "metrics.json", measured, learned, parts, task, settings)
        colouring = task.colouring(parts.held_out_y)
        draw(stage / "embedding.png", held_out, _panels(measured, learned.map.name), colouring)
    typer.echo(f"wrote model.npz, metrics.json and embedding.png into {out}")


def _check_components(components: int, parts: Split) -> None:
    rows, features = parts.train_X.shape
    for most, of in ((features, "features"), (rows, "training rows")):
        if components > most:
            raise BadInput(
                f"--components {components} is more than the {most} {of}; pass {most} or fewer"
            )


def _learn(
    data: LabelledData, task: Task, parts: Split, loss: Any, settings: Settings, out: Path
) -> Learned:
    if settings.deep is None:
        return learn_projection(parts, loss, settings.components, settings.max_iter, settings.seed)
    require_torch()
    from nearfar.cli.learn.encoder import learn_encoder  # it imports PyTorch

    return learn_encoder(
        data, task, parts, loss, settings.components, settings.seed, settings.deep, out
    )


def _before(parts: Split, settings: Settings) -> dict[str, Space]:
    start = perf_counter()
    X = parts.train_X
    pca = PCA(min(settings.components, *X.shape), random_state=settings.seed).fit(X)
    embedded = pca.transform(X), pca.transform(parts.held_out_X)
    return {
        "raw": Space(X, parts.held_out_X, "euclidean", 0.0),
        "pca": Space(*embedded, "euclidean", perf_counter() - start),
    }


def _probe(task: Task, space: Space, parts: Split, deep: EncoderSettings, seed: int) -> Probe:
    rows = task.few(parts.train_y, deep.probe_labels, seed)
    train = Space(space.train[rows], space.held_out, space.metric, space.seconds)
    return task.probe(train, parts.train_y[rows], parts.held_out_y)


def _model(learned: Learned, parts: Split, task: Task, data: LabelledData) -> Model:
    return Model(
        map=learned.map,
        reference=learned.train,
        answer=task.answer(parts.train_y),
        metric=learned.space().metric,
        loss=learned.loss.to_dict(),
        columns=data.columns,
        label=data.label,
    )


def _write_metrics(
    path: Path,
    measured: dict[str, Measured],
    learned: Learned,
    parts: Split,
    task: Task,
    settings: Settings,
) -> None:
    outcome = {
        "temperature": getattr(learned.loss, "temperature", None),
        "loss": learned.loss.to_dict(),
        **learned.outcome,
        "training_rows": len(parts.train_y),
        "held_out_rows": len(parts.held_out_y),
        **task.settings(),
        "nearfar": __version__,
    }
    report: dict[str, Any] = {name: row.report() for name, row in measured.items()}
    chosen = asdict(settings)
    report["settings"] = chosen | (chosen.pop("deep") or {}) | outcome
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _panels(
    measured: dict[str, Measured], what_learned: str
) -> list[tuple[str, NDArray[np.float64]]]:
    """Headings and points of the picture, each with what its space scores first of all."""
    raw, pca, learned = (measured[name] for name in ("raw", "pca", "learned"))
    what, before = raw.scores.headline()
    after, between = learned.scores.headline()[1], pca.scores.headline()[1]
    return [
        (
            f"before: raw features\n{raw.dimensions} dimensions, {what} {before:.3f}",
            raw.space.plane(),
        ),
        (
            f"after: learned {what_learned}\n{learned.dimensions} dimensions, {what} {after:.3f} "
            f"(PCA: {between:.3f})",
            learned.space.plane(),
        ),
    ]

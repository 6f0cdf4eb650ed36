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
from nearfar.cli.choosing import kind_of, loss_for
from nearfar.cli.data import LabelledData, read_labelled
from nearfar.cli.deepsettings import DeepSettings
from nearfar.cli.errors import BadInput
from nearfar.cli.figure import draw
from nearfar.cli.files import staged
from nearfar.cli.halves import Halves, split
from nearfar.cli.kinds import KINDS, Kind
from nearfar.cli.learned import Learned
from nearfar.cli.linear import learn_projection
from nearfar.cli.maps import require_torch
from nearfar.cli.model import Model
from nearfar.cli.scores import Measured, Probe, print_table
from nearfar.cli.spaces import Space


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
    deep: DeepSettings | None
    image_size: int | None


def fit(settings: Settings, out: Path | None) -> None:
    """Check everything, then learn, report and write; where a check fails nothing is written."""
    deep = settings.deep
    loss = loss_for(
        settings.data, settings.loss, settings.temperature, settings.fields, deep is not None
    )
    data = read_labelled(settings.data, settings.label, settings.image_size)
    kind = KINDS[kind_of(loss, data)].of(data)
    halves = split(data, kind, settings.test_size, settings.seed)
    if deep is None:
        _check_components(settings.components, halves)
    out = out or Path("runs") / data.name
    with staged(out) as stage:
        typer.echo(
            f"learning {settings.components} dimensions from {data.X.shape[1]} features of "
            f"{len(halves.train_y)} rows of {data.name} by {loss}",
            err=True,
        )
        learned = _learn(data, kind, halves, loss, settings, out)
        spaces = _before(halves, settings) | {"learned": learned.space()}
        measured = {
            name: Measured(
                space,
                kind.score(space, halves.train_y, halves.held_out_y),
                None if deep is None else _probe(kind, space, halves, deep, settings.seed),
            )
            for name, space in spaces.items()
        }
        held_out = f"{data.name}: {len(halves.held_out_y)} held-out rows"
        caption = kind.caption(len(halves.train_y))
        print_table(Console(), f"{held_out}, {kind.summary()}", caption, measured)
        _model(learned, halves, kind, data).save(stage / "model.npz")
        _write_metrics(stage / "metrics.json", measured, learned, halves, kind, settings)
        colouring = kind.colouring(halves.held_out_y)
        draw(stage / "embedding.png", held_out, _panels(measured, learned.map.name), colouring)
    typer.echo(f"wrote model.npz, metrics.json and embedding.png into {out}")


def _check_components(components: int, halves: Halves) -> None:
    rows, features = halves.train_X.shape
    for most, of in ((features, "features"), (rows, "training rows")):
        if components > most:
            raise BadInput(
                f"--components {components} is more than the {most} {of}; pass {most} or fewer"
            )


def _learn(
    data: LabelledData, kind: Kind, halves: Halves, loss: Any, settings: Settings, out: Path
) -> Learned:
    if settings.deep is None:
        return learn_projection(halves, loss, settings.components, settings.max_iter, settings.seed)
    require_torch()
    from nearfar.cli.deep import learn_encoder  # it imports PyTorch

    return learn_encoder(
        data, kind, halves, loss, settings.components, settings.seed, settings.deep, out
    )


def _before(halves: Halves, settings: Settings) -> dict[str, Space]:
    start = perf_counter()
    X = halves.train_X
    pca = PCA(min(settings.components, *X.shape), random_state=settings.seed).fit(X)
    parts = pca.transform(X), pca.transform(halves.held_out_X)
    return {
        "raw": Space(X, halves.held_out_X, "euclidean", 0.0),
        "pca": Space(*parts, "euclidean", perf_counter() - start),
    }


def _probe(kind: Kind, space: Space, halves: Halves, deep: DeepSettings, seed: int) -> Probe:
    rows = kind.few(halves.train_y, deep.probe_labels, seed)
    train = Space(space.train[rows], space.held_out, space.metric, space.seconds)
    return kind.probe(train, halves.train_y[rows], halves.held_out_y)


def _model(learned: Learned, halves: Halves, kind: Kind, data: LabelledData) -> Model:
    return Model(
        map=learned.map,
        reference=learned.train,
        answer=kind.answer(halves.train_y),
        metric=learned.space().metric,
        loss=learned.loss.to_dict(),
        columns=data.columns,
        label=data.label,
    )


def _write_metrics(
    path: Path,
    measured: dict[str, Measured],
    learned: Learned,
    halves: Halves,
    kind: Kind,
    settings: Settings,
) -> None:
    outcome = {
        "temperature": getattr(learned.loss, "temperature", None),
        "loss": learned.loss.to_dict(),
        **learned.outcome,
        "training_rows": len(halves.train_y),
        "held_out_rows": len(halves.held_out_y),
        **kind.settings(),
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

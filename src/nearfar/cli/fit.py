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
from nearfar.cli.errors import BadInput
from nearfar.cli.figure import draw
from nearfar.cli.files import staged
from nearfar.cli.halves import Halves, split
from nearfar.cli.kinds import KINDS, Kind
from nearfar.cli.learning import learn
from nearfar.cli.model import Model
from nearfar.cli.scores import Measured, print_table
from nearfar.cli.spaces import Space
from nearfar.sklearn import ContrastiveProjection


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


def fit(settings: Settings, out: Path | None) -> None:
    """Check everything, then learn, report and write; where a check fails nothing is written."""
    loss = loss_for(settings.data, settings.loss, settings.temperature, settings.fields)
    data = read_labelled(settings.data, settings.label)
    kind = KINDS[kind_of(loss)].of(data)
    halves = split(data, kind, settings.test_size, settings.seed)
    _check_components(settings.components, halves)
    out = out or Path("runs") / data.name
    with staged(out) as stage:
        typer.echo(
            f"learning {settings.components} dimensions from {data.X.shape[1]} features of "
            f"{len(halves.train_y)} rows of {data.name} by {loss}",
            err=True,
        )
        projection, spaces = _learn_spaces(halves, loss, settings)
        measured = {
            name: Measured(space, kind.score(space, halves.train_y, halves.held_out_y))
            for name, space in spaces.items()
        }
        held_out = f"{data.name}: {len(halves.held_out_y)} held-out rows"
        caption = kind.caption(len(halves.train_y))
        print_table(Console(), f"{held_out}, {kind.summary()}", caption, measured)
        _model(projection, spaces["learned"], halves, kind, data).save(stage / "model.npz")
        _write_metrics(stage / "metrics.json", measured, projection, halves, kind, settings)
        colouring = kind.colouring(halves.held_out_y)
        draw(stage / "embedding.png", held_out, _panels(measured), colouring)
    typer.echo(f"wrote model.npz, metrics.json and embedding.png into {out}")


def _check_components(components: int, halves: Halves) -> None:
    rows, features = halves.train_X.shape
    for most, of in ((features, "features"), (rows, "training rows")):
        if components > most:
            raise BadInput(
                f"--components {components} is more than the {most} {of}; pass {most} or fewer"
            )


def _learn_spaces(
    halves: Halves, loss: Any, settings: Settings
) -> tuple[ContrastiveProjection, dict[str, Space]]:
    start = perf_counter()
    pca = PCA(settings.components, random_state=settings.seed).fit(halves.train_X)
    pca_end = perf_counter()
    projection = learn(
        halves.train_X,
        halves.train_y,
        loss,
        components=settings.components,
        max_iter=settings.max_iter,
        seed=settings.seed,
    )
    end = perf_counter()
    metric = "cosine" if _compares_directions(loss) else "euclidean"
    return projection, {
        "raw": Space(halves.train_X, halves.held_out_X, "euclidean", 0.0),
        "pca": _mapped(halves, pca, "euclidean", pca_end - start),
        "learned": _mapped(halves, projection, metric, end - pca_end),
    }


def _compares_directions(loss: Any) -> bool:
    return "cosine" in (getattr(loss, "similarity", None), getattr(loss, "distance", None))


def _mapped(halves: Halves, fitted: Any, metric: str, seconds: float) -> Space:
    return Space(
        fitted.transform(halves.train_X), fitted.transform(halves.held_out_X), metric, seconds
    )


def _model(
    projection: ContrastiveProjection,
    space: Space,
    halves: Halves,
    kind: Kind,
    data: LabelledData,
) -> Model:
    return Model(
        mean=halves.mean,
        scale=halves.scale,
        components=projection.components_,
        # mean_ is that of the standardised rows: rounding errors, but part of the map.
        intercept=projection.intercept_ - projection.components_ @ projection.mean_,
        reference=space.train,
        answer=kind.answer(halves.train_y),
        metric=space.metric,
        loss=projection.loss.to_dict(),
        columns=data.columns,
        label=data.label,
    )


def _write_metrics(
    path: Path,
    measured: dict[str, Measured],
    projection: ContrastiveProjection,
    halves: Halves,
    kind: Kind,
    settings: Settings,
) -> None:
    outcome = {
        "temperature": getattr(projection.loss, "temperature", None),
        "loss": projection.loss.to_dict(),
        "iterations": int(projection.n_iter_),
        "interrupted": bool(projection.interrupted_),
        "training_rows": len(halves.train_y),
        "held_out_rows": len(halves.held_out_y),
        **kind.settings(),
        "nearfar": __version__,
    }
    report: dict[str, Any] = {name: row.report() for name, row in measured.items()}
    report["settings"] = asdict(settings) | outcome
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _panels(measured: dict[str, Measured]) -> list[tuple[str, NDArray[np.float64]]]:
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
            f"after: learned projection\n{learned.dimensions} dimensions, {what} {after:.3f} "
            f"(PCA: {between:.3f})",
            learned.space.plane(),
        ),
    ]

"""``nearfar fit``: learn on one part of the data, compare on the other, write what came out."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import typer
from rich.console import Console
from sklearn.decomposition import PCA

from nearfar import __version__
from nearfar.cli.data import LabelledData, read_labelled
from nearfar.cli.errors import BadInput
from nearfar.cli.figure import draw
from nearfar.cli.files import staged
from nearfar.cli.halves import Halves, split
from nearfar.cli.learning import learn, loss_named
from nearfar.cli.model import Model
from nearfar.cli.scores import Scores, Space, print_table, score
from nearfar.sklearn import ContrastiveProjection


@dataclass(frozen=True)
class Settings:
    """What the user chose."""

    data: str
    label: str | None
    loss: str
    components: int
    temperature: float | None
    fields: tuple[str, ...]
    test_size: float
    max_iter: int
    seed: int


def fit(settings: Settings, out: Path | None) -> None:
    """Check everything, then learn, report and write; where a check fails nothing is written."""
    loss = loss_named(settings.loss, settings.temperature, settings.fields)
    data = read_labelled(settings.data, settings.label)
    halves = split(data, settings.test_size, settings.seed)
    _check_components(settings.components, halves)
    out = out or Path("runs") / data.name
    with staged(out) as stage:
        typer.echo(
            f"learning {settings.components} dimensions from {data.X.shape[1]} features of "
            f"{len(halves.train_y)} rows of {data.name} by {loss}",
            err=True,
        )
        projection, spaces = _learn_spaces(halves, loss, settings)
        scores = {name: score(space, halves) for name, space in spaces.items()}
        print_table(Console(), data.name, halves, scores, spaces["learned"].metric)
        _model(projection, spaces["learned"], halves, data, settings).save(stage / "model.npz")
        _write_metrics(stage / "metrics.json", scores, projection, halves, settings)
        _draw(stage / "embedding.png", spaces, scores, halves, data.name)
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
    data: LabelledData,
    settings: Settings,
) -> Model:
    return Model(
        mean=halves.mean,
        scale=halves.scale,
        components=projection.components_,
        # mean_ is that of the standardised rows: rounding errors, but part of the map.
        intercept=projection.intercept_ - projection.components_ @ projection.mean_,
        reference=space.train,
        reference_labels=halves.train_y,
        classes=halves.classes,
        metric=space.metric,
        loss=projection.loss.to_dict(),
        columns=data.columns,
        label=settings.label,
    )


def _write_metrics(
    path: Path,
    scores: dict[str, Scores],
    projection: ContrastiveProjection,
    halves: Halves,
    settings: Settings,
) -> None:
    outcome = {
        "temperature": getattr(projection.loss, "temperature", None),
        "loss": projection.loss.to_dict(),
        "iterations": int(projection.n_iter_),
        "interrupted": bool(projection.interrupted_),
        "training_rows": len(halves.train_y),
        "held_out_rows": len(halves.held_out_y),
        "classes": len(halves.classes),
        "nearfar": __version__,
    }
    report = {name: asdict(row) for name, row in scores.items()}
    report["settings"] = asdict(settings) | outcome
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _draw(
    path: Path, spaces: dict[str, Space], scores: dict[str, Scores], halves: Halves, name: str
) -> None:
    raw, pca, learned = (f"{scores[key].knn3:.3f}" for key in ("raw", "pca", "learned"))
    before = f"before: raw features\n{scores['raw'].dimensions} dimensions, 3-NN accuracy {raw}"
    after = (
        f"after: learned projection\n{scores['learned'].dimensions} dimensions, "
        f"3-NN accuracy {learned} (PCA: {pca})"
    )
    panels = [(before, spaces["raw"].plane()), (after, spaces["learned"].plane())]
    title = f"{name}: {len(halves.held_out_y)} held-out rows"
    draw(path, title, panels, halves.held_out_y, halves.classes)

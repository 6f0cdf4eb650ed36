"""``nearfar transform``, ``predict`` and ``evaluate``: a model applied to rows."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import typer
from rich.console import Console

from nearfar.cli.data.tables import check_writer, write_table
from nearfar.cli.errors import BadInput, listed
from nearfar.cli.files import staged
from nearfar.cli.learn.model import Model
from nearfar.cli.report.scores import Measured, Space
from nearfar.cli.report.table import print_scores
from nearfar.cli.report.voice import Voice
from nearfar.cli.tasks import TASKS
from nearfar.cli.tasks.classes import Classes

_TABLES = (".csv", ".parquet")


def transform(model: Path, source: str, out: Path) -> None:
    """Write the embeddings of every row."""
    _check_name(out, (".npy", *_TABLES), source)
    trained = Model.load(model)
    embeddings = trained.embed(trained.rows(source))
    with staged(out.parent) as stage:
        if out.suffix.lower() == ".npy":
            np.save(stage / out.name, embeddings)
        else:
            names = [f"z{k}" for k in range(embeddings.shape[1])]
            write_table(pd.DataFrame(embeddings, columns=names), stage / out.name)
    typer.echo(f"wrote {out}: {len(embeddings)} rows, {embeddings.shape[1]} dimensions")


def predict(model: Path, source: str, out: Path) -> None:
    """Write what its neighbours say about every row: a label and how many agree, or a target."""
    _check_name(out, _TABLES, source)
    trained = Model.load(model)
    X = trained.rows(source)
    columns = trained.predict(X)
    table = pd.DataFrame({"row": np.arange(len(X))} | columns)
    with staged(out.parent) as stage:
        write_table(table, stage / out.name)
    typer.echo(f"wrote {out}: {len(table)} rows, {trained.predictor.gist(columns)}")


def evaluate(model: Path, source: str, label: str | None, as_json: bool) -> None:
    """Print how well a model does on rows whose labels or targets are known."""
    voice = Voice()
    trained = Model.load(model)
    data = trained.labelled_rows(source, label)
    for note in data.notes:
        voice.warn(note)
    predictor = trained.predictor
    task = TASKS[predictor.kind].beside(predictor, data)
    if isinstance(task, Classes) and task.unseen(predictor):
        voice.warn(
            f"the model has seen no row of {listed(task.unseen(predictor), most=3)}: what the "
            "neighbours vote for is wrong there"
        )
    space = Space(trained.reference, trained.embed(data.X), trained.metric, 0.0)
    measured = Measured(space, task.score(space, predictor.reference_y(), task.y), None)
    if as_json:
        typer.echo(json.dumps(asdict(measured.scores) | {"rows": len(data.y)}, indent=2))
        return
    title = f"{data.name}: {len(data.y)} rows, {task.summary()}"
    print_scores(Console(), title, task.caption(len(trained.reference)), measured)


def _check_name(out: Path, suffixes: tuple[str, ...], source: str) -> None:
    if out.suffix.lower() not in suffixes:
        raise BadInput(f"--out {out} must end in {' or '.join(suffixes)}; rename it")
    if out.is_dir():
        raise BadInput(f"--out {out} is a folder; name a file")
    if Path(source).exists() and out.exists() and out.samefile(source):
        raise BadInput(f"--out {out} is DATA itself; name another file")
    check_writer(out)

"""``nearfar transform`` and ``nearfar predict``: a model applied to new rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray

from nearfar.cli.data.reading import read_features
from nearfar.cli.errors import BadInput
from nearfar.cli.files import staged
from nearfar.cli.learn.model import Model


def transform(model: Path, source: str, out: Path) -> None:
    """Write the embeddings of every row."""
    _check_name(out, ".npy", source)
    trained, X = _read(model, source)
    embeddings = trained.embed(X)
    with staged(out.parent) as stage:
        np.save(stage / out.name, embeddings)
    typer.echo(f"wrote {out}: {len(embeddings)} rows, {embeddings.shape[1]} dimensions")


def predict(model: Path, source: str, out: Path) -> None:
    """Write what its neighbours say about every row: a label and how many agree, or a target."""
    _check_name(out, ".csv", source)
    trained, X = _read(model, source)
    columns = trained.predict(X)
    table = pd.DataFrame({"row": np.arange(len(X))} | columns)
    with staged(out.parent) as stage:
        table.to_csv(stage / out.name, index=False)
    typer.echo(f"wrote {out}: {len(table)} rows, {trained.answer.gist(columns)}")


def _read(model: Path, source: str) -> tuple[Model, NDArray[Any]]:
    trained = Model.load(model)
    return trained, read_features(source, trained.columns, trained.label, trained.map.shape)


def _check_name(out: Path, suffix: str, source: str) -> None:
    if out.suffix.lower() != suffix:
        raise BadInput(f"--out {out} must end in {suffix}; rename it")
    if out.is_dir():
        raise BadInput(f"--out {out} is a folder; name a file")
    if Path(source).exists() and out.exists() and out.samefile(source):
        raise BadInput(f"--out {out} is DATA itself; name another file")

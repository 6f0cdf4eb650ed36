"""The commands and their options; what a command does is imported only when it runs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from nearfar.cli.errors import OneLineErrors
from nearfar.cli.options import (
    ColumnOptions,
    DataOptions,
    EncoderOptions,
    Json,
    LearningOptions,
    LossOptions,
    OutputOptions,
    taking,
)

app = typer.Typer(
    cls=OneLineErrors,
    help="Contrastive losses: **fit** learns a projection or an encoder by one, **transform**, "
    "**predict** and **evaluate** use it; **losses** and **presets** list the losses and the "
    "public implementations that they equal, and **check** tells which loss a function really is.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)

Trained = Annotated[
    Path, typer.Argument(metavar="MODEL", help="model.npz, or the folder fit wrote it into.")
]
Rows = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="Rows to embed: .npz with an array X, .npy, a table with the columns the model was "
        "fitted on (in any order; a label column is ignored), or anything else that fit reads; "
        "images need no labels.",
    ),
]


def _show_version(wanted: bool) -> None:
    if wanted:
        from nearfar import __version__

        typer.echo(f"nearfar {__version__}")
        raise typer.Exit


@app.callback()
def _nearfar(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    pass


@app.command()
@taking(DataOptions, ColumnOptions, LossOptions, LearningOptions, EncoderOptions, OutputOptions)
def fit(*options: Any) -> None:
    """Learn a projection or an encoder that brings rows of one class, or of near targets, together.

    Compares raw features, PCA and the learned projection on held-out rows, by their 3 nearest
    neighbours' classes or by R2 and rank correlation of their 15 nearest neighbours' mean target,
    and writes model.npz, metrics.json, embedding.png, a log, a card and report.html, a page that
    tells of every point what it is. Ctrl-C ends the learning and keeps the best so far. With
    --encoder, a linear model is fitted on each of the three as well.

    Of pairs of two kinds it learns a projection of each side, compares recall@1 on held-out pairs
    with that of partial least squares and of chance, and draws no picture.
    """
    from nearfar.cli.commands.fit import fit as run

    run(*options)


@app.command()
def transform(
    model: Trained,
    data: Rows,
    out: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Where the embeddings go: .npy, .csv or .parquet."),
    ],
) -> None:
    """Write the embedding of every row as an array (rows, dimensions), or as a table."""
    from nearfar.cli.commands.apply import transform as run

    run(model, data, out)


@app.command()
def predict(
    model: Trained,
    data: Rows,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Where the predictions go: .csv or .parquet.")
    ],
) -> None:
    """Predict the label or target of every row by its neighbours among the rows of the fit.

    Writes row (from 0) and, by the 3 nearest, label and agreement: the share of them that have the
    label; or, by the 15 nearest, target: the mean of theirs. nearfar evaluate tells how often that
    is right.
    """
    from nearfar.cli.commands.apply import predict as run

    run(model, data, out)


@app.command()
def evaluate(
    model: Trained,
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="Rows with labels or targets, as fit reads them.")
    ],
    label: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="The column of them. [default: that of the fit]"),
    ] = None,
    json: Json = False,
) -> None:
    """Measure a model on rows whose labels or targets are known: accuracy, or R2, and more."""
    from nearfar.cli.commands.apply import evaluate as run

    run(model, data, label, json)


@app.command()
def losses(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One loss, with its fields.")
    ] = None,
) -> None:
    """List every loss in a line; of one show the formula, the source and the fields."""
    from rich.console import Console

    from nearfar.cli.commands.catalogue import show_loss, show_losses

    if name is None:
        show_losses(Console())
    else:
        show_loss(Console(), name)


@app.command()
def check(
    target: Annotated[
        str,
        typer.Argument(metavar="TARGET", help="module:function, module:Class(args), file.py:name."),
    ],
    expect: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What it should be: supcon, SupCon(average='pairs')."),
    ] = None,
    call: Annotated[
        str | None,
        typer.Option(metavar="FORM", help="How it is called: views, labels, ... [default: tried]"),
    ] = None,
    framework: Annotated[
        str | None,
        typer.Option(help="numpy, torch, tensorflow or jax. [default: tried]"),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="An argument to pass; may be repeated."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print numbers for programs.")] = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a page to look at, too."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PART",
            help="identity, gradient, stability or cost; may be repeated. [default: all]",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Chooses the batches.")] = 0,
    batches: Annotated[int, typer.Option(min=6, help="How many it is compared on.")] = 10,
    time_limit: Annotated[float, typer.Option(min=1, help="Seconds for one call.")] = 30,
    memory_limit: Annotated[int, typer.Option(min=64, help="MB beyond the imports.")] = 4096,
) -> None:
    """Find out which loss a function really is, and whether it is sound.

    Exit code 0: it is the loss that --expect names (or a known one) and sound; 1: it differs or is
    unsafe; 2: it could not be run. TARGET runs in a process of its own, under the limits.
    """
    from nearfar.cli.check import check as run

    options: dict[str, Any] = {
        "expect": expect, "call": call, "framework": framework, "seed": seed
    }  # fmt: skip
    if only:
        options["parts"] = only
    options |= {"time_limit": time_limit, "memory_limit": memory_limit * 2**20}
    code = run(target, set_ or [], json, html=html, batches=batches, **options)
    raise typer.Exit(code)


@app.command()
def presets(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="One implementation, with its traps; or a word to search for."
        ),
    ] = None,
) -> None:
    """List public implementations by the loss they equal, and how to move from one of them."""
    from rich.console import Console

    from nearfar.cli.commands.catalogue import show_presets

    show_presets(Console(), name)

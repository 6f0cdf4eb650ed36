"""The commands and their options; what a command does is imported only when it runs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from nearfar.cli.errors import OneLineErrors

app = typer.Typer(
    cls=OneLineErrors,
    help="Learn a projection or an encoder by a contrastive loss, use it, list the losses and the "
    "public implementations that they equal.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)

_ENCODER = "An encoder"

Trained = Annotated[
    Path, typer.Argument(metavar="MODEL", help="model.npz, or the folder fit wrote it into.")
]
Rows = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="Rows to embed: .npz with an array X, .npy, .csv with the columns the model was "
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
def fit(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Rows with class labels or numeric targets: .npz with arrays X and y, .csv with "
            "--label, or built in: digits, wine, breast_cancer (classes), diabetes (targets). "
            "Images: a folder with one folder per class, an MNIST *idx3-ubyte file, a CIFAR-10 "
            ".bin file, or a folder of either. To be downloaded: mnist-5k, trec, trec-fine, "
            "multiple-features (classes), hutto, hutto-tweets, hutto-amazon, hutto-nyt (targets).",
        ),
    ],
    label: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="The column of labels or targets in a .csv."),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Resize the images of a folder to N x N pixels, one side for all.",
        ),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A loss of (embeddings, labels), such as supcon, takes labels as classes; one of "
            "(embeddings, targets), supcr, as numbers; nearfar losses shows them. "
            "[default: supcr for diabetes and hutto, else supcon]",
        ),
    ] = None,
    components: Annotated[
        int | None,
        typer.Option(min=1, help="Dimensions to learn. [default: 8, 64 with --encoder]"),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(help="Lower: more weight on near rows. [default: the loss's own]"),
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Any field of the loss; may be repeated. "
            "[default: similarity=neg_euclidean positives=log_sum for supcon]",
        ),
    ] = None,
    test_size: Annotated[
        float,
        typer.Option(
            help="Share held out, of each class or, with targets, of all rows; these need 16 rows "
            "or more to learn from, for 15 neighbours."
        ),
    ] = 0.3,
    max_iter: Annotated[
        int | None,
        typer.Option(min=1, help="Iterations at most, without --encoder. [default: 100]"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Chooses the held-out rows.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the results. [default: runs/NAME of DATA]"),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="mlp|cnn",
            help="Learn a neural network in place of a projection; with it, losses of two views "
            "(ntxent, hcl, dcl, infonce, clip, siglip) can be chosen too.",
            rich_help_panel=_ENCODER,
        ),
    ] = None,
    framework: Annotated[
        str | None,
        typer.Option(help="Of the encoder: torch. [default: torch]", rich_help_panel=_ENCODER),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="[default: 30]", rich_help_panel=_ENCODER)
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=4, help="Rows in a batch. [default: 256]", rich_help_panel=_ENCODER),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(help="Of AdamW, with a cosine. [default: 0.001]", rich_help_panel=_ENCODER),
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(help="[default: 0.0001]", rich_help_panel=_ENCODER)
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Epochs without a lower validation loss, on a tenth of the training rows, before "
            "the learning ends. [default: 10]",
            rich_help_panel=_ENCODER,
        ),
    ] = None,
    augmentation: Annotated[
        float | None,
        typer.Option(
            help="How strongly rows are changed: images turned, scaled and shifted, features "
            "replaced by those of other rows. [default: 1; 0 for labelled rows of features]",
            rich_help_panel=_ENCODER,
        ),
    ] = None,
    flip: Annotated[
        bool | None,
        typer.Option("--flip", help="Mirror half of the images.", rich_help_panel=_ENCODER),
    ] = None,
    learn_temperature: Annotated[
        bool | None,
        typer.Option(
            "--learn-temperature",
            help="Learn the temperature with the encoder.",
            rich_help_panel=_ENCODER,
        ),
    ] = None,
    probe_labels: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Labels the linear probe learns from: so many of each class, or targets in all. "
            "[default: all]",
            rich_help_panel=_ENCODER,
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="PyTorch's name of it. [default: cpu]", rich_help_panel=_ENCODER),
    ] = None,
    resume: Annotated[
        bool | None,
        typer.Option(
            "--resume",
            help="Go on from the last epoch that was completed in this folder, to the numbers of "
            "an unbroken run.",
            rich_help_panel=_ENCODER,
        ),
    ] = None,
) -> None:
    """Learn a projection or an encoder that brings rows of one class, or of near targets, together.

    Compares raw features, PCA and the learned projection on held-out rows, by their 3 nearest
    neighbours' classes or by R2 and rank correlation of their 15 nearest neighbours' mean target,
    and writes model.npz, metrics.json and embedding.png. Ctrl-C ends the learning and keeps the
    best so far. With --encoder, a linear model is fitted on each of the three as well.
    """
    from nearfar.cli.commands.fit import Settings
    from nearfar.cli.commands.fit import fit as run
    from nearfar.cli.learn.settings import encoder_settings

    deep = encoder_settings(
        encoder,
        framework,
        max_iter,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        weight_decay=weight_decay,
        patience=patience,
        augmentation=augmentation,
        flip=flip,
        learn_temperature=learn_temperature,
        probe_labels=probe_labels,
        device=device,
        resume=resume,
    )
    settings = Settings(
        data,
        label,
        loss,
        components or (64 if deep else 8),
        temperature,
        tuple(field or ()),
        test_size,
        max_iter or 100,
        seed,
        deep,
        image_size,
    )
    run(settings, out)


@app.command()
def transform(
    model: Trained,
    data: Rows,
    out: Annotated[Path, typer.Option(metavar="FILE.npy", help="Where the embeddings go.")],
) -> None:
    """Write the embedding of every row as an array (rows, dimensions)."""
    from nearfar.cli.commands.apply import transform as run

    run(model, data, out)


@app.command()
def predict(
    model: Trained,
    data: Rows,
    out: Annotated[Path, typer.Option(metavar="FILE.csv", help="Where the predictions go.")],
) -> None:
    """Predict the label or target of every row by its neighbours among the rows of the fit.

    Writes row (from 0) and, by the 3 nearest, label and agreement: the share of them that have the
    label; or, by the 15 nearest, target: the mean of theirs.
    """
    from nearfar.cli.commands.apply import predict as run

    run(model, data, out)


@app.command()
def losses(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One loss, with its fields.")
    ] = None,
) -> None:
    """List every loss with its formula and source."""
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
    code = run(target, set_ or [], json, batches=batches, **options)
    raise typer.Exit(code)


@app.command()
def presets(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One implementation, with its traps.")
    ] = None,
) -> None:
    """List public implementations by the loss they equal, and how to move from one of them."""
    from rich.console import Console

    from nearfar.cli.commands.catalogue import show_preset, show_presets

    if name is None:
        show_presets(Console())
    else:
        show_preset(Console(), name)

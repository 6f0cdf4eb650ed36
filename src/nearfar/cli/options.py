"""The options of ``nearfar fit`` in groups, each declared once and carried as it is to its user."""

import inspect
import math
import shlex
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from typer.models import ArgumentInfo

from nearfar.cli.errors import BadInput

_TABLES = "Columns and holes of a table"
_ENCODER = "An encoder"

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Say nothing but warnings, errors and the result.")
]


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which rows, and which of them are held out."""

    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Rows with class labels or numeric targets: .npz with arrays X and y, or a table "
            "with --label: .csv, .tsv (also .gz, .bz2, .xz, .zip) or .parquet. Built in: digits, "
            "wine, breast_cancer (classes), diabetes (targets). Images: a folder with one folder "
            "per class, an MNIST *idx3-ubyte file, a CIFAR-10 .bin file, or a folder of either. To "
            "be downloaded: mnist-5k, trec, trec-fine, multiple-features (classes), hutto, "
            "hutto-tweets, hutto-amazon, hutto-nyt (targets). Or pairs of two kinds: .npz with "
            "arrays X and Y whose rows are matched, or a folder of images beside RIGHT.",
        ),
    ]
    right: Annotated[
        str | None,
        typer.Argument(
            metavar="RIGHT",
            show_default=False,
            help="A second folder of images: those of one file name in both are pairs.",
        ),
    ] = None
    label: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="The column of labels or targets in a table."),
    ] = None
    test: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Held-out rows, read as DATA. [default: a share of it]"),
    ] = None
    test_size: Annotated[
        float | None,
        typer.Option(
            help="Share held out, of each class or, with targets, of all rows; these need 16 rows "
            "or more to learn from, for 15 neighbours. [default: 0.3]"
        ),
    ] = None
    min_rows: Annotated[
        int | None,
        typer.Option(min=2, metavar="N", help="Leave out classes of fewer rows than N."),
    ] = None
    image_size: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Resize the images of a folder to N x N pixels, one side for all.",
        ),
    ] = None
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Chooses the held-out rows.")] = 0

    def __post_init__(self) -> None:
        if self.test is not None and self.test_size is not None:
            raise BadInput("--test names the held-out rows: leave --test-size out")
        if self.test_size is not None and not 0 < self.test_size < 1:
            raise BadInput(
                f"--test-size must lie between 0 and 1, received {self.test_size}; try 0.3"
            )


@dataclass(frozen=True, kw_only=True)
class ColumnOptions:
    """Which columns of a table are features, and what is done about holes."""

    features: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Only these columns, patterns such as 'x*' too; may be repeated. [default: all]",
            rich_help_panel=_TABLES,
        ),
    ] = None
    drop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Leave a column out, patterns too; may be repeated.",
            rich_help_panel=_TABLES,
        ),
    ] = None
    one_hot: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Make a column for each of its values; a pattern takes columns of text only, '*' "
            "all of them; may be repeated.",
            rich_help_panel=_TABLES,
        ),
    ] = None
    missing: Annotated[
        str | None,
        typer.Option(
            metavar="median|drop",
            help="Fill holes with the median of the training rows, or drop rows that have one; "
            "rows without a label are dropped. [default: refuse them]",
            rich_help_panel=_TABLES,
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.missing not in (None, "median", "drop"):
            raise BadInput(f"--missing '{self.missing}' is neither 'median' nor 'drop'; choose one")


@dataclass(frozen=True, kw_only=True)
class LossOptions:
    """By which loss."""

    loss: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A loss of (embeddings, labels), such as supcon, takes labels as classes; one of "
            "(embeddings, targets), supcr, as numbers; nearfar losses shows them. "
            "Of pairs clip or siglip. [default: supcr for diabetes and hutto, clip for pairs, else "
            "supcon]",
        ),
    ] = None
    temperature: Annotated[
        float | None,
        typer.Option(help="Lower: more weight on near rows. [default: the loss's own]"),
    ] = None
    field: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Any field of the loss; may be repeated. "
            "[default: similarity=neg_euclidean positives=log_sum for supcon]",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class LearningOptions:
    """What is learned, and when the learning ends."""

    components: Annotated[
        int | None,
        typer.Option(min=1, help="Dimensions to learn. [default: 8, 64 with --encoder]"),
    ] = None
    max_iter: Annotated[
        int | None,
        typer.Option(min=1, help="Iterations at most, without --encoder. [default: 100]"),
    ] = None
    alpha: Annotated[
        float | None,
        typer.Option(
            help="Weight of the penalty on noise, without --encoder: raise it (0.1, 1) where "
            "learned is below PCA. [default: 1e-05]"
        ),
    ] = None
    patience: Annotated[
        int,
        typer.Option(
            min=1,
            help="Epochs without a lower loss, or without --encoder iterations without a better "
            "score, on a tenth of the training rows, before the learning ends.",
        ),
    ] = 10

    def __post_init__(self) -> None:
        if self.alpha is not None and not 0 <= self.alpha < math.inf:
            raise BadInput(f"--alpha must be a finite number from 0 on, received {self.alpha}")


@dataclass(frozen=True, kw_only=True)
class EncoderOptions:
    """A network in place of a projection."""

    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="mlp|cnn",
            help="Learn a neural network in place of a projection; with it, losses of two views "
            "(ntxent, hcl, dcl, infonce, clip, siglip) and of proxies (proxyanchor, arcface, "
            "cosface, normalizedsoftmax, proxynca, softtriple) can be chosen too.",
            rich_help_panel=_ENCODER,
        ),
    ] = None
    framework: Annotated[
        str | None,
        typer.Option(help="Of the encoder: torch. [default: torch]", rich_help_panel=_ENCODER),
    ] = None
    epochs: Annotated[
        int, typer.Option(min=1, help="How often all rows are seen.", rich_help_panel=_ENCODER)
    ] = 30
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=4,
            help="Rows in a batch. [default: 32 to 256, for 8 steps an epoch]",
            rich_help_panel=_ENCODER,
        ),
    ] = None
    lr: Annotated[
        float, typer.Option(help="Learning rate of AdamW, with a cosine.", rich_help_panel=_ENCODER)
    ] = 1e-3
    weight_decay: Annotated[float, typer.Option(help="Of AdamW.", rich_help_panel=_ENCODER)] = 1e-4
    augmentation: Annotated[
        float | None,
        typer.Option(
            help="How strongly rows are changed: images turned, scaled and shifted, features "
            "replaced by those of other rows. [default: 1; 0 for labelled rows of features]",
            rich_help_panel=_ENCODER,
        ),
    ] = None
    flip: Annotated[
        bool, typer.Option("--flip", help="Mirror half of the images.", rich_help_panel=_ENCODER)
    ] = False
    learn_temperature: Annotated[
        bool,
        typer.Option(
            "--learn-temperature",
            help="Learn the temperature with the encoder.",
            rich_help_panel=_ENCODER,
        ),
    ] = False
    probe_labels: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Labels the linear probe learns from: so many of each class, or targets in all. "
            "[default: all]",
            rich_help_panel=_ENCODER,
        ),
    ] = None
    device: Annotated[str, typer.Option(help="PyTorch's name of it.", rich_help_panel=_ENCODER)] = (
        "cpu"
    )
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on from the last epoch that was completed in this folder, to the numbers of "
            "an unbroken run.",
            rich_help_panel=_ENCODER,
        ),
    ] = False

    def __post_init__(self) -> None:
        if self.encoder is None:
            for field in fields(self):
                if getattr(self, field.name) != field.default:
                    raise BadInput(
                        f"{option(field.name)} is an encoder's: add --encoder mlp or cnn, or leave "
                        "it out"
                    )
            return
        if self.encoder not in ("mlp", "cnn"):
            raise BadInput(f"--encoder '{self.encoder}' is neither 'mlp' nor 'cnn'; choose one")
        if self.framework not in (None, "torch"):
            raise BadInput(f"--framework '{self.framework}' has no encoders here; choose 'torch'")
        for name in ("lr", "weight_decay", "augmentation"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise BadInput(
                    f"{option(name)} must be a finite number from 0 on, received {value}"
                )
        if self.flip and self.encoder != "cnn":
            raise BadInput("--flip mirrors images, and needs --encoder cnn; leave it out")


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where the results go, and what is said."""

    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the results. [default: runs/NAME of DATA]"),
    ] = None
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another run in that folder.")
    ] = False
    picture: Annotated[
        str | None,
        typer.Option(
            metavar="pca|tsne|umap",
            help="How embedding.png is drawn: two principal components, or scikit-learn's t-SNE, "
            "or UMAP where umap-learn is installed. [default: pca]",
        ),
    ] = None
    log: Annotated[
        str,
        typer.Option(
            metavar="jsonl|tensorboard|wandb",
            help="Where every epoch or iteration goes: a line of log.jsonl, events in a folder "
            "tensorboard, or a run of wandb; the last two where they are installed.",
        ),
    ] = "jsonl"
    json: Json = False
    quiet: Quiet = False
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say the whole loss, field by field, too.")
    ] = False

    def __post_init__(self) -> None:
        if self.picture not in (None, "pca", "tsne", "umap"):
            raise BadInput(
                f"--picture '{self.picture}' is none of 'pca', 'tsne', 'umap'; choose one"
            )
        if self.log not in ("jsonl", "tensorboard", "wandb"):
            raise BadInput(
                f"--log '{self.log}' is none of 'jsonl', 'tensorboard', 'wandb'; choose one"
            )

    @property
    def layout(self) -> str:
        """How the picture is drawn."""
        return self.picture or "pca"


def command(*groups: Any) -> str:
    """Spell the command that gives these groups, what is the default left out."""
    words = ["nearfar", "fit"]
    for group in groups:
        hints = get_type_hints(type(group), include_extras=True)
        for field in fields(group):
            value = getattr(group, field.name)
            if any(isinstance(x, ArgumentInfo) for x in hints[field.name].__metadata__):
                words += [] if value is None else [value]
            elif value is True:
                words.append(option(field.name))
            elif value != field.default:
                for one in value if isinstance(value, list) else [value]:
                    words += [option(field.name), str(one)]
    return shlex.join(words)


def option(name: str) -> str:
    """Spell a field as its option."""
    return f"--{name.replace('_', '-')}"


def taking(*groups: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command of a function of option groups: a field of a group is an option."""

    def wrap(run: Callable[..., None]) -> Callable[..., None]:
        def command(**values: Any) -> None:
            run(*(group(**{f.name: values[f.name] for f in fields(group)}) for group in groups))

        hints = [get_type_hints(group, include_extras=True) for group in groups]
        parameters = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if field.default is MISSING else field.default,
                annotation=known[field.name],
            )
            for group, known in zip(groups, hints, strict=True)
            for field in fields(group)
        ]
        command.__name__, command.__doc__ = run.__name__, run.__doc__
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return command

    return wrap

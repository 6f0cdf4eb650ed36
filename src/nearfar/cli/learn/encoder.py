"""Learning an encoder: what the options choose, checkpoints, a line for every epoch."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from nearfar import __version__
from nearfar.cli.data.reading import LabelledData
from nearfar.cli.errors import BadInput, library_errors
from nearfar.cli.learn import checkpoint
from nearfar.cli.learn.maps import Encoded, Learned
from nearfar.cli.learn.settings import EncoderSettings
from nearfar.cli.learn.split import Split
from nearfar.cli.tasks import Task
from nearfar.losses import LabelledRows, RankedRows
from nearfar.torch.trainer.encoders import Architecture
from nearfar.torch.trainer.training import Epoch, Recipe, Rows, Training

_VALIDATION = 0.1  # of the training part
_LEAST_VALIDATION = 16  # rows; a loss of fewer says little


def learn_encoder(
    data: LabelledData,
    task: Task,
    parts: Split,
    loss: Any,
    components: int,
    seed: int,
    settings: EncoderSettings,
    out: Path,
) -> Learned:
    """Train the encoder; the first Ctrl-C ends it with the best epoch so far."""
    start = perf_counter()
    recipe = _recipe(loss, settings, seed)
    X = data.X.reshape(len(data.X), *data.shape)
    train = Rows(X[parts.train_rows], parts.train_y)
    with library_errors():
        architecture = Architecture(settings.encoder, data.shape, components)
        training = Training(
            architecture, loss, recipe, *_set_aside(train, task, seed), settings.device
        )
    statement = {
        "nearfar": __version__,
        "loss": loss.to_dict(),
        "encoder": architecture.to_dict(),
        **asdict(recipe),
        "data": _fingerprint(train, X[parts.held_out_rows], parts.held_out_y),
    }
    kept = checkpoint.read(out, statement) if settings.resume else None
    if kept is not None:
        training.restore(*kept)
        typer.echo(f"resuming after epoch {training.epoch} of {recipe.epochs}", err=True)
    else:
        before = out / checkpoint.NAME
        if before.exists():
            typer.echo(
                f"beginning anew: {before} is replaced; --resume would go on with it", err=True
            )
        checkpoint.write(out, statement, *training.state())
    interrupted = _run(
        training, lambda: checkpoint.write(out, statement, *training.state()), recipe.epochs
    )
    loss = training.take_best()
    learned = Encoded(training.encoder)
    return Learned(
        learned,
        learned.embed(train.X),
        learned.embed(X[parts.held_out_rows]),
        loss,
        perf_counter() - start,
        {
            "epochs": training.epoch,
            "best_epoch": training.best_epoch,
            "interrupted": interrupted,
            "augmentation": recipe.augmentation,
        },
    )


def _recipe(loss: Any, settings: EncoderSettings, seed: int) -> Recipe:
    two_views = not isinstance(loss, LabelledRows | RankedRows)
    augmentation = settings.augmentation
    if augmentation is None:
        augmentation = 1.0 if two_views or settings.encoder == "cnn" else 0.0
    if two_views and augmentation == 0:
        raise BadInput("--augmentation 0 makes both views of a row the same; raise it")
    return Recipe(
        settings.epochs,
        settings.batch_size,
        settings.lr,
        settings.weight_decay,
        settings.patience,
        augmentation,
        settings.flip,
        settings.learn_temperature,
        seed,
    )


def _set_aside(train: Rows, task: Task, seed: int) -> tuple[Rows, Rows | None]:
    """Keep a tenth of the training part for validation, where that is enough to say something."""
    order = np.random.default_rng(seed).permutation(len(train))
    count = round(_VALIDATION * len(train))
    kept, learned = np.sort(order[:count]), np.sort(order[count:])
    if count < _LEAST_VALIDATION or any(task.trouble(train.y[part]) for part in (kept, learned)):
        return train, None
    return Rows(train.X[learned], train.y[learned]), Rows(train.X[kept], train.y[kept])


def _run(training: Training, save: Callable[[], None], epochs: int) -> bool:
    """Train and tell of every epoch; whether Ctrl-C ended it."""
    console = Console(stderr=True)
    began, first = perf_counter(), training.epoch

    def after(epoch: Epoch) -> None:
        save()
        left = (perf_counter() - began) / (epoch.number - first) * (epochs - epoch.number)
        console.print(_line(epoch, epochs, left), highlight=False, soft_wrap=True)

    try:
        with console.status(f"learning, {epochs} epochs at most"):
            training.run(after)
    except FloatingPointError as error:
        raise BadInput(f"{error} (--lr, --temperature)") from error
    except KeyboardInterrupt:
        console.print(
            f"interrupted in epoch {training.epoch + 1} of {epochs}: going on with the best so "
            "far; --resume goes on with the learning",
            soft_wrap=True,
        )
        return True
    if training.epoch < epochs:
        console.print(
            f"no lower validation loss since epoch {training.best_epoch}: ended early",
            soft_wrap=True,
        )
    return False


def _line(epoch: Epoch, epochs: int, left: float) -> str:
    measures = {
        "loss": epoch.loss,
        "validation": epoch.validation,
        "temperature": epoch.temperature,
        "alignment": epoch.alignment,
        "uniformity": epoch.uniformity,
    }
    told = (f"{name} {value:.4g}" for name, value in measures.items() if value is not None)
    minutes, seconds = divmod(round(left), 60)
    return f"epoch {epoch.number}/{epochs}: {', '.join(told)}, {minutes}:{seconds:02d} left"


def _fingerprint(train: Rows, held_out_X: NDArray[Any], held_out_y: NDArray[Any]) -> str:
    """Tell data apart: a checkpoint goes with the rows it was trained on."""
    digest = hashlib.sha256()
    for array in (train.X, train.y, held_out_X, held_out_y):
        digest.update(repr((array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]

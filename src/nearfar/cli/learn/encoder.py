"""Learning an encoder: what the options choose, checkpoints, a line for every epoch."""

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console

from nearfar import __version__
from nearfar.cli.errors import BadInput, library_errors
from nearfar.cli.learn import checkpoint
from nearfar.cli.learn.maps import Encoded, Learned
from nearfar.cli.learn.split import Part, Split, set_aside
from nearfar.cli.options import EncoderOptions, LearningOptions
from nearfar.cli.report.log import Log
from nearfar.cli.report.voice import Voice, time_left
from nearfar.cli.tasks import Task
from nearfar.torch.trainer.encoders import Architecture
from nearfar.torch.trainer.training import Epoch, Recipe, Rows, Training, of_two_views

_STEPS = 8  # an epoch should have
_BATCH_SIZES = (32, 256)


def learn_encoder(
    parts: Split,
    task: Task,
    loss: Any,
    components: int,
    learning: LearningOptions,
    options: EncoderOptions,
    seed: int,
    out: Path,
    voice: Voice,
    log: Log,
) -> Learned:
    """Train the encoder; the first Ctrl-C ends it with the best epoch so far."""
    start = perf_counter()
    assert options.encoder is not None
    train, held_out = (_rows(part, parts.shape) for part in (parts.train, parts.held_out))
    rows, judging = set_aside(train.y, task, seed)
    recipe = _recipe(loss, options, learning.patience, len(rows), seed)
    with library_errors():
        architecture = Architecture(options.encoder, parts.shape, components)
        training = Training(
            architecture,
            loss,
            recipe,
            Rows(train.X[rows], train.y[rows]),
            Rows(train.X[judging], train.y[judging]) if len(judging) else None,
            options.device,
        )
    statement = {
        "nearfar": __version__,
        "loss": loss.to_dict(),
        "encoder": architecture.to_dict(),
        **asdict(recipe),
        "data": parts.fingerprint(),
    }
    history: list[dict[str, Any]] = []
    kept = checkpoint.read(out, statement) if options.resume else None
    if kept is None:
        checkpoint.write(out, statement, *training.state(), history)
    else:
        arrays, state, history = kept
        training.restore(arrays, state)
        for entry in history:
            log.step(entry)
        voice.say(f"resuming after epoch {training.epoch} of {recipe.epochs}")

    def after(done: Epoch) -> None:
        history.append(done._asdict())
        checkpoint.write(out, statement, *training.state(), history)
        log.step(history[-1])

    steps = max(1, len(rows) // recipe.batch_size)
    voice.say(f"batches of {min(recipe.batch_size, len(rows))} rows, {steps} steps an epoch")
    interrupted = _run(training, after, recipe.epochs, voice)
    loss = training.take_best()
    learned = Encoded(training.encoder)
    return Learned(
        learned,
        learned.embed(train.X),
        learned.embed(held_out.X),
        loss,
        perf_counter() - start,
        {
            "components": components,
            "batch_size": recipe.batch_size,
            "epochs": training.epoch,
            "best_epoch": training.best_epoch,
            "interrupted": interrupted,
            "augmentation": recipe.augmentation,
        },
        history,
    )


def _rows(part: Part, shape: tuple[int, ...]) -> Rows:
    return Rows(part.read.reshape(len(part), *shape), part.y)


def _recipe(loss: Any, options: EncoderOptions, patience: int, rows: int, seed: int) -> Recipe:
    two_views = of_two_views(loss)
    augmentation = options.augmentation
    if augmentation is None:
        augmentation = 1.0 if two_views or options.encoder == "cnn" else 0.0
    if two_views and augmentation == 0:
        raise BadInput("--augmentation 0 makes both views of a row the same; raise it")
    return Recipe(
        options.epochs,
        options.batch_size or _batch_size(rows),
        options.lr,
        options.weight_decay,
        patience,
        augmentation,
        options.flip,
        options.learn_temperature,
        seed,
    )


def _batch_size(rows: int) -> int:
    """A power of two that leaves enough steps an epoch, within bounds."""
    least, most = _BATCH_SIZES
    return max(least, min(most, 1 << int(math.log2(max(1, rows // _STEPS)))))


def _run(training: Training, save: Callable[[Epoch], None], epochs: int, voice: Voice) -> bool:
    """Train and tell of every epoch; whether Ctrl-C ended it."""
    console = Console(stderr=True, quiet=voice.quiet)
    began, first = perf_counter(), training.epoch

    def after(done: Epoch) -> None:
        save(done)
        left = (perf_counter() - began) / (done.epoch - first) * (epochs - done.epoch)
        console.print(_line(done, epochs, left), highlight=False, soft_wrap=True)

    try:
        with console.status(f"learning, {epochs} epochs at most"):
            training.run(after)
    except FloatingPointError as error:
        raise BadInput(f"{error} (--lr, --temperature)") from error
    except KeyboardInterrupt:
        voice.warn(
            f"interrupted in epoch {training.epoch + 1} of {epochs}: going on with the best so "
            "far; --resume goes on with the learning"
        )
        return True
    if training.epoch < epochs:
        voice.say(f"no lower validation loss since epoch {training.best_epoch}: ended early")
    return False


def _line(done: Epoch, epochs: int, left: float) -> str:
    measures = {
        "loss": done.loss,
        "validation": done.validation,
        "temperature": done.temperature,
        "alignment": done.alignment,
        "uniformity": done.uniformity,
    }
    told = (f"{name} {value:.4g}" for name, value in measures.items() if value is not None)
    return f"epoch {done.epoch}/{epochs}: {', '.join(told)}, {time_left(left)} left"

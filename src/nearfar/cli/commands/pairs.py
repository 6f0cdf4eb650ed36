"""``nearfar fit`` of pairs of two kinds: a projection of each side, recall@1 on held-out pairs."""

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.console import Console

from nearfar import __version__
from nearfar.cli.commands.earlier import check_free, remove_rest
from nearfar.cli.data.pairs import Pairs, holds_pairs, read_folders, read_pairs
from nearfar.cli.errors import BadInput
from nearfar.cli.files import claimed, staged
from nearfar.cli.learn.maps import metric_of
from nearfar.cli.learn.model import FORMAT
from nearfar.cli.learn.pairs import (
    LearnedPairs,
    Maps,
    PairSplit,
    Side,
    learn_pairs,
    split_pairs,
    split_pairs_by,
)
from nearfar.cli.learn.projection import COMPONENTS
from nearfar.cli.learn.split import TEST_SIZE
from nearfar.cli.options import (
    ColumnOptions,
    DataOptions,
    EncoderOptions,
    LearningOptions,
    LossOptions,
    OutputOptions,
    command,
    option,
)
from nearfar.cli.report.card import Card
from nearfar.cli.report.log import check_log, logged
from nearfar.cli.report.table import print_rows
from nearfar.cli.report.voice import Voice
from nearfar.cli.tasks.losses import loss_for_pairs
from nearfar.cli.tasks.pairs import MeasuredPairs, chance, recall
from nearfar.losses import key_of

_FILES = {
    "model.npz": "the two maps: a row x of X goes to "
    "(x - x_mean) / x_scale @ x_components.T + x_intercept, one of Y likewise by y_mean and so on",
    "embeddings.npz": "what they make of the pairs: train_x, train_y, held_out_x, held_out_y; "
    "train_rows and held_out_rows say which pairs these are, from 0, in the order of the file or "
    "of the images' names",
    "metrics.json": "every number, the options, the history of the learning",
    "README.md": "this card",
}

# What says something of rows of one kind only, and what to do in its place.
_OF_ROWS = {
    "label": "leave it out, pairs have no labels",
    "min_rows": "leave it out, pairs have no classes",
    "features": "leave it out, and save the features you want",
    "drop": "leave it out, and save the features you want",
    "one_hot": "leave it out, and save words as numbers",
    "missing": "leave it out, and save pairs without holes",
    "encoder": "leave it out for a projection of each side; two networks need a loop of your own",
    "picture": "leave it out, of pairs none is drawn",
}


def fit_pairs(
    data: DataOptions,
    columns: ColumnOptions,
    losses: LossOptions,
    learning: LearningOptions,
    encoder: EncoderOptions,
    output: OutputOptions,
) -> None:
    """Check everything, then learn, report and write; where a check fails nothing is written."""
    voice = Voice(output.quiet)
    _check_options(data.data, data, columns, encoder, output)
    check_log(output.log)
    loss = loss_for_pairs(data.data, losses)
    if data.right is None:
        pairs = read_pairs(data.data, data.image_size)
    else:
        pairs = read_folders(data.data, data.right, data.image_size)
    parts = _split(pairs, data)
    components = learning.components or COMPONENTS
    _check_components(components, parts.train)
    x, y = (Side.of(getattr(parts.train, side), f"{pairs.name}: {side.upper()}") for side in "xy")
    for name, count in pairs.repeated().items():
        voice.warn(
            f"{count} rows of {name} equal an earlier one: no map can tell their partners apart, "
            "which lowers R@1"
        )
    out = output.out or Path("runs") / pairs.name
    chosen = asdict(data) | asdict(losses) | asdict(learning)
    chosen |= {"fingerprint": parts.fingerprint()}
    with claimed(out), ExitStack() as ending:
        check_free(out, chosen, output.overwrite, resume=False)
        voice.say(_announced(pairs, loss, components))
        if output.verbose:
            voice.say(f"loss: {loss!r}, in full {loss.to_dict()}")
        log = ending.enter_context(logged(output.log, out, chosen, live=False))
        learned = learn_pairs(x, y, loss, components, learning, data.seed, voice, log)
        measured = _measured(learned, parts.held_out, metric_of(loss))
        report: dict[str, Any] = {name: row.report() for name, row in measured.items()}
        flat = {f"{name}/{k}": number for name, of in report.items() for k, number in of.items()}
        report["settings"] = {
            "temperature": learned.loss.temperature,
            "loss": learned.loss.to_dict(),
            **learned.outcome,
            "training_pairs": len(parts.train),
            "held_out_pairs": len(parts.held_out),
            "nearfar": __version__,
        }
        report["options"] = chosen
        report["history"] = learned.history
        text = json.dumps(report, indent=2)
        caption = _caption(len(parts.held_out), metric_of(loss))
        files = _FILES | log.files
        card = Card(
            name=f"{pairs.name}: {components} dimensions by {type(loss).__name__}",
            what=f"Two projections to {components} dimensions, of {_features(pairs)}",
            loss=learned.loss,
            data={
                "name": pairs.name,
                "pairs": f"{len(parts.train)} to learn from, {len(parts.held_out)} held out",
                "fingerprint": chosen["fingerprint"],
            },
            measured=measured,
            caption=f"On the held-out pairs. {caption}",
            command=command(data, columns, losses, learning, encoder, output),
            files=files,
        )
        with staged(out) as stage:
            _save(stage, learned, parts)
            (stage / "metrics.json").write_text(text + "\n", encoding="utf-8")
            (stage / "README.md").write_text(str(card), encoding="utf-8")
            log.finish(stage, flat)
        if output.overwrite:
            remove_rest(out, files)
    if output.json:
        typer.echo(text)
    else:
        title = f"{pairs.name}: {len(parts.held_out)} held-out pairs, {_features(pairs)}"
        print_rows(Console(), title, f"Gain: learned above pls. {caption}", measured)
        typer.echo(f"\nwrote {', '.join(files)} into {out}")
    after, before = measured["learned"].scores.mean, measured["pls"].scores.mean
    if after < before:
        alpha = learned.outcome["alpha"]
        other = "1" if alpha < 0.1 else "1e-5"
        voice.warn(
            f"learned is below pls in R@1, {after:.3f} against {before:.3f}; may help: --alpha "
            f"{other} ({alpha:g} now), other --components, or more pairs"
        )


def _check_options(source: str, *groups: Any) -> None:
    """Refuse what pairs have no use for."""
    for group in groups:
        for name in _OF_ROWS.keys() & vars(group).keys():
            if getattr(group, name) is not None:
                raise BadInput(
                    f"{option(name)} belongs to rows of one kind, and {source} holds pairs: "
                    f"{_OF_ROWS[name]}"
                )


def _split(pairs: Pairs, options: DataOptions) -> PairSplit:
    """The held-out pairs are those of ``--test``, or a share."""
    if options.test is None:
        size = TEST_SIZE if options.test_size is None else options.test_size
        return split_pairs(pairs, size, options.seed)
    if options.right is not None:
        raise BadInput(
            "--test names one file, and pairs of folders are in two: leave it out, --test-size "
            "holds a share out"
        )
    if not holds_pairs(options.test):
        raise BadInput(
            f"--test: {options.test} holds no pairs, and {options.data} does; give an .npz with "
            "arrays X and Y"
        )
    return split_pairs_by(pairs, read_pairs(options.test, None))


def _check_components(components: int, train: Pairs) -> None:
    (rows, of_x), of_y = train.x.shape, train.y.shape[1]
    for most, of in ((of_x, "features of X"), (of_y, "features of Y"), (rows, "training pairs")):
        if components > most:
            raise BadInput(
                f"--components {components} is more than the {most} {of}; pass {most} or fewer"
            )


def _features(pairs: Pairs) -> str:
    return f"X of {pairs.x.shape[1]:,} features and Y of {pairs.y.shape[1]:,}"


def _announced(pairs: Pairs, loss: Any, components: int) -> str:
    return (
        f"learning {components} dimensions of {pairs.name} ({len(pairs):,} pairs, "
        f"{_features(pairs)}) by {key_of(type(loss).__name__)} at temperature {loss.temperature:g}"
    )


def _measured(learned: LearnedPairs, held_out: Pairs, metric: str) -> dict[str, MeasuredPairs]:
    def row(maps: Maps, seconds: float) -> MeasuredPairs:
        x, y = maps[0].embed(held_out.x), maps[1].embed(held_out.y)
        return MeasuredPairs(recall(x, y, metric), x.shape[1], seconds)

    return {
        "chance": MeasuredPairs(chance(len(held_out))),
        "pls": row(learned.start, learned.start_seconds),
        "learned": row(learned.maps, learned.seconds),
    }


def _caption(held_out: int, metric: str) -> str:
    distances = "cosine" if metric == "cosine" else "Euclidean distance"
    return (
        f"R@1: the share of rows whose partner is the nearest, by {distances}, of the {held_out} "
        "on the other side. Chance: one guess. Pls: partial least squares, the singular vectors of "
        "the cross-covariance of the training pairs, where the learning starts."
    )


def _save(stage: Path, learned: LearnedPairs, parts: PairSplit) -> None:
    record = {
        "format": FORMAT,
        "nearfar": __version__,
        "kind": "pairs",
        "loss": learned.loss.to_dict(),
        "metric": metric_of(learned.loss),
    }
    arrays: dict[str, Any] = {
        f"{side}_{name}": array
        for side, found in zip("xy", learned.maps, strict=True)
        for name, array in found.arrays().items()
    }
    np.savez(stage / "model.npz", record=np.array(json.dumps(record)), **arrays)
    embedded: dict[str, Any] = {
        f"{part}_{side}": found.embed(getattr(pairs, side))
        for part, pairs in (("train", parts.train), ("held_out", parts.held_out))
        for side, found in zip("xy", learned.maps, strict=True)
    }
    embedded |= {"train_rows": parts.train_rows, "held_out_rows": parts.held_out_rows}
    np.savez(stage / "embeddings.npz", **embedded)

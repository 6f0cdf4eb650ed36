"""``nearfar fit``: learn on one part of the data, compare on the other, write what came out."""

import json
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import typer
from rich.console import Console
from sklearn.decomposition import PCA

from nearfar import __version__
from nearfar.cli.commands.earlier import check_free, remove_rest
from nearfar.cli.commands.pairs import fit_pairs
from nearfar.cli.commands.shown import shown
from nearfar.cli.data.pairs import holds_pairs
from nearfar.cli.data.reading import LabelledData, read_labelled
from nearfar.cli.errors import BadInput
from nearfar.cli.files import claimed, staged
from nearfar.cli.learn.maps import Learned, require_torch
from nearfar.cli.learn.model import Model
from nearfar.cli.learn.projection import COMPONENTS, learn_projection
from nearfar.cli.learn.split import Split, split, split_by
from nearfar.cli.options import (
    ColumnOptions,
    DataOptions,
    EncoderOptions,
    LearningOptions,
    LossOptions,
    OutputOptions,
    command,
)
from nearfar.cli.report.card import Card
from nearfar.cli.report.log import Log, check_log, logged
from nearfar.cli.report.page import write
from nearfar.cli.report.picture import Panel, check_layout, draw
from nearfar.cli.report.scores import Measured, Probe, Space
from nearfar.cli.report.table import print_table, verdict
from nearfar.cli.report.voice import Voice
from nearfar.cli.tasks import TASKS, Task
from nearfar.cli.tasks.classes import with_enough_rows
from nearfar.cli.tasks.losses import kind_of, loss_for
from nearfar.losses import key_of

_COMPONENTS_OF_ENCODER = 64

_FILES = {
    "model.npz": "the learned map; `nearfar transform`, `predict` and `evaluate` read it",
    "metrics.json": "every number, the options, the history of the learning",
    "embedding.png": "the held-out rows before and after",
    "report.html": "the same to look at in a browser, without a network",
    "README.md": "this card",
}


@dataclass(frozen=True)
class Options:
    """What the user chose, in groups."""

    data: DataOptions
    columns: ColumnOptions
    loss: LossOptions
    learning: LearningOptions
    encoder: EncoderOptions
    output: OutputOptions

    @property
    def deep(self) -> bool:
        return self.encoder.encoder is not None

    @property
    def components(self) -> int:
        usual = _COMPONENTS_OF_ENCODER if self.deep else COMPONENTS
        return self.learning.components or usual

    def chosen(self) -> dict[str, Any]:
        """Describe what decides the numbers, for metrics.json."""
        chosen = asdict(self.data) | asdict(self.columns) | asdict(self.loss)
        chosen |= asdict(self.learning)
        return chosen | asdict(self.encoder) if self.deep else chosen


def fit(*groups: Any) -> None:
    """Check everything, then learn, report and write; where a check fails nothing is written."""
    options = Options(*groups)
    if options.data.right is not None or holds_pairs(options.data.data):
        fit_pairs(*groups)
        return
    output = options.output
    voice = Voice(output.quiet)
    _check_together(options)
    loss = loss_for(options.data.data, options.loss, options.deep)
    data = _read(options, loss)
    task = TASKS[kind_of(loss, data)].of(data)
    for note in data.notes:
        voice.warn(note)
    parts = _split(data, task, options, voice)
    if not options.deep:
        _check_components(options.components, parts)
    out = output.out or Path("runs") / data.name
    described = options.chosen() | {"fingerprint": parts.fingerprint()}
    with claimed(out), ExitStack() as ending:
        check_free(out, described, output.overwrite, options.encoder.resume)
        voice.say(_announced(data, task, parts, loss, options.components))
        if output.verbose:
            voice.say(f"loss: {loss!r}, in full {loss.to_dict()}")
        log = ending.enter_context(logged(output.log, out, described, options.deep))
        learned = _learn(task, parts, loss, options, out, voice, log)
        spaces = _before(parts, options) | {"learned": learned.space()}
        measured = {}
        for name, space in spaces.items():
            voice.say(f"comparing: {name}, {space.held_out.shape[1]} dimensions")
            probe = _probe(task, space, parts, options) if options.deep else None
            scores = task.score(space, parts.train.y, parts.held_out.y)
            measured[name] = Measured(space, scores, probe)
        report: dict[str, Any] = {name: row.report() for name, row in measured.items()}
        report["settings"] = _outcome(learned, parts, task)
        report["options"] = described
        report["history"] = learned.history
        text = json.dumps(report, indent=2)
        held_out = f"{data.name}: {len(parts.held_out)} held-out rows"
        voice.say("drawing embedding.png")
        with staged(out) as stage:
            _model(learned, parts, task, data).save(stage / "model.npz")
            (stage / "metrics.json").write_text(text + "\n", encoding="utf-8")
            files = _FILES | log.files
            card = _card(data, task, parts, learned, measured, command(*groups), files)
            (stage / "README.md").write_text(str(card), encoding="utf-8")
            for note in draw(
                stage / "embedding.png",
                held_out,
                _panels(measured, learned.map.name),
                task.colouring(parts.held_out.y),
                output.layout,
                options.data.seed,
            ):
                voice.warn(note)
            voice.say("writing report.html")
            page = shown(data, task, parts, learned, measured, report["settings"], groups)
            write(stage / "report.html", page)
            log.finish(stage, _flat(measured))
        if output.overwrite:
            remove_rest(out, files)
    if output.json:
        typer.echo(text)
    else:
        caption = task.caption(len(parts.train))
        print_table(Console(), f"{held_out}, {task.summary()}", caption, measured)
        typer.echo(f"\n{verdict(measured)}")
        typer.echo(f"wrote {', '.join(files)} into {out}")
    worse = _below_pca(measured, learned, options)
    if worse:
        voice.warn(worse)


def _check_together(options: Options) -> None:
    """Refuse options that do not go together."""
    if options.deep:
        if options.learning.max_iter is not None:
            raise BadInput("--max-iter is a projection's: with --encoder give --epochs")
        if options.learning.alpha is not None:
            raise BadInput("--alpha is a projection's: with --encoder give --weight-decay")
    check_layout(options.output.layout)
    check_log(options.output.log)


def _read(options: Options, loss: Any) -> LabelledData:
    chosen = options.data
    data = read_labelled(
        chosen.data,
        chosen.label,
        options.columns,
        chosen.image_size,
        missing=options.columns.missing,
    )
    if chosen.min_rows is None:
        return data
    if kind_of(loss, data) != "labels":
        raise BadInput("--min-rows belongs to class labels; leave it out for numeric targets")
    return with_enough_rows(data, chosen.min_rows)


def _split(data: LabelledData, task: Task, options: Options, voice: Voice) -> Split:
    chosen, missing = options.data, options.columns.missing
    fill = missing == "median"
    if chosen.test is None:
        return split(data, task, chosen.test_size, chosen.seed, fill)
    test = read_labelled(
        chosen.test,
        chosen.label,
        data.columns or ColumnOptions(),
        chosen.image_size,
        data.shape,
        missing,
    )
    if chosen.min_rows is not None:
        known = np.isin(test.y, data.y)
        if not known.all():
            out = f"left out {(~known).sum()} of {len(known)} rows, of classes not learned"
            test = test.keep(known, out)
    for note in test.notes:
        voice.warn(f"--test: {note}")
    return split_by(data, task, test, fill)


def _check_components(components: int, parts: Split) -> None:
    rows, features = parts.train.X.shape
    for most, of in ((features, "features"), (rows, "training rows")):
        if components > most:
            raise BadInput(
                f"--components {components} is more than the {most} {of}; pass {most} or fewer"
            )


def _announced(data: LabelledData, task: Task, parts: Split, loss: Any, components: int) -> str:
    rows, features = parts.train.X.shape
    name, temperature = key_of(type(loss).__name__), loss.stated("temperature")
    at = "" if temperature is None else f" at temperature {temperature:g}"
    return (
        f"learning {components} dimensions of {data.name} ({rows:,} rows, {features:,} features, "
        f"{task.summary()}) by {name}{at}"
    )


def _learn(
    task: Task, parts: Split, loss: Any, options: Options, out: Path, voice: Voice, log: Log
) -> Learned:
    components, seed = options.components, options.data.seed
    if not options.deep:
        return learn_projection(parts, task, loss, components, options.learning, seed, voice, log)
    require_torch()
    from nearfar.cli.learn.encoder import learn_encoder  # it imports PyTorch

    return learn_encoder(
        parts, task, loss, components, options.learning, options.encoder, seed, out, voice, log
    )


def _before(parts: Split, options: Options) -> dict[str, Space]:
    start = perf_counter()
    X = parts.train.X
    pca = PCA(min(options.components, *X.shape), random_state=options.data.seed).fit(X)
    embedded = pca.transform(X), pca.transform(parts.held_out.X)
    return {
        "raw": Space(X, parts.held_out.X, "euclidean", 0.0),
        "pca": Space(*embedded, "euclidean", perf_counter() - start),
    }


def _probe(task: Task, space: Space, parts: Split, options: Options) -> Probe:
    rows = task.few(parts.train.y, options.encoder.probe_labels, options.data.seed)
    train = Space(space.train[rows], space.held_out, space.metric, space.seconds)
    return task.probe(train, parts.train.y[rows], parts.held_out.y)


def _model(learned: Learned, parts: Split, task: Task, data: LabelledData) -> Model:
    return Model(
        map=learned.map,
        reference=learned.train,
        predictor=task.predictor(parts.train.y),
        metric=learned.space().metric,
        loss=learned.loss.to_dict(),
        fill=parts.fill,
        columns=data.columns,
        left_out=data.left_out,
        label=data.label,
    )


def _outcome(learned: Learned, parts: Split, task: Task) -> dict[str, Any]:
    return {
        "temperature": getattr(learned.loss, "temperature", None),
        "loss": learned.loss.to_dict(),
        **learned.outcome,
        "training_rows": len(parts.train),
        "held_out_rows": len(parts.held_out),
        **task.settings(),
        "nearfar": __version__,
    }


def _flat(measured: dict[str, Measured]) -> dict[str, float]:
    return {f"{name}/{k}": x for name, row in measured.items() for k, x in row.report().items()}


def _card(
    data: LabelledData,
    task: Task,
    parts: Split,
    learned: Learned,
    measured: dict[str, Measured],
    made_by: str,
    files: dict[str, str],
) -> Card:
    rows, features = parts.train.X.shape
    dimensions = measured["learned"].dimensions
    return Card(
        name=f"{data.name}: {dimensions} dimensions by {type(learned.loss).__name__}",
        what=f"The {learned.map.name} of {features} features to {dimensions} dimensions",
        loss=learned.loss,
        data={
            "name": data.name,
            "rows": f"{rows} to learn from, {len(parts.held_out)} held out",
            "kind": task.summary(),
            "fingerprint": parts.fingerprint(),
        },
        measured=measured,
        caption=f"On the held-out rows. {task.caption(rows)}",
        command=made_by,
        files=files,
    )


def _panels(measured: dict[str, Measured], what_learned: str) -> list[Panel]:
    """As many dimensions of PCA and of the learned map, each with what it scores first of all."""
    raw, pca, learned = (measured[name] for name in ("raw", "pca", "learned"))
    (what, before), of_all = pca.scores.headline(), raw.scores.headline()[1]
    after = learned.scores.headline()[1]
    return [
        Panel(
            f"before: PCA, {pca.dimensions} dimensions\n{what} {before:.3f} (all {raw.dimensions} "
            f"features: {of_all:.3f})",
            pca.space,
        ),
        Panel(
            f"after: learned {what_learned}, {learned.dimensions} dimensions\n{what} {after:.3f}",
            learned.space,
        ),
    ]


def _below_pca(measured: dict[str, Measured], learned: Learned, options: Options) -> str | None:
    """Say what may help where learning gained nothing."""
    what, after = measured["learned"].scores.headline()
    before = measured["pca"].scores.headline()[1]
    if after >= before:
        return None
    if options.deep:
        remedy = "more rows, fewer --epochs, more --weight-decay, or a projection (no --encoder)"
    else:
        alpha = learned.outcome["alpha"]
        other = "1" if alpha < 0.1 else "1e-5"
        remedy = f"--alpha {other} ({alpha:g} now), other --components, or more rows"
    return f"learned is below PCA in {what}, {after:.3f} against {before:.3f}; may help: {remedy}"

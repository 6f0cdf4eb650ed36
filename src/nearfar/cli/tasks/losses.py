"""Which loss: by name with its fields, by default what fits the data."""

import json
from dataclasses import fields as dataclass_fields
from typing import Any

from nearfar.cli.data.reading import BUILT_IN, LabelledData
from nearfar.cli.errors import BadInput, library_errors, listed, nearest
from nearfar.cli.options import LossOptions
from nearfar.losses import (
    LOSSES,
    AgainstProxies,
    LabelledRows,
    Loss,
    Queries,
    RankedRows,
    TwoSides,
    TwoViews,
    key_of,
)

# What rows are told apart by: the losses of it, and the default one.
_FAMILIES: dict[str, tuple[type[Loss], ...]] = {
    "labels": (LabelledRows, AgainstProxies),
    "targets": (RankedRows,),
}
_KINDS = {"labels": ("class labels", "supcon"), "targets": ("numeric targets", "supcr")}

# What can be called with two views of the same rows, which an encoder's augmentations give.
TWO_VIEWS = [key for key, loss in LOSSES.items() if issubclass(loss, TwoViews | TwoSides | Queries)]

# What pairs of two kinds, with a map of each, are learned by.
PAIRS = [key for key, loss in LOSSES.items() if issubclass(loss, TwoSides)]

# The projection is judged by its nearest neighbours, so distances are what it learns from, and an
# anchor needs some of its class near it and not all: the form that Neighbourhood Components
# Analysis has. The library's defaults stay those of the papers. SupCR's are of distances already.
_FOR_NEIGHBOURS = {"supcon": {"similarity": "neg_euclidean", "positives": "log_sum"}}


def losses_of(kind: str, encoder: bool = False) -> list[str]:
    """Name the losses of rows with "labels" or "targets"; an encoder may have proxies beside it."""
    families = tuple(f for f in _FAMILIES[kind] if encoder or f is not AgainstProxies)
    return [key for key, loss in LOSSES.items() if issubclass(loss, families)]


def option_for(kind: str) -> str:
    """Spell the option that chooses a loss of this kind of rows."""
    return " or ".join(f"--loss {key}" for key in losses_of(kind))


def kind_of(loss: Any, data: LabelledData) -> str:
    """Tell whether rows are told apart by "labels" or "targets": by the loss, or as they look."""
    for kind, families in _FAMILIES.items():
        if isinstance(loss, families):
            return kind
    return BUILT_IN.get(data.name) or ("targets" if data.y.dtype.kind == "f" else "labels")


def loss_for(source: str, options: LossOptions, encoder: bool) -> Any:
    """Make the loss that the options ask for on these data.

    An ``encoder`` can also be learned by a loss of two views, and by the losses' own defaults.
    """
    name, declared = options.loss, BUILT_IN.get(source)
    key = _KINDS[declared or "labels"][1] if name is None else key_of(name)
    if not (encoder and key in TWO_VIEWS):
        _check_fits(key, source, declared, encoder)
    return _made(key, options, {} if encoder else dict(_FOR_NEIGHBOURS.get(key, {})))


def loss_for_pairs(source: str, options: LossOptions) -> Any:
    """Make the loss that the options ask for of pairs of two kinds, CLIP by default."""
    key = "clip" if options.loss is None else key_of(options.loss)
    if key not in PAIRS:
        problem = (
            f"is called with {', '.join(LOSSES[key].inputs)}" if key in LOSSES else "is unknown"
        )
        raise BadInput(
            f"--loss '{key}' {problem}, and {source} holds pairs: choose one of "
            f"{listed(PAIRS)}, or give rows with labels"
        )
    loss = _made(key, options, {})
    if any(text.startswith("same=") for text in options.field or ()):
        raise BadInput(
            "--field same says what rows of one id are, and pairs have none; leave it out"
        )
    if loss.similarity == "dot":
        raise BadInput(
            "--field similarity=dot: R@1 of pairs is measured by cosines or Euclidean distances; "
            "choose 'cosine', 'neg_euclidean' or 'neg_sqeuclidean'"
        )
    return loss


def _made(key: str, options: LossOptions, given: dict[str, Any]) -> Any:
    """Make a loss of the options' fields over those given."""
    temperature = options.temperature
    with library_errors("--field: "):
        given |= dict(_field(LOSSES[key], text) for text in options.field or ())
        loss = LOSSES[key](**given)
    if temperature is None:
        return loss
    with library_errors("--temperature: "):
        return LOSSES[key](**given | {"temperature": temperature})


def _check_fits(key: str, source: str, declared: str | None, encoder: bool) -> None:
    """Refuse a loss of something else than labelled rows, or not of a built-in set's kind."""
    kinds = [declared] if declared else list(_KINDS)
    if any(key in losses_of(kind, encoder) for kind in kinds):
        return
    if key not in LOSSES:
        problem = f"is unknown{nearest(key, LOSSES)}"
    elif key in losses_of("labels", encoder) + losses_of("targets", encoder):
        needed, held = (_KINDS[kind][0] for kind in (_needed(key), kinds[0]))
        problem = f"needs {needed}, and {source} has {held}"
    elif key in TWO_VIEWS:
        problem = "compares two views, and needs --encoder mlp or cnn"
        if key in PAIRS:
            problem += ", or pairs as DATA"
    elif key in losses_of("labels", encoder=True):
        problem = "learns proxies of the classes, and needs --encoder mlp or cnn"
    else:
        problem = f"is called with {', '.join(LOSSES[key].inputs)}"
    fitting = {_KINDS[kind][0]: losses_of(kind, encoder) for kind in kinds}
    if encoder:
        fitting["two views"] = TWO_VIEWS
    choices = ", or for ".join(f"{what}: {listed(losses)}" for what, losses in fitting.items())
    raise BadInput(f"--loss '{key}' {problem}; choose one for {choices}")


def _needed(key: str) -> str:
    return next(kind for kind in _FAMILIES if key in losses_of(kind, encoder=True))


def _field(loss: Any, text: str) -> tuple[str, Any]:
    """NAME=VALUE as a field of a loss; values as in JSON, or words as they are."""
    name, equals, value = text.partition("=")
    known = [f.name for f in dataclass_fields(loss)]
    if not equals or name not in known:
        raise BadInput(
            f"--field '{text}' is not NAME=VALUE with a field of {loss.__name__}: {listed(known)}"
        )
    try:
        return name, json.loads(value.lower() if value in ("True", "False") else value)
    except json.JSONDecodeError:
        return name, value

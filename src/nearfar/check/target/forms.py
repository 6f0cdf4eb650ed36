"""Call forms: how the same batch is handed to a function."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nearfar.check.batches import Batch

Inputs = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Form:
    """A way to be called: `give` makes the arguments, `take` finds the parts in their gradients."""

    name: str
    kind: str
    text: str
    give: Callable[[Batch], Inputs]
    take: Callable[[Inputs], Inputs]
    hints: tuple[str, ...] = ()
    """What the names of such a function's parameters begin with, in order."""
    arguments: tuple[str, ...] = ("a", "b")
    """What they are called where they have no names."""
    inputs: str = "{0}, {1}"
    """What a loss of nearfar takes, made of the arguments."""
    embedded: tuple[int, ...] = ()
    """Numbers of the arguments that are embeddings, where the kind does not say."""

    def embeddings(self, inputs: Inputs) -> tuple[int, ...]:
        """Numbers of the arguments that are embeddings."""
        if self.embedded:
            return self.embedded
        return (0,) if self.kind in _WITH_FACTS else tuple(range(len(inputs)))


_WITH_FACTS = ("labels", "labelled_views", "targets", "target_views")

OF_VIEWS = ("labelled_views", "target_views")
"""Kinds whose rows 2i and 2i + 1 are two views of an object, which is one row of the call."""


def _parts(batch: Batch) -> Inputs:
    return batch.parts


def _same(given: Inputs) -> Inputs:
    return given


def _first(given: Inputs) -> Inputs:
    return given[:1]


def _facts_last(batch: Batch) -> Inputs:
    return (batch.parts[0], _facts(batch))


def _facts_first(batch: Batch) -> Inputs:
    return (_facts(batch), batch.parts[0])


def _facts_between(batch: Batch) -> Inputs:
    return (batch.parts[0], _facts(batch), batch.parts[1])


def _around(given: Inputs) -> Inputs:
    return given[0], given[2]


def _sides_and_facts(batch: Batch) -> Inputs:
    return (*batch.parts, _facts(batch))


def _two(given: Inputs) -> Inputs:
    return given[:2]


def _views_and_facts(batch: Batch) -> Inputs:
    return (*_apart(batch.parts), _facts(batch)[::2])


def _facts(batch: Batch) -> np.ndarray:
    assert batch.facts is not None
    return batch.facts


def _column(facts: np.ndarray) -> np.ndarray:
    return facts if facts.ndim == 2 else facts[:, None]


def _pairs(batch: Batch) -> np.ndarray:
    x = batch.parts[0]
    return x.reshape(len(x) // 2, 2, x.shape[1])


def _unpair(given: Inputs) -> Inputs:
    return (given[0].reshape(-1, given[0].shape[-1]),)


def _in_turn(given: Inputs) -> Inputs:
    return (np.stack(given[:2], axis=1).reshape(-1, given[0].shape[1]),)


def _apart(given: Inputs) -> Inputs:
    """Undo `_in_turn`."""
    return given[0][0::2], given[0][1::2]


def _halves(given: Inputs) -> Inputs:
    n = len(given[0]) // 2
    return given[0][:n], given[0][n:]


FORMS = {
    form.name: form
    for form in (
        Form("views", "views", "two views (N, d)", _parts, _same),
        Form("labels", "labels", "embeddings (n, d), labels (n,)", _facts_last, _first,
             ("", "label|target|y|class"),
             arguments=("z", "labels")),
        Form("targets", "targets", "embeddings (n, d), targets (n,)", _facts_last, _first,
             ("", "target|value|y|age|label"),
             arguments=("z", "targets")),
        Form("queue", "queue", "query (N, d), key (N, d), queue (K, d)", _parts, _same,
             ("", "", "queue|neg|bank|mem"),
             arguments=("query", "key", "queue"), inputs="{0}, {1}, {2}"),
        Form("triplets", "triplets", "anchor, positive, negative, each (N, d)", _parts, _same,
             ("anchor|a", "pos|p", "neg|n"),
             arguments=("anchor", "positive", "negative"), inputs="{0}, {1}, {2}"),
        Form("negatives", "own", "query (N, d), key (N, d), negatives (N, K, d)", _parts, _same,
             ("", "", "neg"),
             arguments=("query", "key", "negatives"), inputs="{0}, {1}, {2}"),
        Form("rows", "rows", "embeddings (n, d) alone", _parts, _same,
             arguments=("z",), inputs="{0}"),
        Form("stacked", "views", "both views stacked, (N, 2, d)",
             lambda b: (np.stack(b.parts, axis=1),), lambda g: (g[0][:, 0], g[0][:, 1]),
             arguments=("views",), inputs="{0}[:, 0], {0}[:, 1]"),
        Form("concatenated", "views", "one view below the other, (2N, d)",
             lambda b: (np.concatenate(b.parts),), _halves,
             arguments=("z",), inputs="{0}[: len({0}) // 2], {0}[len({0}) // 2 :]"),
        Form("interleaved", "views", "rows of both views in turn, (2N, d)",
             lambda b: _in_turn(b.parts), _apart,
             arguments=("z",), inputs="{0}[0::2], {0}[1::2]"),
        Form("labels_first", "labels", "labels (n,), embeddings (n, d)", _facts_first,
             lambda g: g[1:], ("label|target|y", ""),
             arguments=("labels", "z"), inputs="{1}, {0}", embedded=(1,)),
        Form("targets_first", "targets", "targets (n,), embeddings (n, d)", _facts_first,
             lambda g: g[1:], ("target|value|y|label", ""),
             arguments=("targets", "z"), inputs="{1}, {0}", embedded=(1,)),
        Form("stacked_labels", "labelled_views", "stacked views (N, 2, d), labels (N,)",
             lambda b: (_pairs(b), _facts(b)[::2]), _unpair, ("", "label|target|y"),
             arguments=("views", "labels"), inputs="*nf.flatten_views({0}, {1})"),
        Form("target_columns", "targets", "embeddings (n, d), targets (n, 1)",
             lambda b: (b.parts[0], _column(_facts(b))), _first,
             ("", "target|value|y|age|label"),
             arguments=("z", "targets"), inputs="{0}, {1}[:, 0]"),
        Form("stacked_targets", "target_views", "stacked views (N, 2, d), targets (N,)",
             lambda b: (_pairs(b), _facts(b)[::2]), _unpair, ("", "target|value|y|age|label"),
             arguments=("views", "targets"), inputs="*nf.flatten_views({0}, {1})"),
        Form("stacked_target_columns", "target_views", "stacked views (N, 2, d), targets (N, 1)",
             lambda b: (_pairs(b), _column(_facts(b)[::2])), _unpair,
             ("", "target|value|y|age|label"),
             arguments=("views", "targets"), inputs="*nf.flatten_views({0}, {1}[:, 0])"),
        Form("queue_columns", "queue", "query (N, d), key (N, d), queue (d, K)",
             lambda b: (*b.parts[:2], b.parts[2].T), lambda g: (*g[:2], g[2].T),
             ("", "", "queue|neg|bank|mem"),
             arguments=("query", "key", "queue"), inputs="{0}, {1}, {2}.T"),
        Form("proxies", "proxies", "embeddings (n, d), labels (n,), proxies (C, d)",
             _facts_between, _around,
             ("", "label|target|y", "prox|w|cent|proto"),
             arguments=("z", "labels", "proxies"), inputs="{0}, {1}, {2}", embedded=(0, 2)),
        Form("proxies_second", "proxies", "embeddings (n, d), proxies (C, d), labels (n,)",
             _sides_and_facts, _two,
             ("", "prox|w|cent|proto", "label|target|y"),
             arguments=("z", "proxies", "labels"), inputs="{0}, {2}, {1}", embedded=(0, 1)),
        Form("proxy_columns", "proxies", "embeddings (n, d), labels (n,), proxies (d, C)",
             lambda b: (b.parts[0], _facts(b), b.parts[1].T), lambda g: (g[0], g[2].T),
             ("", "label|target|y", "prox|w|cent|proto"),
             arguments=("z", "labels", "proxies"), inputs="{0}, {1}, {2}.T", embedded=(0, 2)),
        Form("centres", "centres", "embeddings (n, d), labels (n,), centres (C, K, d)",
             _facts_between, _around,
             ("", "label|target|y", "prox|w|cent|proto"),
             arguments=("z", "labels", "centres"), inputs="{0}, {1}, {2}", embedded=(0, 2)),
        Form("ids", "ids", "two sides (N, d), ids (N,)",
             _sides_and_facts, _two,
             ("", "", "id|label|group|candidate|index"),
             arguments=("x", "y", "ids"), inputs="{0}, {1}, ids={2}", embedded=(0, 1)),
        Form("guided", "guided", "two sides (N, d), a guide's two sides (N, e)",
             lambda b: (*b.parts, *b.more), _two,
             ("", "", "guide|teacher|g", ""),
             arguments=("x", "y", "guide_x", "guide_y"),
             inputs="{0}, {1}, guide=({2}, {3})", embedded=(0, 1)),
        Form("guided_negatives", "guided_own",
             "query (N, d), key (N, d), negatives (N, K, d), a guide's of all three",
             lambda b: (*b.parts, *b.more), lambda g: g[:3],
             ("", "", "neg", "guide|teacher|g", "", ""),
             arguments=("query", "key", "negatives", "guide_query", "guide_key", "guide_negatives"),
             inputs="{0}, {1}, {2}, guide=({3}, {4}, {5})", embedded=(0, 1, 2)),
        Form("reference", "reference",
             "embeddings (n, d), labels (n,), reference (m, d), its labels (m,)",
             lambda b: (*_facts_between(b), *b.more), _around,
             ("", "label|target|y", "ref|mem|queue|bank", ""),
             arguments=("z", "labels", "reference", "reference_labels"),
             inputs="{0}, {1}, {2}, {3}", embedded=(0, 2)),
        Form("weights", "matrix", "embeddings (n, d), weights of pairs (n, n)", _facts_last, _first,
             ("", "weight|w|mask|soft|target|label"),
             arguments=("z", "weights"), embedded=(0,)),
        Form("marks", "marks", "embeddings (n, d), labels of 0 and 1 (n, c)", _facts_last, _first,
             ("", "label|target|y|mark|multi"),
             arguments=("z", "labels"), embedded=(0,)),
        Form("frozen", "frozen", "embeddings (n, d), frozen embeddings (n, e)", _facts_last, _first,
             ("", "guide|frozen|text|teacher|target"),
             arguments=("z", "frozen"), embedded=(0,)),
        Form("views_and_targets", "target_views", "two views (N, d), targets (N,)",
             _views_and_facts, _in_turn,
             ("", "", "target|value|y|age|label"), arguments=("a", "b", "targets"),
             inputs="*nf.flatten_views(np.stack([{0}, {1}], 1), {2})", embedded=(0, 1)),
        Form("views_and_labels", "labelled_views", "two views (N, d), labels (N,)",
             _views_and_facts, _in_turn,
             ("", "", "label|target|y"), arguments=("a", "b", "labels"),
             inputs="*nf.flatten_views(np.stack([{0}, {1}], 1), {2})", embedded=(0, 1)),
        Form("scored", "scored", "two sides (N, d), targets (N,)",
             _sides_and_facts, _two,
             ("", "", "target|score|y|label|sim"),
             arguments=("x", "y", "targets"), inputs="{0}, {1}, {2}", embedded=(0, 1)),
        Form("scored_in_turn", "scored", "both sides' rows in turn (2N, d), targets (N,)",
             lambda b: (*_in_turn(b.parts), _facts(b)), _apart, ("", "target|score|y|label|sim"),
             arguments=("z", "targets"), inputs="{0}[0::2], {0}[1::2], {1}", embedded=(0,)),
    )
}  # fmt: skip
"""In the order in which they are tried."""


def by_names(names: list[str]) -> list[Form]:
    """All forms, first those whose hints the names of the parameters bear out."""
    return sorted(FORMS.values(), key=lambda form: -_fit(form, [n.lower() for n in names]))


def _fit(form: Form, names: list[str]) -> int:
    if len(names) < len(form.hints):
        return 0
    scores: list[Any] = [
        bool(hint) and any(name.lstrip("_").startswith(h) for h in hint.split("|"))
        for hint, name in zip(form.hints, names, strict=False)
    ]
    wanted = [bool(hint) for hint in form.hints]
    return sum(scores) if scores == wanted else 0

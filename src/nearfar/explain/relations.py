"""Who is compared with whom in a batch: anchors, candidates, and what they are to each other."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import singledispatch
from math import prod
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from nearfar.evaluate import Threshold
from nearfar.frameworks import Block, Namespace, namespace_of
from nearfar.losses import (
    AgainstProxies,
    Composed,
    GivenPairs,
    GivenTriplets,
    GradedRows,
    LabelledRows,
    Loss,
    Queries,
    RankedRows,
    RowsAlone,
    ScoredPairs,
    TwoSides,
    TwoViews,
    ViewsAlone,
)
from nearfar.similarity import SIMILARITIES, Rows, Similarity

Array = np.ndarray
Masks = Callable[[Array, Array], tuple[Array, Array]]
"""Positives and negatives (b, m) from the numbers of anchors (b, 1) and candidates (1, m)."""
Reasons = Mapping[str, Callable[[Array, Array], Array]]
"""Which of those negatives (b, m) are left out, by the reason."""


@dataclass(frozen=True)
class Side:
    """Rows (n, d) as the user named them: one name, or several arrays one after the other."""

    rows: Array
    names: tuple[str, ...]
    starts: tuple[int, ...]

    @classmethod
    def of(cls, **arrays: Array) -> "Side":
        # A reference or a queue may have no rows yet.
        flat = [x.reshape(-1, prod(x.shape[1:])) for x in arrays.values()]
        starts = np.cumsum([0, *(len(x) for x in flat[:-1])])
        return cls(np.concatenate(flat), tuple(arrays), tuple(starts.tolist()))

    def name(self, k: int) -> str:
        at = int(np.searchsorted(self.starts, k, side="right")) - 1
        return f"{self.names[at]}[{k - self.starts[at]}]"


@dataclass(frozen=True)
class Relations:
    anchors: Side
    candidates: Side
    masks: Masks
    order: Array
    """Anchors so that those of a kind are neighbours, for pictures."""
    same_rows: bool
    """Whether anchors and candidates are the same rows in the same order."""
    similarity: Similarity
    temperature: float
    labels: Array | None
    reasons: Reasons
    exclusion: "Exclusion | None"

    def blocks(self, memory: int, order: Array | None = None) -> Iterator["Tile"]:
        """Logits and masks of all pairs, a block of anchors at a time."""
        ns = namespace_of([("rows", self.anchors.rows)])
        order = np.arange(len(self.anchors.rows)) if order is None else order
        given = self.anchors.rows, self.candidates.rows
        sides = _prepared(ns, self.similarity, given, self.temperature, order)
        guides = None
        if self.exclusion is not None and self.exclusion.guide is not None:
            guides = _prepared(ns, _OF_GUIDES, self.exclusion.guide, 1.0, order)
        columns = np.arange(len(self.candidates.rows))
        # Logits, a guide's, masks, and some six arrays made of them.
        side = max(1, memory // (8 * 9 * max(1, len(columns))))
        for start in range(0, len(order), side):
            rows = order[start : start + side]
            block = Block(start, len(rows))
            i, j = rows[:, None], columns[None, :]
            positives, negatives = self.masks(i, j)
            left_out = {}
            for reason, mask in self.reasons.items():
                left_out[reason] = negatives & mask(i, j)
                negatives = negatives & ~left_out[reason]
            with ns.scratch() as scratch, ns.scratch() as beside:
                first = sides[0].block(ns, block)
                logits = self.similarity.tile(ns, first, sides[1], None, scratch).logits
                if self.exclusion is not None:
                    g = logits
                    if guides is not None:
                        seen = guides[0].block(ns, block)
                        g = _OF_GUIDES.tile(ns, seen, guides[1], None, beside).logits
                    near = self.exclusion.near(ns, g, positives, self.temperature)
                    left_out["exclude"] = negatives & near
                    negatives = negatives & ~near
                yield Tile(rows, logits, positives, negatives, left_out)


@dataclass(frozen=True)
class Tile:
    rows: Array
    logits: Array
    positives: Array
    negatives: Array
    left_out: dict[str, Array]
    """Pairs that would be negatives, by the reason why they are none; each has one."""


class Exclusion(NamedTuple):
    """Leaves out the negatives that are as near as the positives, see `nearfar.Exclude`."""

    threshold: Threshold
    guide: tuple[Array, Array] | None
    """A guide's rows of the anchors and of the candidates; None: the loss's similarity tells."""

    def near(self, ns: Namespace, g: Array, positives: Array, temperature: float) -> Array:
        theta = np.where(positives, g, np.inf).min(axis=1, initial=np.inf)
        over: Array = g > self.threshold.over(ns, theta, temperature)[:, None]
        return over


_OF_GUIDES = SIMILARITIES["cosine"]


def _prepared(
    ns: Namespace,
    similarity: Similarity,
    rows: tuple[Array, Array],
    temperature: float,
    order: Array,
) -> tuple[Rows, Rows]:
    """Both sides made ready, the first in this order."""
    first, last = similarity.prepare(ns, rows, temperature)
    changes = {
        key: value[order]
        for key, value in first._asdict().items()
        if isinstance(value, np.ndarray) and value.ndim
    }
    return first._replace(**changes), last


def relate(loss: Loss, arrays: dict[str, Array]) -> Relations:
    """Sort out a batch by the family of its loss."""
    found: _Related = _related(loss, arrays)
    candidates = found.anchors if found.candidates is None else found.candidates
    return Relations(
        found.anchors,
        candidates,
        found.masks,
        found.order,
        found.candidates is None,
        loss.comparison,
        loss.stated("temperature", 1.0),
        arrays.get("labels"),
        found.reasons,
        _exclusion(loss, arrays, (found.anchors, candidates)),
    )


def _exclusion(loss: Loss, arrays: dict[str, Array], sides: tuple[Side, Side]) -> Exclusion | None:
    exclude = loss.stated("exclude")
    if exclude is None:
        return None
    threshold = Threshold(exclude.by, exclude.margin, exclude.kind)
    if exclude.by == "self":
        return Exclusion(threshold, None)
    given = [name for name in loss.embeddings if name in arrays]
    guides = {name: arrays[f"guide.{k}"] for k, name in enumerate(given)}
    guides = {name: x.reshape(-1, x.shape[-1]) for name, x in guides.items()}
    anchors, candidates = (Side.of(**{x: guides[x] for x in side.names}).rows for side in sides)
    return Exclusion(threshold, (anchors, candidates))


class _Related(NamedTuple):
    anchors: Side
    candidates: Side | None
    """None: the anchors."""
    masks: Masks
    order: Array
    reasons: Reasons = MappingProxyType({})


@singledispatch
def _related(loss: Loss, arrays: dict[str, Array]) -> _Related:
    raise TypeError(
        f"expected a loss of a family that can be explained; received {type(loss).__name__} of "
        f"{loss.family.__name__}"
    )


@_related.register
def _views(loss: TwoViews, arrays: dict[str, Array]) -> _Related:
    n, ids = len(arrays["a"]), arrays.get("ids")
    views = {name: arrays[name] for name in ("a", "b")}

    def masks(i: Array, j: Array) -> tuple[Array, Array]:
        return (i % n == j % n) & (i != j), i % n != j % n

    reasons: Reasons = {}
    if ids is not None and loss.stated("same", "ignore") == "ignore":
        reasons = {"ids": lambda i, j: ids[i % n] == ids[j % n]}
    if loss.stated("anchors") == "first":
        return _Related(Side.of(a=arrays["a"]), Side.of(**views), masks, np.arange(n), reasons)
    # Each pair side by side.
    order = np.arange(2 * n).reshape(2, n).T.ravel()
    return _Related(Side.of(**views), None, masks, order, reasons)


@_related.register
def _proxies(loss: AgainstProxies, arrays: dict[str, Array]) -> _Related:
    labels, proxies = arrays["labels"], arrays["proxies"]
    centres = proxies.shape[1] if proxies.ndim == 3 else 1

    def masks(i: Array, j: Array) -> tuple[Array, Array]:
        own = labels[i] == j // centres
        return own, ~own

    candidates = Side.of(proxies=proxies.reshape(-1, proxies.shape[-1]))
    order = np.argsort(labels, kind="stable")
    return _Related(Side.of(embeddings=arrays["embeddings"]), candidates, masks, order)


@_related.register
def _composed(loss: Composed, arrays: dict[str, Array]) -> _Related:
    found: _Related = _related(loss.first, arrays)
    return found


@_related.register
def _alone(loss: RowsAlone, arrays: dict[str, Array]) -> _Related:
    """Every other row is one to be parted from."""
    rows = Side.of(**arrays)
    none = np.zeros((1, 1), dtype=bool)
    return _Related(rows, None, lambda i, j: (none & (i != j), i != j), np.arange(len(rows.rows)))


@_related.register
def _given(loss: ViewsAlone | ScoredPairs, arrays: dict[str, Array]) -> _Related:
    """The other row of the pair, and nobody else."""
    sides = (Side.of(**{name: arrays[name]}) for name in loss.embeddings)
    anchors, candidates = sides
    none = np.zeros((1, 1), dtype=bool)
    return _Related(
        anchors, candidates, lambda i, j: (i == j, none & (i == j)), np.arange(len(anchors.rows))
    )


@_related.register
def _pairs(loss: GivenPairs, arrays: dict[str, Array]) -> _Related:
    return _matched(arrays)


@_related.register
def _sides(loss: TwoSides, arrays: dict[str, Array]) -> _Related:
    anchors, candidates = Side.of(x=arrays["x"]), Side.of(y=arrays["y"])
    both = arrays.get("ids")
    ours, theirs = arrays.get("ids.0", both), arrays.get("ids.1", both)
    same, order = loss.stated("same", "positive"), np.arange(len(anchors.rows))
    if ours is None or theirs is None or same == "negative":
        return _Related(anchors, candidates, _partners, order)

    def alike(i: Array, j: Array) -> Array:
        equal: Array = ours[i] == theirs[j]
        return equal

    if same == "ignore":
        return _Related(anchors, candidates, _partners, order, {"ids": alike})
    return _Related(anchors, candidates, lambda i, j: (alike(i, j), ~alike(i, j)), order)


def _partners(i: Array, j: Array) -> tuple[Array, Array]:
    return i == j, i != j


def _matched(arrays: dict[str, Array]) -> _Related:
    anchors, candidates = (Side.of(**{key: x}) for key, x in arrays.items())
    return _Related(anchors, candidates, _partners, np.arange(len(anchors.rows)))


@_related.register
def _labels(loss: LabelledRows, arrays: dict[str, Array]) -> _Related:
    labels = arrays["labels"]
    anchors, candidates, first = _with_reference(loss, arrays)
    theirs = np.concatenate([labels, arrays.get("reference_labels", labels[:0])])[first:]

    def masks(i: Array, j: Array) -> tuple[Array, Array]:
        if labels.ndim == 1:
            same = labels[i] == theirs[j]
        else:
            same = labels[i[:, 0]].astype(float) @ theirs[j[0]].astype(float).T > 0
        other = i != j + first
        return same & other, ~same & other

    order = np.argsort(labels, kind="stable") if labels.ndim == 1 else np.lexsort(labels.T)
    return _Related(anchors, candidates, masks, order)


def _with_reference(loss: Loss, arrays: dict[str, Array]) -> tuple[Side, Side | None, int]:
    """Anchors, candidates that are others, and the number of the first of them."""
    rows = {"embeddings": arrays["embeddings"]}
    anchors = Side.of(**rows)
    if "reference" not in arrays:
        return anchors, None, 0
    reference = {"reference": arrays["reference"]}
    if loss.stated("candidates") == "both":
        return anchors, Side.of(**rows, **reference), 0
    return anchors, Side.of(**reference), len(anchors.rows)


@_related.register
def _targets(loss: RankedRows, arrays: dict[str, Array]) -> _Related:
    """Every other row is a positive, in the denominators of all that are farther from it."""
    targets = arrays["targets"].reshape(len(arrays["targets"]), -1)
    order = np.lexsort(targets.T[::-1])
    none = np.zeros((1, 1), dtype=bool)
    anchors, candidates, first = _with_reference(loss, arrays)
    return _Related(anchors, candidates, lambda i, j: (i != j + first, none & (i != j)), order)


@_related.register
def _grades(loss: GradedRows, arrays: dict[str, Array]) -> _Related:
    """Every other row is a positive by a degree, and in the one denominator."""
    targets = arrays["targets"].reshape(len(arrays["targets"]), -1)
    given = loss.stated("weights") == "given"
    order = np.arange(len(targets)) if given else np.lexsort(targets.T[::-1])
    none = np.zeros((1, 1), dtype=bool)
    rows = Side.of(embeddings=arrays["embeddings"])
    return _Related(rows, None, lambda i, j: (i != j, none & (i != j)), order)


@_related.register
def _queries(loss: Queries, arrays: dict[str, Array]) -> _Related:
    """Direction "qp": positives, negatives and queue, one after the other."""
    n, ids, valid = len(arrays["query"]), arrays.get("ids"), arrays.get("valid")
    given = {name: arrays[name] for name in ("positive", "negatives", "queue") if name in arrays}
    in_batch = loss.stated("in_batch", "without_negatives")
    batch = in_batch == "always" or (in_batch == "without_negatives" and len(given) == 1)
    own, end = 0, n  # how many each query has, and where they end
    if "negatives" in given and given["negatives"].ndim > arrays["query"].ndim:
        own = given["negatives"].shape[1]
        given["negatives"] = given["negatives"].reshape(-1, *arrays["query"].shape[1:])
        end = n + n * own
    mine = own > 0 and loss.stated("own", "mine") == "mine"

    def masks(i: Array, j: Array) -> tuple[Array, Array]:
        others = (i != j) & ((j >= n) | batch)
        if mine:
            others = others & ((j < n) | (j >= end) | ((j - n) // own == i))
        return i == j, others

    reasons: dict[str, Callable[[Array, Array], Array]] = {}
    if ids is not None and loss.stated("same", "ignore") == "ignore":
        # Negatives that are given have no ids.
        reasons["ids"] = lambda i, j: (j < n) & (ids[i] == ids[np.minimum(j, n - 1)])
    if valid is not None:
        real = np.ones(sum(map(len, given.values())), dtype=bool)
        real[n:end] = valid.ravel()
        reasons["padding"] = lambda i, j: ~real[j] & (i == i)
    return _Related(Side.of(query=arrays["query"]), Side.of(**given), masks, np.arange(n), reasons)


@_related.register
def _triplets(loss: GivenTriplets, arrays: dict[str, Array]) -> _Related:
    n = len(arrays["anchor"])
    candidates = Side.of(positive=arrays["positive"], negative=arrays["negative"])
    return _Related(
        Side.of(anchor=arrays["anchor"]),
        candidates,
        lambda i, j: (i == j, j - n == i),
        np.arange(n),
    )

"""Who is compared with whom in a batch: anchors, candidates, and what they are to each other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from nearfar.frameworks import Block, namespace_of
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
from nearfar.similarity import Similarity

Array = np.ndarray
Masks = Callable[[Array, Array], tuple[Array, Array]]
"""Positives and negatives (b, m) from the numbers of anchors (b, 1) and candidates (1, m)."""


@dataclass(frozen=True)
class Side:
    """Rows (n, d) as the user named them: one name, or several arrays one after the other."""

    rows: Array
    names: tuple[str, ...]
    starts: tuple[int, ...]

    @classmethod
    def of(cls, **arrays: Array) -> "Side":
        flat = [x.reshape(len(x), -1) for x in arrays.values()]
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
    labels: Array | None = None

    def blocks(self, memory: int, order: Array | None = None) -> Iterator["Tile"]:
        """Logits and masks of all pairs, a block of anchors at a time."""
        ns = namespace_of([("rows", self.anchors.rows)])
        sides = self.similarity.prepare(
            ns, (self.anchors.rows, self.candidates.rows), self.temperature
        )
        order = np.arange(len(self.anchors.rows)) if order is None else order
        columns = np.arange(len(self.candidates.rows))
        # Logits, masks, and some six arrays made of them.
        side = max(1, memory // (8 * 8 * len(columns)))
        ordered = sides[0]._replace(
            **{
                key: value[order]
                for key, value in sides[0]._asdict().items()
                if isinstance(value, np.ndarray) and value.ndim
            }
        )
        for start in range(0, len(order), side):
            rows = order[start : start + side]
            block = ordered.block(ns, Block(start, len(rows)))
            positives, negatives = self.masks(rows[:, None], columns[None, :])
            with ns.scratch() as scratch:
                tile = self.similarity.tile(ns, block, sides[1], None, scratch)
                yield Tile(rows, tile.logits, positives, negatives)


@dataclass(frozen=True)
class Tile:
    rows: Array
    logits: Array
    positives: Array
    negatives: Array


def relate(loss: Loss, arrays: dict[str, Array]) -> Relations:
    """Sort out a batch by the family of its loss."""
    anchors, candidates, masks, order = _related(loss, arrays)
    return Relations(
        anchors,
        anchors if candidates is None else candidates,
        masks,
        order,
        candidates is None,
        loss.comparison,
        loss.stated("temperature", 1.0),
        arrays.get("labels"),
    )


_Related = tuple[Side, Side | None, Masks, Array]


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
        positives = (i % n == j % n) & (i != j)
        negatives = ~positives & (i != j)
        if ids is not None and loss.stated("same", "ignore") == "ignore":
            negatives = negatives & (ids[i % n] != ids[j % n])
        return positives, negatives

    if loss.stated("anchors") == "first":
        return Side.of(a=arrays["a"]), Side.of(**views), masks, np.arange(n)
    # Each pair side by side.
    return Side.of(**views), None, masks, np.arange(2 * n).reshape(2, n).T.ravel()


@_related.register
def _proxies(loss: AgainstProxies, arrays: dict[str, Array]) -> _Related:
    labels, proxies = arrays["labels"], arrays["proxies"]
    centres = proxies.shape[1] if proxies.ndim == 3 else 1

    def masks(i: Array, j: Array) -> tuple[Array, Array]:
        own = labels[i] == j // centres
        return own, ~own

    candidates = Side.of(proxies=proxies.reshape(-1, proxies.shape[-1]))
    order = np.argsort(labels, kind="stable")
    return Side.of(embeddings=arrays["embeddings"]), candidates, masks, order


@_related.register
def _composed(loss: Composed, arrays: dict[str, Array]) -> _Related:
    found: _Related = _related(loss.first, arrays)
    return found


@_related.register
def _alone(loss: RowsAlone, arrays: dict[str, Array]) -> _Related:
    """Every other row is one to be parted from."""
    rows = Side.of(**arrays)
    none = np.zeros((1, 1), dtype=bool)
    return rows, None, lambda i, j: (none & (i != j), i != j), np.arange(len(rows.rows))


@_related.register
def _given(loss: ViewsAlone | ScoredPairs, arrays: dict[str, Array]) -> _Related:
    """The other row of the pair, and nobody else."""
    sides = (Side.of(**{name: arrays[name]}) for name in loss.embeddings)
    anchors, candidates = sides
    none = np.zeros((1, 1), dtype=bool)
    return anchors, candidates, lambda i, j: (i == j, none & (i == j)), np.arange(len(anchors.rows))


@_related.register
def _pairs(loss: GivenPairs, arrays: dict[str, Array]) -> _Related:
    return _matched(arrays)


@_related.register
def _sides(loss: TwoSides, arrays: dict[str, Array]) -> _Related:
    anchors, candidates = Side.of(x=arrays["x"]), Side.of(y=arrays["y"])
    both = arrays.get("ids")
    ours, theirs = arrays.get("ids.0", both), arrays.get("ids.1", both)
    same = loss.stated("same", "positive")

    def masks(i: Array, j: Array) -> tuple[Array, Array]:
        if ours is None or theirs is None or same == "negative":
            return i == j, i != j
        alike = ours[i] == theirs[j]
        return (alike, ~alike) if same == "positive" else (i == j, ~alike & (i != j))

    return anchors, candidates, masks, np.arange(len(anchors.rows))


def _matched(arrays: dict[str, Array]) -> _Related:
    anchors, candidates = (Side.of(**{key: x}) for key, x in arrays.items())
    return anchors, candidates, lambda i, j: (i == j, i != j), np.arange(len(anchors.rows))


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
    return anchors, candidates, masks, order


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
    return anchors, candidates, lambda i, j: (i != j + first, none & (i != j)), order


@_related.register
def _grades(loss: GradedRows, arrays: dict[str, Array]) -> _Related:
    """Every other row is a positive by a degree, and in the one denominator."""
    targets = arrays["targets"].reshape(len(arrays["targets"]), -1)
    given = loss.stated("weights") == "given"
    order = np.arange(len(targets)) if given else np.lexsort(targets.T[::-1])
    none = np.zeros((1, 1), dtype=bool)
    rows = Side.of(embeddings=arrays["embeddings"])
    return rows, None, lambda i, j: (i != j, none & (i != j)), order


@_related.register
def _queries(loss: Queries, arrays: dict[str, Array]) -> _Related:
    query, n = Side.of(query=arrays["query"]), len(arrays["query"])
    if "negatives" not in arrays:
        candidates = Side.of(positive=arrays["positive"])
        return query, candidates, lambda i, j: (i == j, i != j), np.arange(n)
    negatives = arrays["negatives"]
    own = negatives.shape[1] if negatives.ndim > arrays["query"].ndim else None
    if own is not None:
        negatives = negatives.reshape(n * own, -1)

    def masks(i: Array, j: Array) -> tuple[Array, Array]:
        mine = (j >= n) if own is None else ((j - n) // own == i) & (j >= n)
        return i == j, mine & (i == i)

    return query, Side.of(positive=arrays["positive"], negatives=negatives), masks, np.arange(n)


@_related.register
def _triplets(loss: GivenTriplets, arrays: dict[str, Array]) -> _Related:
    n = len(arrays["anchor"])
    candidates = Side.of(positive=arrays["positive"], negative=arrays["negative"])
    return (
        Side.of(anchor=arrays["anchor"]),
        candidates,
        lambda i, j: (i == j, j - n == i),
        np.arange(n),
    )

"""Batches of one kind side by side, padded to one size: what every convention is computed from."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.check.batches import Batch, Floats

Marks = NDArray[np.bool_]

ALL, NONE, COLUMNS, BOTH_COLUMNS = "all", "none", "columns", "columns of both"

_SELF = (
    "views",
    "labels",
    "labelled_views",
    "targets",
    "target_views",
    "wide_targets",
)  # rows that are candidates too

_ALIKE = {"labelled_views": "labels", "target_views": "targets", "wide_targets": "targets"}


class Stack:
    """Similarities (B, n, m) of anchors and candidates, and who is what to whom."""

    def __init__(self, given: Sequence[Batch]) -> None:
        self.batches = list(given)
        self.kind = _ALIKE.get(given[0].kind, given[0].kind)
        self.parts = len(given[0].parts)
        self._similar: dict[tuple[str, str], Floats] = {}
        self._sides = [_sides(batch.parts, self.kind) for batch in given]
        self.rows = max(len(x) for x, _ in self._sides)
        self.columns = max(y.shape[-2] for _, y in self._sides)
        self.own_rows = given[0].kind in _SELF

    def __len__(self) -> int:
        return len(self.batches)

    def take(self, numbers: Sequence[int]) -> "Stack":
        """Some of the batches."""
        return Stack([self.batches[k] for k in numbers])

    def similarity(self, metric: str, normalised: str) -> Floats:
        """Inner products, or minus a distance; 0 beyond a batch's own rows."""
        if (metric, normalised) not in self._similar:
            made = (_sides(normalise(b.parts, normalised), self.kind) for b in self.batches)
            self._similar[metric, normalised] = self._pad([_compare(metric, *two) for two in made])
        return self._similar[metric, normalised]

    def _pad(self, arrays: Sequence[Any]) -> Any:
        found = np.zeros((len(arrays), self.rows, self.columns), arrays[0].dtype)
        for k, x in enumerate(arrays):
            found[k, : x.shape[0], : x.shape[1]] = x
        return found

    @cached_property
    def valid(self) -> Marks:
        """(B, n, m)"""
        return np.asarray(self._pad([np.ones((len(x), y.shape[-2]), bool) for x, y in self._sides]))

    @cached_property
    def anchors(self) -> Marks:
        """(B, n)"""
        return np.asarray(self.valid.any(axis=2))

    @cached_property
    def itself(self) -> Marks:
        """(B, n, m), all False where an anchor is none of the candidates."""
        if not self.own_rows:
            return np.zeros_like(self.valid)
        return np.asarray(self._pad([np.eye(len(x), dtype=bool) for x, _ in self._sides]))

    @cached_property
    def positives(self) -> Marks:
        """(B, n, m), without the anchor itself."""
        return np.asarray(self._pad([_positives(batch, self.kind) for batch in self.batches]))

    @cached_property
    def neighbours(self) -> Marks:
        """(B, n, m), rows 2i and 2i + 1 of all, which are partners in another order only."""
        found = np.zeros_like(self.valid)
        for k, (x, _) in enumerate(self._sides):
            i = np.arange(len(x))
            found[k, i, i ^ 1] = True
        return np.asarray(found & self.valid)

    @cached_property
    def scopes(self) -> dict[str, Marks]:
        """Which candidates may be negatives."""
        others = self.valid & ~self.itself & ~self.positives
        if self.kind == "views":
            second = self.groups["second"]
            across = second[:, :, None] ^ second[:, None, :]
            return {"both": others, "other": others & across, "same": others & ~across}
        if self.kind in ("queue", "own"):
            keys = np.zeros_like(others)
            for k, (x, _) in enumerate(self._sides):
                keys[k, :, : len(x)] = True
            return {"queue": others & ~keys, "queue and keys": others, "keys": others & keys}
        return {"both": others}

    @cached_property
    def groups(self) -> dict[str, Marks]:
        """Which rows are anchors, (B, n)."""
        if self.kind != "views":
            return {"all": self.anchors}
        first = np.zeros_like(self.anchors)
        for k, batch in enumerate(self.batches):
            first[k, : len(batch.parts[0])] = True
        return {"all": self.anchors, "first": first, "second": self.anchors & ~first}

    def label_distances(self, metric: str) -> Floats:
        """(B, n, n); of "l2" the squares, which tie alike."""
        found = []
        for batch in self.batches:
            assert batch.facts is not None
            columns = np.asarray(batch.facts, float).reshape(len(batch.facts), -1)
            apart = columns[:, None] - columns[None]
            found.append((np.abs(apart) if metric == "l1" else apart**2).sum(axis=2))
        return np.asarray(self._pad(found))


def normalise(parts: Sequence[Floats], which: str) -> list[Floats]:
    """Unit rows in "all" parts or "none", in some ("0", "01"), or unit columns."""
    if which == COLUMNS:
        return [_unit(x, 0) for x in parts]
    if which == BOTH_COLUMNS:
        return np.split(_unit(np.concatenate(parts), 0), len(parts))
    chosen = {ALL: range(len(parts)), NONE: ()}.get(which)
    numbers = tuple(map(int, which)) if chosen is None else tuple(chosen)
    return [_unit(x, -1) if k in numbers else x for k, x in enumerate(parts)]


def _unit(x: Floats, axis: int) -> Floats:
    norms = np.linalg.norm(x, axis=axis, keepdims=True)
    found: Floats = x / np.where(norms > 0, norms, 1)
    return found


def _sides(parts: Sequence[Floats], kind: str) -> tuple[Floats, Floats]:
    """Anchors (n, d) and candidates (m, d), or (n, m, d) where they have their own."""
    if kind == "views":
        rows = np.concatenate(parts)
        return rows, rows
    if kind == "queue":
        return parts[0], np.concatenate(parts[1:])
    if kind == "own":
        n = len(parts[0])
        keys = np.broadcast_to(parts[1], (n, *parts[1].shape))
        return parts[0], np.concatenate([keys, parts[2]], axis=1)
    if kind == "triplets":
        return parts[0], np.stack(parts[1:], axis=1)
    return parts[0], parts[0]


def _compare(metric: str, x: Floats, y: Floats) -> Floats:
    y = y if y.ndim == 3 else y[None]
    if metric in ("dot", "half"):
        found: Floats = (x[:, None] * y).sum(axis=-1)
        return found if metric == "dot" else (found + 1) / 2
    apart = np.abs(x[:, None] - y)
    if metric == "cityblock":
        return np.asarray(-apart.sum(axis=-1))
    if metric == "chebyshev":
        return np.asarray(-apart.max(axis=-1))
    squares: Floats = (apart**2).sum(axis=-1)
    return -squares if metric == "sqeuclidean" else -np.sqrt(squares)


def _positives(batch: Batch, kind: str) -> Marks:
    n = len(batch.parts[0])
    if kind == "views":
        return np.eye(2 * n, k=n, dtype=bool) | np.eye(2 * n, k=-n, dtype=bool)
    if kind in ("queue", "own"):
        return np.eye(n, n + batch.parts[2].shape[-2], dtype=bool)
    if kind == "triplets":
        return np.tile([True, False], (n, 1))
    assert batch.facts is not None
    if kind == "targets":
        return ~np.eye(n, dtype=bool)
    return np.asarray((batch.facts[:, None] == batch.facts[None]) & ~np.eye(n, dtype=bool))

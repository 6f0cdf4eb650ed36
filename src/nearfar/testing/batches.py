"""Small batches for every family of losses, with what tends to be forgotten: single rows, ties."""

from functools import singledispatch
from typing import Any

import numpy as np

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

Batch = tuple[Any, ...]
Batches = dict[str, Batch]


def _rows(n: int, seed: int) -> Any:
    """Rows of unlike norms, so that nothing rests on unit rows."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 4)) * rng.uniform(0.5, 1.5, (n, 1))


@singledispatch
def batches(loss: Loss) -> Batches:
    """Inputs in float64 by a name in words; the first is the batch of all further checks."""
    raise TypeError(
        f"expected batches=, a dictionary of inputs by a name in words, for a loss of the family "
        f"{loss.family.__name__}; received none"
    )


@batches.register
def _(loss: TwoViews) -> Batches:
    return {
        "seven objects": (_rows(7, 1), _rows(7, 2)),
        "two objects": (_rows(2, 3), _rows(2, 4)),
        "one object": (_rows(1, 5), _rows(1, 6)),
    }


@batches.register
def _(loss: TwoSides | GivenPairs) -> Batches:
    return {
        "seven pairs": (_rows(7, 1), _rows(7, 2)),
        "one pair": (_rows(1, 3), _rows(1, 4)),
    }


@batches.register
def _(loss: Composed) -> Batches:
    found: Batches = batches(loss.first)
    return found


@batches.register
def _(loss: AgainstProxies) -> Batches:
    def proxies(classes: int, seed: int) -> Any:
        rows = _rows(3 * classes, seed)
        return rows.reshape(classes, 3, 4) if loss.several_centres else rows[:classes]

    return {
        "classes with and without rows": (
            _rows(9, 1),
            np.array([4, 0, 1, 0, 4, 0, 2, 2, 1]),
            proxies(6, 2),
        ),
        "one class": (_rows(4, 3), np.zeros(4, dtype=int), proxies(1, 4)),
        "one row": (_rows(1, 5), np.array([1]), proxies(3, 6)),
    }


@batches.register
def _(loss: RowsAlone) -> Batches:
    return {"nine rows": (_rows(9, 1),), "two rows": (_rows(2, 2),), "one row": (_rows(1, 3),)}


@batches.register
def _(loss: ViewsAlone) -> Batches:
    return {
        "seven objects": (_rows(7, 1), _rows(7, 2)),
        "two objects": (_rows(2, 3), _rows(2, 4)),
    }


@batches.register
def _(loss: ScoredPairs) -> Batches:
    rng = np.random.default_rng(9)
    return {
        "targets of which some tie": (_rows(9, 1), _rows(9, 2), rng.integers(0, 5, 9) / 4),
        "whole numbers": (_rows(6, 3), _rows(6, 4), rng.integers(0, 9, 6)),
        "one target": (_rows(4, 5), _rows(4, 6), np.ones(4)),
        "one pair": (_rows(1, 7), _rows(1, 8), np.array([0.5])),
    }


@batches.register
def _(loss: GradedRows) -> Batches:
    rng = np.random.default_rng(11)

    def targets(n: int) -> Any:
        weights = loss.stated("weights")
        if weights == "given":
            return np.where(rng.random((n, n)) < 0.7, rng.random((n, n)), 0.0)
        if weights == "jaccard":
            return rng.integers(0, 2, (n, 4))
        return rng.normal(size=(n, 3))

    return {
        "nine rows": (_rows(9, 1), targets(9)),
        "two rows": (_rows(2, 2), targets(2)),
        "one row": (_rows(1, 3), targets(1)),
    }


@batches.register
def _(loss: LabelledRows) -> Batches:
    mixed = np.array([3, 0, 1, 0, 9, 0, 1, 3, 0, 1, 7])
    many = np.random.default_rng(7).integers(0, 2, (8, 3))
    many[2] = 0
    return {
        "classes of 4, 3, 2, 1 and 1": (_rows(11, 1), mixed),
        "classes in order": (_rows(6, 2), np.array([0, 0, 0, 1, 1, 1])),
        "several labels a row": (_rows(8, 3), many),
        "one class": (_rows(5, 4), np.zeros(5, dtype=int)),
        "all labels different": (_rows(5, 5), np.arange(5)),
        "one row": (_rows(1, 6), np.array([0])),
    }


@batches.register
def _(loss: RankedRows) -> Batches:
    rng = np.random.default_rng(8)
    return {
        "targets of which some tie": (_rows(9, 1), rng.integers(0, 5, 9) / 2),
        "two targets a row": (_rows(8, 2), rng.integers(0, 9, (8, 2)) / 4),
        "whole numbers": (_rows(7, 3), rng.integers(0, 5, 7)),
        "one row": (_rows(1, 4), np.array([0.5])),
    }


@batches.register
def _(loss: Queries) -> Batches:
    query, positive = _rows(6, 1), _rows(6, 2)
    return {
        "the other positives": (query, positive),
        "a queue": (query, positive, _rows(9, 3)),
        "negatives of each query's own": (query, positive, _rows(18, 4).reshape(6, 3, 4)),
        "one query": (_rows(1, 5), _rows(1, 6)),
    }


@batches.register
def _(loss: GivenTriplets) -> Batches:
    return {
        "eight triplets": (_rows(8, 1), _rows(8, 2), _rows(8, 3)),
        "one triplet": (_rows(1, 4), _rows(1, 5), _rows(1, 6)),
    }

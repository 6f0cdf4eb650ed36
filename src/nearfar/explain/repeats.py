"""Rows that occur twice where they should not, and positives that are negatives as well."""

from functools import singledispatch
from typing import Any

import numpy as np

from nearfar.explain.relations import Array, Side
from nearfar.losses import GivenTriplets, Loss, Queries, TwoSides

SHOWN = 5


def repeats(loss: Loss, arrays: dict[str, Array], anchors: Side) -> dict[str, Any]:
    """How many rows equal an earlier one of their side, of how many, and the first such pairs."""
    count, rows, first = 0, 0, []
    for side in _sides(loss, arrays, anchors):
        found, pairs = _equal_rows(side.rows)
        count, rows = count + found, rows + len(side.rows)
        first += [[side.name(i), side.name(j)] for i, j in pairs]
    return {"count": count, "rows": rows, "first": first[:SHOWN]}


@singledispatch
def _sides(loss: Loss, arrays: dict[str, Array], anchors: Side) -> tuple[Side, ...]:
    """Sets of rows in which none should occur twice."""
    return (anchors,)


@_sides.register
def _(loss: TwoSides, arrays: dict[str, Array], anchors: Side) -> tuple[Side, ...]:
    return tuple(Side.of(**{name: arrays[name]}) for name in loss.embeddings)


@_sides.register
def _(loss: Queries, arrays: dict[str, Array], anchors: Side) -> tuple[Side, ...]:
    # Negatives of each query's own may well be those of another one too.
    axes, given = arrays["query"].ndim, [name for name in loss.embeddings[1:] if name in arrays]
    shared = {name: arrays[name] for name in given if arrays[name].ndim == axes}
    return anchors, Side.of(**shared)


def _equal_rows(rows: Array) -> tuple[int, list[tuple[int, int]]]:
    _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    earlier = first[inverse.reshape(-1)]
    again = np.flatnonzero(earlier != np.arange(len(rows)))
    return len(again), [(int(earlier[k]), int(k)) for k in again[:SHOWN]]


@singledispatch
def own_negatives(loss: Loss, arrays: dict[str, Array]) -> dict[str, Any] | None:
    """How many anchors have their own positive among their negatives, and the first of those.

    None where negatives are no input of their own.
    """
    return None


@own_negatives.register
def _(loss: Queries, arrays: dict[str, Array]) -> dict[str, Any] | None:
    if "negatives" not in arrays:
        return None
    positive, negatives = (_flat(arrays[name]) for name in ("positive", "negatives"))
    if arrays["negatives"].ndim > arrays["query"].ndim:
        own = arrays["negatives"]
        equal = (own.reshape(*own.shape[:2], -1) == positive[:, None, :]).all(axis=2)
        equal &= arrays.get("valid", True)
        found = [(i, f"{i}, {int(np.argmax(row))}") for i, row in enumerate(equal) if row.any()]
    else:
        places: dict[bytes, int] = {}
        for k, row in enumerate(negatives):
            places.setdefault(row.tobytes(), k)
        keys = (row.tobytes() for row in positive)
        found = [(i, str(places[key])) for i, key in enumerate(keys) if key in places]
    return _told("negatives", found)


@own_negatives.register
def _(loss: GivenTriplets, arrays: dict[str, Array]) -> dict[str, Any] | None:
    positive, negative = (_flat(arrays[name]) for name in ("positive", "negative"))
    rows = np.flatnonzero((positive == negative).all(axis=1))
    return _told("negative", [(int(i), str(i)) for i in rows])


def _flat(x: Array) -> Array:
    """Rows (n, d) whose bytes are equal where they are, -0 included."""
    return np.ascontiguousarray(x.reshape(len(x), -1) + 0.0)


def _told(name: str, found: list[tuple[int, str]]) -> dict[str, Any]:
    first = [[f"positive[{i}]", f"{name}[{place}]"] for i, place in found[:SHOWN]]
    return {"count": len(found), "first": first}

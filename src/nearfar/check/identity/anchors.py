"""How a vector that a target returned is made of its anchors' values."""

from collections.abc import Iterator

import numpy as np

from nearfar.check.batches import Floats
from nearfar.check.identity.matching import Evidence, Match

PER_ANCHOR = "a value per anchor"
PER_OBJECT = "a value per pair of views"


def arrangement(match: Match, evidence: Evidence, vectors: list[list[Floats]]) -> str | None:
    """One of the two, or None where no order of the anchors' values gives the vectors."""
    stack = evidence.stack
    each = match.each(stack, evidence.given)
    group = stack.groups[getattr(match.shape, "anchors", "all")]
    kind = stack.batches[0].kind
    for manner in (PER_ANCHOR, PER_OBJECT):
        if all(
            _equal(np.asarray(told).ravel(), each[k, b][group[b]], manner, kind)
            for k, row in enumerate(vectors)
            for b, told in enumerate(row)
        ):
            return manner
    return None


def _equal(told: Floats, own: Floats, manner: str, kind: str) -> bool:
    return any(
        order.shape == told.shape and np.allclose(order, told, rtol=1e-3, atol=1e-5)
        for order in _orders(own, manner, kind)
    )


def _orders(own: Floats, manner: str, kind: str) -> Iterator[Floats]:
    if manner == PER_ANCHOR:
        yield own
    if len(own) % 2:
        return
    # Two views: those of an object are side by side where they have labels, else half apart.
    side_by_side = kind in ("labelled_views", "target_views")
    pairs = own.reshape(-1, 2) if side_by_side else own.reshape(2, -1).T
    if manner == PER_ANCHOR:
        yield pairs.T.ravel()
        yield pairs.ravel()
    elif side_by_side or kind == "views":
        yield pairs.sum(axis=1)

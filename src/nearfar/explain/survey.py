"""One look at all pairs of a batch: counts, hard pairs, how many negatives matter."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nearfar.explain.relations import Relations, Tile

Array = np.ndarray

PAIRS = 5


@dataclass
class Survey:
    """Numbers of each anchor, (n,), and the hardest pairs."""

    positives: Array
    negatives: Array
    effective: Array
    """exp of the entropy of the negatives' softmax: how many of them share the pull."""
    first: Array
    """Whether the highest logit of an anchor is a positive's, and no negative's is as high."""
    sums: Array
    """Of the logits of the positives and of the negatives, (2,)."""
    lowest: float = np.inf
    highest: float = -np.inf
    near: list[tuple[float, int, int]] = field(default_factory=list)
    """The negatives with the highest logits."""
    far: list[tuple[float, int, int]] = field(default_factory=list)
    """The positives with the lowest logits."""
    left_out: dict[str, int] = field(default_factory=dict)
    """How many pairs, by the reason."""
    emptied: int = 0
    """Of how many anchors all negatives are left out."""

    def take(self, tile: Tile, once: bool) -> None:
        rows, logits = tile.rows, tile.logits
        self.positives[rows] = tile.positives.sum(axis=1)
        self.negatives[rows] = tile.negatives.sum(axis=1)
        compared = tile.positives | tile.negatives
        if compared.any():
            self.lowest = min(self.lowest, float(logits[compared].min()))
            self.highest = max(self.highest, float(logits[compared].max()))
        self.effective[rows] = _effective(logits, tile.negatives)
        best, rival = (
            np.where(mask, logits, -np.inf).max(axis=1, initial=-np.inf)
            for mask in (tile.positives, tile.negatives)
        )
        self.first[rows] = best > rival
        for reason, mask in tile.left_out.items():
            self.left_out[reason] = self.left_out.get(reason, 0) + int(mask.sum())
        gone = sum((mask.sum(axis=1) for mask in tile.left_out.values()), np.zeros(len(rows)))
        self.emptied += int(((gone > 0) & ~tile.negatives.any(axis=1)).sum())
        self.sums += [logits[mask].sum() for mask in (tile.positives, tile.negatives)]
        keep = np.ones_like(compared)
        if once:  # a pair of one set of rows is seen from both ends
            keep = rows[:, None] < np.arange(logits.shape[1])[None, :]
        self.near = _hardest(self.near, logits, tile.negatives & keep, rows)
        self.far = _hardest(self.far, -logits, tile.positives & keep, rows)


def survey(relations: Relations, memory: int) -> Survey:
    n = len(relations.anchors.rows)
    none = np.zeros(n, dtype=int)
    found = Survey(none, none.copy(), np.zeros(n), np.zeros(n, dtype=bool), np.zeros(2))
    # A pair may be left out for one of its ends only.
    once = relations.same_rows and relations.exclusion is None
    for tile in relations.blocks(memory):
        found.take(tile, once)
    return found


def _effective(logits: Array, negatives: Array) -> Array:
    some = negatives.any(axis=1)
    z = np.where(negatives, logits, -np.inf)
    peak = np.where(some, z.max(axis=1, initial=-np.inf), 0.0)[:, None]
    e = np.exp(z - peak)
    total = np.where(some, e.sum(axis=1), 1.0)[:, None]
    share = e / total
    log = np.where(share > 0, np.log(np.where(share > 0, share, 1.0)), 0.0)
    effective: Array = np.where(some, np.exp(-(share * log).sum(axis=1)), 0.0)
    return effective


def _hardest(
    known: list[tuple[float, int, int]], hardness: Array, mask: Array, rows: Array
) -> list[tuple[float, int, int]]:
    found = np.where(mask, hardness, -np.inf).ravel()
    count = min(PAIRS, found.size)
    if not count:
        return known
    best: list[Any] = []
    for k in np.argpartition(-found, count - 1)[:count]:
        i, j = divmod(int(k), hardness.shape[1])
        if mask[i, j]:
            best.append((float(found[k]), int(rows[i]), j))
    return sorted(known + best, key=lambda pair: (-pair[0], pair[1:]))[:PAIRS]

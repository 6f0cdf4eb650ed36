"""Conventions that agree on ordinary batches are told apart on others, made for that."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nearfar.check.batches import Batch, Floats, batches, whole
from nearfar.check.identity.gathering import Gathered
from nearfar.check.identity.matching import Match
from nearfar.check.identity.space import Stack

_SEED = 977
_FACTORS = (3.0, 0.3, 10.0, 0.1, 30.0)
_MOST = 8  # batches that the target is run on


def telling_batches(kind: str, nothing_missing: bool) -> list[Batch]:
    """Batches that nothing was chosen by: also of long and short rows, near views and far ones.

    A hinge that is never or always active, a bound that is never reached, look like something else
    until rows are as long as the margin, or views as near as they come.
    """
    fresh = batches(kind, 9, seed=_SEED)
    found = [*fresh, *(b.scaled(f) for f in _FACTORS for b in fresh[:3])]
    if kind in ("views", "queue", "own", "scored"):
        for batch in fresh[:3]:
            a, b, *rest = batch.parts
            nearer = (0.99 * a + 0.01 * b, 0.1 * b - a)
            found += [replace(batch, parts=(a, near, *rest)) for near in nearer]
    return [whole(b) for b in found] if nothing_missing else found


def tell_apart(gathered: Gathered, found: list[Match]) -> tuple[list[Match], list[Match]]:
    """What the target agrees with where they differ; and which of that are still rivals."""
    evidence = gathered.evidence
    assert evidence is not None
    if len(found) < 2:
        return found, []
    kind = evidence.stack.batches[0].kind
    made = telling_batches(kind, gathered.infinite is not None)
    given, tolerance = evidence.given, 10 * evidence.tolerances[0]
    stack = Stack(made)
    values = [match.values(stack, given) for match in found]
    apart = np.array([_apart(v, values[0]) for v in values])  # (M, B)
    telling = np.flatnonzero((apart > tolerance).any(axis=0)).tolist()
    if not telling:
        return found, []
    chosen = _chosen(apart > tolerance, telling)
    told = gathered.values([made[k] for k in chosen])
    limit = max(3 * evidence.tolerances[0], 10 * found[0].deviation)
    left = [
        k
        for k, v in enumerate(values)
        if not (_apart(v[:, chosen], told) > limit)[np.isfinite(told).all(axis=0)].any()
    ]
    left = left or list(range(len(found)))
    first = values[left[0]]
    rivals = [k for k in left[1:] if (_apart(values[k], first) > tolerance).any()]
    return [found[k] for k in left], [found[k] for k in rivals]


def _apart(values: Floats, others: Floats) -> Floats:
    """(B,) relative; what is not finite in both does not differ."""
    with np.errstate(all="ignore"):
        largest = np.abs(others).max(initial=0, where=np.isfinite(others))
        size = np.abs(others) + 1e-9 * (1 + largest)
        found = np.abs(values - others) / size
    both = ~np.isfinite(values) & ~np.isfinite(others)
    found = np.where(both, 0, np.where(np.isfinite(found), found, np.inf))
    return np.asarray(found.max(axis=0))


def _chosen(differs: np.ndarray, telling: Sequence[int]) -> list[int]:
    """Few batches that differ from the first wherever any does; ordinary ones are preferred."""
    chosen: list[int] = []
    for _ in range(2):  # the target may give no number on the first
        left = differs.any(axis=1)
        for k in telling:
            if k not in chosen and (differs[:, k] & left).any() and len(chosen) < _MOST:
                chosen.append(int(k))
                left = left & ~differs[:, k]
    return chosen

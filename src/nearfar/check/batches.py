"""Batches that tell conventions apart: small, seeded, asymmetric, of different sizes.

Rows are not normalised. Some batches lie in all directions and some in a narrow cone: where a
temperature is low only the latter show what is in a denominator, where it is high the former do.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.losses import Loss

Floats = NDArray[np.float64]

KINDS = ("views", "labels", "labelled_views", "targets", "wide_targets", "queue", "own", "triplets",
         "target_views", "rows", "proxies", "centres", "scored", "ids", "guided",
         "guided_own", "reference", "matrix", "marks", "frozen")  # fmt: skip
"""What a loss may be given: two views, embeddings with labels or with targets, ..."""

GUIDED = ("guided", "guided_own")
"""Kinds of which a guide's embeddings come after the others."""

_BETWEEN = ("proxies", "centres", "reference")
"""Kinds whose facts come after the first part."""

_CONES = (0.0, 1.5, 5.0, 0.6, 12.0, 2.5)  # how far the cone's axis outweighs the directions

_SIZES = (1.3, 0.4, 0.8, 0.6, 1.0)

# Several positives for an anchor, classes of one row, no two batches with the same counts.
_CLASSES = (
    (0, 0, 0, 0, 1, 1, 2, 2, 2, 3),
    (0, 1, 0, 2, 1, 3, 0, 4),
    (2, 2, 2, 1, 1, 1, 0, 0, 0, 0, 0, 5),
    (0, 0, 1, 1, 1, 2, 2, 2, 2),
    (4, 4, 1, 1, 0, 2, 3),
    (0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 3),
)


@dataclass(frozen=True)
class Batch:
    """What one call is about, whatever form it is given in."""

    kind: str
    parts: tuple[Floats, ...]  # embeddings
    facts: NDArray[np.generic] | None = None  # labels (n,), targets (n,) or (n, t)
    more: tuple[NDArray[np.generic], ...] = ()  # a guide's embeddings, labels of a reference

    def scaled(self, factor: float) -> "Batch":
        """The same with longer rows."""
        return replace(self, parts=tuple(factor * x for x in self.parts))

    def inputs(self, swapped: bool = False) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What a loss of nearfar is called with, by place and by name."""
        parts = self.parts[::-1] if swapped else self.parts
        if self.kind in GUIDED:
            return parts, {"guide": self.more[::-1] if swapped else self.more}
        if self.facts is None:
            return parts, {}
        if self.kind == "ids":
            return parts, {"ids": self.facts}
        if self.kind in _BETWEEN:
            return (parts[0], self.facts, *parts[1:], *self.more), {}
        return (*parts, self.facts), {}

    def value_of(self, loss: Loss, swapped: bool = False) -> Any:
        """The value of a loss."""
        given, named = self.inputs(swapped)
        return loss(*given, **named)

    def gradients_of(self, loss: Loss, swapped: bool = False) -> tuple[Floats, ...]:
        """The gradients of a loss by the parts, in call order."""
        given, named = self.inputs(swapped)
        found: tuple[Floats, ...] = loss.value_and_grad(*given, **named)[1]
        return found


def batches(kind: str, count: int, seed: int = 0) -> list[Batch]:
    """Make so many batches of a kind.

    >>> [batch.parts[0].shape for batch in batches("labels", 3)]
    [(10, 5), (8, 6), (12, 7)]
    """
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    return [_sized(_MAKERS[kind](rng, k), k) for k in range(count)]


def whole(batch: Batch) -> Batch:
    """The same with nothing missing: no class of one row, no target that comes once."""
    facts = batch.facts
    if facts is None or batch.kind not in ("labels", "targets"):
        return batch
    if batch.kind == "targets":
        facts = facts.copy()
        facts[1::2] = facts[0::2][: len(facts[1::2])]
        if len(facts) % 2:
            facts[-1] = facts[0]
    else:
        names, places, counts = np.unique(facts, return_inverse=True, return_counts=True)
        facts = np.where(counts[places] > 1, facts, names[counts.argmax()])
    return replace(batch, facts=facts)


def rows(rng: np.random.Generator, shape: tuple[int, ...], axis: Floats, cone: float) -> Floats:
    """Rows of different lengths around an axis."""
    lengths = rng.uniform(0.6, 1.7, (*shape[:-1], 1))
    spread = np.sqrt(shape[-1] * (1 + cone**2))
    found: Floats = (rng.normal(size=shape) + cone * axis) * lengths / spread
    return found


# Features, unlike any number of rows of the same batch: what broadcasts by chance is no call.
_FEATURES = {"views": (5, 7, 9), "queue": (5, 7, 10), "own": (5, 7, 10), "triplets": (5, 8, 4),
             "targets": (5, 4, 7), "rows": (4, 6, 5)}  # fmt: skip
_PAIRS = (4, 6, 3, 8)


def _frame(rng: np.random.Generator, k: int, kind: str = "") -> tuple[int, Floats, float]:
    d = _FEATURES.get(kind, (5, 6, 7))[k % 3]
    return d, rng.normal(size=d), _CONES[k % len(_CONES)]


def _sized(batch: Batch, k: int) -> Batch:
    """Some batches are small against any margin."""
    return batch.scaled(_SIZES[k % len(_SIZES)])


def _near(rng: np.random.Generator, x: Floats, cone: float) -> Floats:
    """Another view of the same objects."""
    size = np.linalg.norm(x, axis=-1).mean() / np.sqrt(x.shape[-1] * (1 + cone**2))
    noise = 0.7 * size * rng.normal(size=x.shape)
    found: Floats = (x + noise) * rng.uniform(0.7, 1.5, (*x.shape[:-1], 1))
    return found


def _views(rng: np.random.Generator, k: int) -> Batch:
    d, axis, cone = _frame(rng, k, "views")
    a = rows(rng, (_PAIRS[k % 4], d), axis, cone)
    return Batch("views", (a, _near(rng, a, cone)))


def _labels(rng: np.random.Generator, k: int) -> Batch:
    d, axis, cone = _frame(rng, k)
    labels = np.array(_CLASSES[k % len(_CLASSES)])
    if k:
        labels = rng.permutation(labels)
    z = rows(rng, (len(labels), d), axis, cone)
    size = np.linalg.norm(z, axis=1).mean() / np.sqrt(d * (1 + cone**2))
    centres = 0.7 * size * rng.normal(size=(labels.max() + 1, d))
    return Batch("labels", (z + centres[labels],), labels)


def _labelled_views(rng: np.random.Generator, k: int) -> Batch:
    """Rows 2i and 2i + 1 are views of an object; a class holds several objects, or one."""
    d, axis, cone = _frame(rng, k)
    objects = np.array(((0, 0, 1, 2, 0), (0, 1, 0, 2), (1, 1, 0, 0, 0, 2), (0, 0, 1))[k % 4])
    first = rows(rng, (len(objects), d), axis, cone)
    both = np.stack([first, _near(rng, first, cone)], axis=1)
    return Batch("labelled_views", (both.reshape(-1, d),), np.repeat(objects, 2))


def _targets(rng: np.random.Generator, k: int) -> Batch:
    d, axis, cone = _frame(rng, k, "targets")
    targets = _numbers(rng, (8, 6, 9, 7)[k % 4])
    return Batch("targets", (rows(rng, (len(targets), d), axis, cone),), targets)


def _numbers(rng: np.random.Generator, n: int) -> Floats:
    """Quarters, whose distances are exact in every dtype; some tie."""
    targets = rng.integers(-7, 8, n) / 4
    targets[1] = targets[0]
    return np.asarray(targets)


def _target_views(rng: np.random.Generator, k: int) -> Batch:
    """Rows 2i and 2i + 1 are views of an object, and have its target."""
    d, axis, cone = _frame(rng, k)
    n = (4, 3, 5)[k % 3]
    first = rows(rng, (n, d), axis, cone)
    both = np.stack([first, _near(rng, first, cone)], axis=1)
    return Batch("target_views", (both.reshape(-1, d),), np.repeat(_numbers(rng, n), 2))


def _wide_targets(rng: np.random.Generator, k: int) -> Batch:
    d, axis, cone = _frame(rng, k)
    n = 7 + k % 2
    return Batch("wide_targets", (rows(rng, (n, d), axis, cone),), rng.integers(-7, 8, (n, 2)) / 4)


def _query(rng: np.random.Generator, k: int) -> tuple[Floats, Floats, int, Floats, float]:
    d, axis, cone = _frame(rng, k, "queue")
    query = rows(rng, (_PAIRS[k % 4], d), axis, cone)
    return query, _near(rng, query, cone), (9, 8, 11, 6)[k % 4], axis, cone


def _queue(rng: np.random.Generator, k: int) -> Batch:
    query, key, size, axis, cone = _query(rng, k)
    return Batch("queue", (query, key, rows(rng, (size, len(axis)), axis, cone)))


def _own(rng: np.random.Generator, k: int) -> Batch:
    query, key, size, axis, cone = _query(rng, k)
    negatives = rows(rng, (len(query), size, len(axis)), axis, cone)
    return Batch("own", (query, key, negatives))


def _triplets(rng: np.random.Generator, k: int) -> Batch:
    d, axis, _ = _frame(rng, k, "triplets")
    cone = _CONES[k % 2]  # distances have no temperature that would need a narrow one
    anchor = rows(rng, ((7, 5, 9, 6)[k % 4], d), axis, cone)
    return Batch("triplets", (anchor, _near(rng, anchor, cone), _near(rng, anchor, cone / 2)))


def _rows(rng: np.random.Generator, k: int) -> Batch:
    d, axis, cone = _frame(rng, k, "rows")
    return Batch("rows", (rows(rng, ((9, 7, 11, 8)[k % 4], d), axis, cone),))


def _proxies(rng: np.random.Generator, k: int) -> Batch:
    """Of a class more than there are rows of, and of some classes none."""
    batch = _labels(rng, k)
    (z,), labels = batch.parts, batch.facts
    assert labels is not None
    _, axis, cone = _frame(rng, k)
    proxies = rows(rng, (int(labels.max()) + 2 + k % 2, z.shape[1]), axis[: z.shape[1]], cone)
    own = np.stack([z[labels == c].sum(axis=0) for c in range(len(proxies))])
    return Batch("proxies", (z, proxies + 0.4 * own), labels)


def _centres(rng: np.random.Generator, k: int) -> Batch:
    batch = _proxies(rng, k)
    z, proxies = batch.parts
    noise = rng.normal(size=(len(proxies), 2 + k % 2, z.shape[1]))
    spread = np.abs(proxies).mean() * noise
    return Batch("centres", (z, proxies[:, None] + spread), batch.facts)


def _scored(rng: np.random.Generator, k: int) -> Batch:
    """Pairs, some as near as two views, and grades, of which some tie."""
    batch = _views(rng, k + 1)
    targets = rng.integers(0, 5, len(batch.parts[0])) / 4
    targets[0], targets[1] = 0.25, 0.75
    return Batch("scored", batch.parts, targets)


def _ids(rng: np.random.Generator, k: int) -> Batch:
    """Two sides, on which some ids come twice."""
    batch = _views(rng, k)
    ids = np.array(((0, 1, 0, 2), (3, 1, 1, 0, 4, 1), (0, 1, 1), (0, 1, 2, 0, 3, 4, 4, 5))[k % 4])
    return replace(batch, kind="ids", facts=ids)


def _guided(rng: np.random.Generator, k: int) -> Batch:
    """Two sides, and what a guide makes of them; some rows of it are near to others' partners."""
    a, b = _views(rng, k).parts
    first = rows(rng, (len(a), 6), rng.normal(size=6), 1.0)
    return Batch("guided", (a, b), None, (first, _near(rng, first, 1.0)))


def _guided_own(rng: np.random.Generator, k: int) -> Batch:
    """Queries with negatives of their own, and what a guide makes of all; to some queries it finds
    their negatives, or others' keys, nearer than their own key."""
    query, key, negatives = _own(rng, k).parts
    first = rows(rng, (len(query), 6), rng.normal(size=6), 1.0)
    own = np.stack([_near(rng, first, 1.0) for _ in range(negatives.shape[1])], axis=1)
    return Batch("guided_own", (query, key, negatives), None, (first, _near(rng, first, 1.0), own))


def _reference(rng: np.random.Generator, k: int) -> Batch:
    batch, other = _labels(rng, k), _labels(rng, k + 3)
    z = batch.parts[0]
    assert other.facts is not None
    _, axis, cone = _frame(rng, k)
    found = rows(rng, (len(other.facts), z.shape[1]), axis, cone)
    return Batch("reference", (z, found), batch.facts, (other.facts,))


def _matrix(rng: np.random.Generator, k: int) -> Batch:
    """Weights of pairs, of which some are 0; none of a row with itself."""
    z = _rows(rng, k).parts[0]
    weights = rng.uniform(0.1, 1, (len(z), len(z))) * (rng.random((len(z), len(z))) < 0.7)
    np.fill_diagonal(weights, 0)
    return Batch("matrix", (z,), weights)


def _marks(rng: np.random.Generator, k: int) -> Batch:
    z = _rows(rng, k).parts[0]
    marks = (rng.random((len(z), 3 + k % 2)) < 0.5).astype(int)
    marks[0, 0] = 1
    return Batch("marks", (z,), marks)


def _frozen(rng: np.random.Generator, k: int) -> Batch:
    z = _rows(rng, k).parts[0]
    return Batch("frozen", (z,), rng.normal(size=(len(z), 3)))


_MAKERS: dict[str, Callable[[np.random.Generator, int], Batch]] = {
    "views": _views, "labels": _labels, "labelled_views": _labelled_views, "targets": _targets,
    "wide_targets": _wide_targets,
    "queue": _queue, "own": _own, "triplets": _triplets, "target_views": _target_views,
    "rows": _rows, "proxies": _proxies, "centres": _centres, "scored": _scored,
    "ids": _ids, "guided": _guided, "guided_own": _guided_own, "reference": _reference,
    "matrix": _matrix, "marks": _marks, "frozen": _frozen,
}  # fmt: skip

"""Who is whose positive: from views, sides, labels or several labels a row, a tile at a time.

A pairing also says in which order it wants the rows. Rows sorted by class make every tile off the
diagonal wholly positive or wholly negative, so that masks are needed on few tiles only.
"""

from collections.abc import Callable
from math import inf
from typing import Any, Literal, Protocol

import numpy as np

from nearfar.frameworks import Array, Block, BlockTuples, Namespace

Compared = tuple[Array, Array]
"""Two arrays that broadcast to a tile, (i.size, j.size); where they are equal tells of pairs."""


class Pairing(Protocol):
    n: Any
    """Number of rows."""
    sizes: list[int] | None
    """Class sizes in the order of the rows, where the host knows them and sorts rows by class."""
    together: int
    """Where it does not: blocks of multiples of so many rows keep positives together, or 0."""

    mixed: Callable[[Namespace, Block, Block], Array] | None
    """Tells of a block and one further on whether they share a class, where only the device knows
    the classes and rows are sorted by them."""

    def gather(self, ns: Namespace, parts: tuple[Array, ...]) -> tuple[Array, ...]:
        """The embeddings as one or two sides of rows (n, d), in the pairing's order."""

    def scatter(self, ns: Namespace, sides: tuple[Array, ...]) -> tuple[Array, ...]:
        """Undo `gather`."""

    def restore(self, ns: Namespace, values: Array) -> Array:
        """Per-anchor values (n,) in the order that the caller knows."""

    def arrange(self, ns: Namespace, values: Array) -> Array:
        """Undo `restore`."""

    def counts(self, ns: Namespace, like: Array, pairs: BlockTuples) -> Array:
        """Number of positives of each row, (n,), in the dtype of `like`; `pairs` of all blocks."""

    def compared(self, ns: Namespace, i: Block, j: Block) -> Compared:
        """Equal where the column is a positive of the row or the row itself: see `Compared`."""


class Views:
    """Two views (N, d): rows 2k and 2k + 1 are the k-th pair."""

    sizes: list[int] | None = None
    together = 2
    mixed: Callable[[Namespace, Block, Block], Array] | None = None

    def __init__(self, ns: Namespace, like: Array) -> None:
        self._pairs = ns.shape(like)[0]
        self.n = 2 * self._pairs
        self._like = like

    def gather(self, ns: Namespace, parts: tuple[Array, ...]) -> tuple[Array, ...]:
        return (ns.xp.reshape(ns.xp.stack(parts, axis=1), (-1, ns.shape(parts[0])[1])),)

    def scatter(self, ns: Namespace, sides: tuple[Array, ...]) -> tuple[Array, ...]:
        (rows,) = sides
        pairs = ns.xp.reshape(rows, (self._pairs, 2, ns.shape(rows)[1]))
        return pairs[:, 0, :], pairs[:, 1, :]

    def spread(self, ns: Namespace, values: Array) -> tuple[Array, ...]:
        """Values of the pairs (N,) for every anchor of every side, (n,)."""
        return (ns.xp.reshape(ns.xp.stack((values, values), axis=1), (-1,)),)

    def collect(self, ns: Namespace, sides: tuple[Array, ...]) -> Array:
        """Values of the anchors summed up over each pair, (N,)."""
        return ns.xp.sum(ns.xp.reshape(sides[0], (-1, 2)), axis=1)

    def restore(self, ns: Namespace, values: Array) -> Array:
        return ns.xp.reshape(
            ns.xp.permute_dims(ns.xp.reshape(values, (self._pairs, 2)), (1, 0)), (self.n,)
        )

    def arrange(self, ns: Namespace, values: Array) -> Array:
        return ns.xp.reshape(
            ns.xp.permute_dims(ns.xp.reshape(values, (2, self._pairs)), (1, 0)), (self.n,)
        )

    def counts(self, ns: Namespace, like: Array, pairs: BlockTuples) -> Array:
        return ns.xp.ones_like(like)

    def compared(self, ns: Namespace, i: Block, j: Block) -> Compared:
        return ns.numbers(i, j, self._like, 2)


class _AsGiven:
    """Rows that keep their order."""

    n: Any
    together = 0
    mixed: Callable[[Namespace, Block, Block], Array] | None = None

    sizes: list[int] | None = None

    def gather(self, ns: Namespace, parts: tuple[Array, ...]) -> tuple[Array, ...]:
        return parts

    def scatter(self, ns: Namespace, sides: tuple[Array, ...]) -> tuple[Array, ...]:
        return sides

    def restore(self, ns: Namespace, values: Array) -> Array:
        return values

    def arrange(self, ns: Namespace, values: Array) -> Array:
        return values


class Matched(_AsGiven):
    """Two sides (N, d): row i of each is the only positive of row i of the other."""

    def __init__(self, ns: Namespace, like: Array) -> None:
        self.n = ns.shape(like)[0]
        self._like = like

    def spread(self, ns: Namespace, values: Array) -> tuple[Array, ...]:
        # Not the same array twice: compiled programs refuse outputs that share memory.
        return values, 0 + values

    def collect(self, ns: Namespace, sides: tuple[Array, ...]) -> Array:
        return sides[0] + sides[1]

    def counts(self, ns: Namespace, like: Array, pairs: BlockTuples) -> Array:
        return ns.xp.ones_like(like)

    def compared(self, ns: Namespace, i: Block, j: Block) -> Compared:
        return ns.numbers(i, j, self._like)


Partnered = Views | Matched
"""Pairings in which the k-th rows of the parts are each other's only positives."""


class AllOthers(_AsGiven):
    """Every row is a positive of every other, more or less: numbers tell how much."""

    def __init__(self, ns: Namespace, like: Array) -> None:
        self.n = ns.shape(like)[0]

    def counts(self, ns: Namespace, like: Array, pairs: BlockTuples) -> Array:
        ones = ns.xp.ones_like(like)
        return ns.xp.sum(ones) - ones

    def compared(self, ns: Namespace, i: Block, j: Block) -> Compared:
        raise NotImplementedError


class _InOrder:
    """Rows in another order than they are given in."""

    _order: Array
    _back: Array
    """The order that undoes it."""

    def gather(self, ns: Namespace, parts: tuple[Array, ...]) -> tuple[Array, ...]:
        return (self.arrange(ns, parts[0]),)

    def scatter(self, ns: Namespace, sides: tuple[Array, ...]) -> tuple[Array, ...]:
        return (self.restore(ns, sides[0]),)

    def restore(self, ns: Namespace, values: Array) -> Array:
        return ns.take(values, self._back)

    def arrange(self, ns: Namespace, values: Array) -> Array:
        return ns.take(values, self._order)


class SortedTargets(_InOrder, AllOthers):
    """Rows in the order of one number each, so that distances fall and rise along a row."""

    def __init__(self, ns: Namespace, targets: np.ndarray) -> None:
        self.n = len(targets)
        self._order = np.argsort(targets.reshape(-1), kind="stable")
        self._back = np.argsort(self._order, kind="stable")


class SortedLabels(_AsGiven):
    """Labels that the host can read: rows are sorted by class."""

    def __init__(self, ns: Namespace, labels: np.ndarray, like: Array) -> None:
        # Each NaN is a class of its own: it equals nothing, itself included.
        _, codes, sizes = np.unique(
            labels, return_inverse=True, return_counts=True, equal_nan=False
        )
        self.n = len(labels)
        self.sizes = sizes.tolist()
        order = np.argsort(codes, kind="stable")
        self._counts = sizes[codes][order] - 1
        self._sorted = bool((order == np.arange(self.n)).all())
        self._codes = ns.codes(ns.asarray(codes[order], like, ns.xp.int64), like)
        self._order, self._back = order, np.argsort(order, kind="stable")
        if ns.accelerated(like):  # sent once
            self._order, self._back = (
                ns.asarray(x, like, ns.xp.int64) for x in (self._order, self._back)
            )

    def gather(self, ns: Namespace, parts: tuple[Array, ...]) -> tuple[Array, ...]:
        return (self.arrange(ns, parts[0]),)

    def scatter(self, ns: Namespace, sides: tuple[Array, ...]) -> tuple[Array, ...]:
        return (self.restore(ns, sides[0]),)

    def restore(self, ns: Namespace, values: Array) -> Array:
        return values if self._sorted else ns.take(values, self._back)

    def arrange(self, ns: Namespace, values: Array) -> Array:
        return values if self._sorted else ns.take(values, self._order)

    def counts(self, ns: Namespace, like: Array, pairs: BlockTuples) -> Array:
        return ns.asarray(self._counts, like)

    def compared(self, ns: Namespace, i: Block, j: Block) -> Compared:
        return _crossed(ns, self._codes, i, j)


class DeviceLabels(_AsGiven):
    """Labels that only the device can read: every tile is masked."""

    def __init__(self, ns: Namespace, labels: Array) -> None:
        self.n = ns.shape(labels)[0]
        self._labels = ns.cast(labels, ns.xp.int64) if labels.dtype == ns.xp.bool else labels

    def counts(self, ns: Namespace, like: Array, pairs: BlockTuples) -> Array:
        found = count_equal(ns, self._labels, self._labels, like)
        # NaN equals nothing, itself included.
        return found - ns.cast(self._labels == self._labels, like.dtype)

    def compared(self, ns: Namespace, i: Block, j: Block) -> Compared:
        return _crossed(ns, self._labels, i, j)


class SortedOnDevice(_InOrder, DeviceLabels):
    """The same in the order of the classes."""

    def __init__(self, ns: Namespace, labels: Array) -> None:
        super().__init__(ns, labels)
        self._order = ns.xp.argsort(self._labels)
        self._back = ns.xp.argsort(self._order)
        self._labels = ns.take(self._labels, self._order)

    def mixed(self, ns: Namespace, i: Block, j: Block) -> Array:
        last = ns.rows(self._labels, Block(i.start + i.size - 1, 1))
        return (last == ns.rows(self._labels, Block(j.start, 1)))[0]


class ManyLabels(_AsGiven):
    """Multi-hot labels (n, c) in {0, 1}: a positive shares a label."""

    def __init__(self, ns: Namespace, labels: Array, like: Array) -> None:
        self.n = ns.shape(labels)[0]
        self._labels = ns.cast(labels, ns.compute_dtype(like))

    def counts(self, ns: Namespace, like: Array, pairs: BlockTuples) -> Array:
        def body(count: Array, i: Block, j: Block) -> Array:
            shared, one = self.compared(ns, i, j)
            return ns.add_rows_(count, i, ns.row_sums(ns.cast(shared == one, like.dtype)))

        itself = ns.cast(ns.xp.any(self._labels > 0, axis=1), like.dtype)
        return ns.loop(pairs, body, -itself)

    def compared(self, ns: Namespace, i: Block, j: Block) -> Compared:
        return sharing(ns, ns.rows(self._labels, i), ns.rows(self._labels, j))


def sharing(ns: Namespace, marks: Array, others: Array) -> Compared:
    """Equal where two rows of marks in {0, 1} share one."""
    shared = ns.xp.sign(marks @ ns.xp.matrix_transpose(others))
    return shared, ns.xp.ones_like(shared[:1, :1])


def count_equal(ns: Namespace, labels: Array, others: Array, like: Array) -> Array:
    """How many of the others equal each label, (n,), in the dtype of `like`; none equals NaN."""
    xp = ns.xp
    if not ns.is_floating(labels):
        return _count_sorted(ns, labels, others, like)
    # NaN has no place of its own in every framework's order.
    nan = labels != labels
    others = xp.where(others != others, xp.full_like(others, inf), others)
    found = _count_sorted(ns, xp.where(nan, xp.full_like(labels, inf), labels), others, like)
    return xp.where(nan, xp.zeros_like(found), found)


def _count_sorted(ns: Namespace, labels: Array, others: Array, like: Array) -> Array:
    ordered = ns.xp.sort(others)
    last = ns.xp.searchsorted(ordered, labels, side="right")
    first = ns.xp.searchsorted(ordered, labels, side="left")
    return ns.cast(last - first, like.dtype)


def _crossed(ns: Namespace, codes: Array, i: Block, j: Block) -> Compared:
    return ns.rows(codes, i)[:, None], ns.rows(codes, j)[None, :]


PairingKind = Literal["views", "matched", "labels", "many_labels", "targets"]


def pair_up(ns: Namespace, kind: PairingKind, inputs: tuple[Array, ...]) -> Pairing:
    """The pairing of a loss's inputs: two views or sides, or embeddings and labels."""
    like = inputs[0]
    if kind == "views":
        return Views(ns, like)
    if kind == "matched":
        return Matched(ns, like)
    if kind == "targets":
        one = len(inputs[1].shape) == 1 or inputs[1].shape[1] == 1
        seen = ns.peek(inputs[1]) if one else None
        return AllOthers(ns, like) if seen is None else SortedTargets(ns, seen)
    if kind == "many_labels":
        return ManyLabels(ns, inputs[1], like)
    known = ns.peek(inputs[1])
    if known is not None:
        return SortedLabels(ns, known, like)
    return SortedOnDevice(ns, inputs[1]) if ns.cond_on_device else DeviceLabels(ns, inputs[1])

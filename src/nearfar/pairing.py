"""Who is whose positive: from views, sides, labels or several labels a row, a tile at a time.

A pairing also says in which order it wants the rows. Rows sorted by class make every tile off the
diagonal wholly positive or wholly negative, so that masks are needed on few tiles only.
"""

from typing import Any, Literal

import numpy as np

from nearfar.codes import AS_GIVEN, Alike, Codes, count_equal, sharing
from nearfar.frameworks import Array, Block, BlockTuples, Namespace
from nearfar.relations import Compared, Relation, SamePlace


class Pairing(Relation):
    """Of the rows of a batch: a row belongs to its positives and to itself."""

    n: Any
    """Number of rows."""
    sizes: list[int] | None = None
    """Class sizes in the order of the rows, where the host knows them and sorts rows by class."""
    together: int = 0
    """Where it does not: blocks of multiples of so many rows keep positives together, or 0."""

    def gather(self, ns: Namespace, parts: tuple[Array, ...]) -> tuple[Array, ...]:
        """The embeddings as one or two sides of rows (n, d), in the pairing's order."""
        return parts

    def scatter(self, ns: Namespace, sides: tuple[Array, ...]) -> tuple[Array, ...]:
        """Undo `gather`."""
        return sides

    def restore(self, ns: Namespace, values: Array) -> Array:
        """Per-anchor values (n,) in the order that the caller knows."""
        return values

    def arrange(self, ns: Namespace, values: Array) -> Array:
        """Undo `restore`."""
        return values

    def counts(self, ns: Namespace, like: Array, pairs: BlockTuples) -> Array:
        """Number of positives of each row, (n,), in the dtype of `like`; `pairs` of all blocks."""
        raise NotImplementedError


class Views(SamePlace, Pairing):
    """Two views (N, d): rows 2k and 2k + 1 are the k-th pair."""

    together = 2

    def __init__(self, ns: Namespace, like: Array) -> None:
        super().__init__(like, width=2)
        self._pairs = ns.shape(like)[0]
        self.n = 2 * self._pairs

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


class Matched(SamePlace, Pairing):
    """Two sides (N, d): row i of each is the only positive of row i of the other."""

    def __init__(self, ns: Namespace, like: Array) -> None:
        super().__init__(like)
        self.n = ns.shape(like)[0]

    def spread(self, ns: Namespace, values: Array) -> tuple[Array, ...]:
        # Not the same array twice: compiled programs refuse outputs that share memory.
        return values, 0 + values

    def collect(self, ns: Namespace, sides: tuple[Array, ...]) -> Array:
        return sides[0] + sides[1]

    def counts(self, ns: Namespace, like: Array, pairs: BlockTuples) -> Array:
        return ns.xp.ones_like(like)


Partnered = Views | Matched
"""Pairings in which the k-th rows of the parts are each other's only positives."""


class AllOthers(Pairing):
    """Every row is a positive of every other, more or less: numbers tell how much."""

    def __init__(self, ns: Namespace, like: Array) -> None:
        self.n = ns.shape(like)[0]

    def counts(self, ns: Namespace, like: Array, pairs: BlockTuples) -> Array:
        ones = ns.xp.ones_like(like)
        return ns.xp.sum(ones) - ones


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


class SortedLabels(Alike, Pairing):
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
        array = ns.codes(ns.asarray(codes[order], like, ns.xp.int64), like)
        mine = Codes(array, codes[order], AS_GIVEN)
        super().__init__(mine, mine)
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


class DeviceLabels(Pairing):
    """Labels that only the device can read: every tile is masked."""

    def __init__(self, ns: Namespace, labels: Array) -> None:
        self.n = ns.shape(labels)[0]
        self._labels = ns.cast(labels, ns.xp.int64) if labels.dtype == ns.xp.bool else labels

    def counts(self, ns: Namespace, like: Array, pairs: BlockTuples) -> Array:
        found = count_equal(ns, self._labels, self._labels, like)
        # NaN equals nothing, itself included.
        return found - ns.cast(self._labels == self._labels, like.dtype)

    def compared(self, ns: Namespace, i: Block, j: Block) -> Compared:
        return ns.rows(self._labels, i)[:, None], ns.rows(self._labels, j)[None, :]


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


class ManyLabels(Pairing):
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

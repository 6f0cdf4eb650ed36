"""Whom the rows of a batch meet as anchors: its other rows, those of a reference, or both."""

from typing import Any, Literal, Protocol

import numpy as np

from nearfar.codes import AS_GIVEN, Alike, Codes, Order, numbered, order_by
from nearfar.evaluate.plan import all_pairs, anchors_by_class, class_blocks, each_block
from nearfar.evaluate.settings import Inputs
from nearfar.frameworks import Array, Block, BlockTuples, Namespace
from nearfar.pairing import PairingKind, pair_up
from nearfar.relations import Compared

Candidates = Literal["batch", "reference", "both"]
"""Other rows of the batch; a reference; the batch and then the reference."""


class Among(Protocol):
    """Anchors have the numbers 0 to n - 1, and candidates go on from `first`: one of an anchor's
    own number is itself. Both are in an order of their own."""

    n: Any
    m: Any
    first: Any
    itself: int
    """How many of the candidates are the anchor itself: 1 or 0."""
    most: int | None
    """No anchor has more positives, where the host knows."""
    sizes: list[int] | None
    """Of the classes that anchors and candidates stand sorted by, where they are the same rows and
    the host knows."""

    def gather(self, ns: Namespace, parts: tuple[Array, ...]) -> tuple[Array, ...]:
        """Anchors and candidates: one set of rows that begins with the anchors, or two."""

    def scatter(self, ns: Namespace, sides: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
        """Undo `gather`."""

    def restore(self, ns: Namespace, values: Array) -> Array:
        """Per-anchor values (n,) in the order that the caller knows."""

    def arrange(self, ns: Namespace, values: Array) -> Array:
        """Undo `restore`."""

    def positives(self, ns: Namespace, like: Array, side: int) -> Array:
        """How many an anchor has, (n,) as `like`, found `side` anchors at a time."""

    def blocks(self, side: int) -> BlockTuples:
        """Anchors, and if that is known the columns that hold all of their positives."""

    def compared(self, ns: Namespace, i: Block, window: Block) -> Compared:
        """Equal where a column is a positive of the row, or the row itself."""

    def targets(self, ns: Namespace, i: Block) -> tuple[Array, Array] | None:
        """Of the anchors of a block and of all candidates."""


def among(ns: Namespace, kind: PairingKind, candidates: Candidates, given: Inputs) -> Among:
    """Whom the anchors of a call meet. A reference without rows is none."""
    if candidates == "batch" or (candidates == "both" and given.embeddings[1].shape[0] == 0):
        return AmongBatch(ns, kind, given)
    return AmongReference(ns, kind, candidates == "both", given)


class AmongBatch:
    first = 0
    itself = 1

    def __init__(self, ns: Namespace, kind: PairingKind, given: Inputs) -> None:
        self._pairing = pair_up(ns, kind, (given.embeddings[0], *given.facts[:1]))
        self._empty = given.embeddings[1:]
        self.n = self.m = self._pairing.n
        self.sizes = self._pairing.sizes
        self.most = None if self.sizes is None else max(self.sizes) - 1
        self._targets = None
        if kind == "targets":
            self._targets = self._pairing.arrange(ns, given.facts[0])

    def gather(self, ns: Namespace, parts: tuple[Array, ...]) -> tuple[Array, ...]:
        return self._pairing.gather(ns, parts[:1])

    def scatter(self, ns: Namespace, sides: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
        (rows,) = sides
        found = (None,) if rows is None else self._pairing.scatter(ns, (rows,))
        return *found, *map(ns.matrix, self._empty)

    def restore(self, ns: Namespace, values: Array) -> Array:
        return self._pairing.restore(ns, values)

    def arrange(self, ns: Namespace, values: Array) -> Array:
        return self._pairing.arrange(ns, values)

    def positives(self, ns: Namespace, like: Array, side: int) -> Array:
        return self._pairing.counts(ns, like, all_pairs(self.n, side))

    def blocks(self, side: int) -> BlockTuples:
        if self.sizes is None:
            return each_block(self.n, side)
        return anchors_by_class(self.sizes, side)

    def compared(self, ns: Namespace, i: Block, window: Block) -> Compared:
        return self._pairing.compared(ns, i, window)

    def targets(self, ns: Namespace, i: Block) -> tuple[Array, Array] | None:
        return None if self._targets is None else (ns.rows(self._targets, i), self._targets)


class AmongReference:
    """`both`: the batch and then the reference are the candidates."""

    sizes: list[int] | None = None

    def __init__(self, ns: Namespace, kind: PairingKind, both: bool, given: Inputs) -> None:
        batch, reference = given.embeddings
        self.itself = int(both)
        self.n, rows = ns.shape(batch)[0], ns.shape(reference)[0]
        self.first = 0 if both else self.n
        self.m = self.n + rows if both else rows
        self.most: int | None = None
        self._count: np.ndarray | None = None
        self._codes: tuple[Codes, Codes] | None = None
        facts = given.facts[:2]
        if kind == "targets":
            self._orders = self._by_target(ns, facts)
            facts = tuple(o.take(ns, x) for o, x in zip(self._orders, facts, strict=True))
            self._targets = facts[0], ns.xp.concat(facts, axis=0) if both else facts[1]
            return
        # Sorted, a class is side by side in each set, but not in both together.
        ours, theirs = numbered(ns, facts, batch, (None, None) if both else (0, 1))
        self._orders = ours.order, theirs.order
        if both:
            theirs = _joined(ns, ours, theirs)
        self._codes = ours, theirs
        if ours.known is not None and theirs.known is not None:
            sizes = np.bincount(theirs.known, minlength=int(ours.known.max()) + 1)
            self._count = sizes[ours.known] - self.itself
            self.most = int(self._count.max())

    def _by_target(self, ns: Namespace, facts: tuple[Array, ...]) -> tuple[Order, Order]:
        """In the order of one number each distances fall and rise along a row."""
        known = [ns.peek(x) if len(x.shape) == 1 or x.shape[1] == 1 else None for x in facts]
        if known[0] is None or known[1] is None:
            return AS_GIVEN, AS_GIVEN
        return order_by(known[0].reshape(-1)), order_by(known[1].reshape(-1))

    def gather(self, ns: Namespace, parts: tuple[Array, ...]) -> tuple[Array, ...]:
        ordered = [o.take(ns, x) for o, x in zip(self._orders, parts, strict=True)]
        return (ns.xp.concat(ordered, axis=0),) if self.itself else tuple(ordered)

    def scatter(self, ns: Namespace, sides: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
        if self.itself:
            (rows,) = sides
            sides = (None, None) if rows is None else (rows[: self.n, :], rows[self.n :, :])
        return tuple(
            None if x is None else o.undo(ns, x) for o, x in zip(self._orders, sides, strict=True)
        )

    def restore(self, ns: Namespace, values: Array) -> Array:
        return self._orders[0].undo(ns, values)

    def arrange(self, ns: Namespace, values: Array) -> Array:
        return self._orders[0].take(ns, values)

    def positives(self, ns: Namespace, like: Array, side: int) -> Array:
        if self._count is not None:
            return ns.asarray(self._count, like)
        if self._codes is None:
            return ns.xp.zeros_like(like) + ns.number(self.m, like) - self.itself
        everyone = Block(0, self.m)

        def body(count: Array, i: Block) -> Array:
            rows, columns = self.compared(ns, i, everyone)
            same = ns.cast(rows == columns, like.dtype)
            if self.itself:
                same = ns.fill_diagonal_(same, i, everyone, 0)
            return ns.add_rows_(count, i, ns.row_sums(same))

        return ns.loop(each_block(self.n, side), body, like)

    def blocks(self, side: int) -> BlockTuples:
        ours, theirs = (None, None) if self._codes is None else (c.known for c in self._codes)
        if self.itself or ours is None or theirs is None:
            return each_block(self.n, side)
        _, sizes = np.unique(ours, return_counts=True)
        found = []
        for block, _ in class_blocks(sizes.tolist(), side):
            last = ours[block.start + block.size - 1]
            start = int(np.searchsorted(theirs, ours[block.start], side="left"))
            end = int(np.searchsorted(theirs, last, side="right"))
            # A window is never empty, since rules look for a largest entry in it.
            start = min(start, len(theirs) - 1)
            found.append((block, Block(start, max(1, end - start))))
        return found

    def compared(self, ns: Namespace, i: Block, window: Block) -> Compared:
        assert self._codes is not None
        return Alike(*self._codes).compared(ns, i, window)

    def targets(self, ns: Namespace, i: Block) -> tuple[Array, Array] | None:
        return None if self._codes else (ns.rows(self._targets[0], i), self._targets[1])


def _joined(ns: Namespace, ours: Codes, theirs: Codes) -> Codes:
    known = None
    if ours.known is not None and theirs.known is not None:
        known = np.concatenate([ours.known, theirs.known])
    return Codes(ns.xp.concat([ours.array, theirs.array], axis=0), known, AS_GIVEN)

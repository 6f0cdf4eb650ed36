"""Which rows are alike: labels and ids of one or several sets, in an order.

Sets are numbered together. Where the host can read them rows may be sorted by number, so that most
tiles of two sets are wholly alike or wholly not.
"""

from collections.abc import Sequence
from math import inf
from typing import Any, NamedTuple

import numpy as np

from nearfar.frameworks import Array, Block, BlockTuples, Namespace
from nearfar.relations import Compared, Places, Relation


class Order(NamedTuple):
    """An order of rows other than the given one; None: as given."""

    order: Any = None
    back: Any = None

    def take(self, ns: Namespace, x: Array) -> Array:
        return x if self.order is None else ns.take(x, self.order)

    def undo(self, ns: Namespace, x: Array) -> Array:
        return x if self.back is None else ns.take(x, self.back)


AS_GIVEN = Order()


def order_by(codes: np.ndarray) -> Order:
    order = np.argsort(codes, kind="stable")
    if (order == np.arange(len(order))).all():
        return AS_GIVEN
    return Order(order, np.argsort(order, kind="stable"))


class Codes:
    """Numbers (n,), or marks (n, c), of a set of rows."""

    def __init__(self, array: Array, known: np.ndarray | None, order: Order) -> None:
        """`known`: the numbers as the host has them; both in this order."""
        self.array, self.known, self.order = array, known, order
        self._ends: dict[Block, tuple[int, int]] = {}

    def repeated(self, ns: Namespace, times: int) -> "Codes":
        """Of rows that stand so many times side by side."""
        known = None if self.known is None else np.repeat(self.known, times)
        array = ns.xp.reshape(ns.xp.stack([self.array] * times, axis=1), (-1,))
        return Codes(array, known, self.order)

    def within(self, block: Block) -> np.ndarray:
        """The numbers of a block, where the host knows them."""
        assert self.known is not None
        return self.known[block.start : block.start + block.size]

    def ends(self, block: Block) -> tuple[int, int]:
        """The least and the largest of them."""
        if block not in self._ends:
            some = self.within(block)
            self._ends[block] = int(some.min()), int(some.max())
        return self._ends[block]


def numbered(
    ns: Namespace, sets: Sequence[Array], like: Array, orders: Sequence[int | None]
) -> list[Codes]:
    """Codes of several sets; each is put into the order of the set of this number, if any."""
    seen = [ns.peek(x) if len(x.shape) == 1 else None for x in sets]
    known = [x for x in seen if x is not None]
    if len(known) < len(seen):
        return [Codes(_compared(ns, ns.beside(x, like), like), None, AS_GIVEN) for x in sets]
    # Each NaN is a class of its own: it equals nothing, itself included.
    _, codes = np.unique(np.concatenate(known), return_inverse=True, equal_nan=False)
    parts = np.split(codes, np.cumsum([len(x) for x in known])[:-1])
    by = [order_by(part) for part in parts]
    found = []
    for part, number in zip(parts, orders, strict=True):
        order = AS_GIVEN if number is None else by[number]
        if order.order is not None:
            part = part[order.order]
        array = ns.codes(ns.asarray(part, like, ns.xp.int64), like)
        found.append(Codes(array, part, order))
    return found


def _compared(ns: Namespace, x: Array, like: Array) -> Array:
    if len(x.shape) == 2:
        return ns.cast(x, ns.compute_dtype(like))
    return ns.cast(x, ns.xp.int64) if x.dtype == ns.xp.bool else x


# Pairs of which more than so many of a tile are alike are sooner found in windows.
_FEW = 1 / 32


class Alike(Relation):
    """Rows and columns of the same number, or that share a mark.

    Windows and lists want numbers that ascend along the rows and along the columns.
    """

    def __init__(self, rows: Codes, columns: Codes) -> None:
        self._rows, self._columns = rows, columns
        self._known = rows.known is not None and columns.known is not None
        self._listed: dict[tuple[Block, Block], Places | None] = {}

    def compared(self, ns: Namespace, i: Block, j: Block) -> Compared:
        rows, columns = ns.rows(self._rows.array, i), ns.rows(self._columns.array, j)
        if len(self._rows.array.shape) == 1:
            return rows[:, None], columns[None, :]
        return sharing(ns, rows, columns)

    def either(self, i: Block | None, j: Block | None) -> tuple[bool, bool]:
        """Whether a tile may hold pairs that are alike, and pairs that are not."""
        if i is None or j is None or not self._known:
            return True, True
        (first, last), (least, largest) = self._rows.ends(i), self._columns.ends(j)
        if last < least or largest < first:
            return False, True
        return True, not first == last == least == largest

    def windows(self, i: Block, j: Block, size: int) -> list[tuple[Block, Block]]:
        if not self._known:
            return super().windows(i, j, size)
        known, found = self._columns.within(j), []
        for start in range(i.start, i.start + i.size, size):
            part = Block(start, min(size, i.start + i.size - start))
            least, largest = self._rows.ends(part)
            first, end = np.searchsorted(known, least), np.searchsorted(known, largest, "right")
            if first < end:
                found.append((part, Block(j.start + int(first), int(end - first))))
        return found

    def listed(self, i: Block, j: Block) -> Places | None:
        if not self._known:
            return None
        if (i, j) not in self._listed:
            self._listed[i, j] = self._places(i, j)
        return self._listed[i, j]

    def _places(self, i: Block, j: Block) -> Places | None:
        known, others = self._rows.within(i), self._columns.within(j)
        first, end = (np.searchsorted(others, known, side) for side in ("left", "right"))
        each = end - first
        if each.sum() > _FEW * i.size * j.size:
            return None
        before = np.cumsum(each) - each
        return (
            np.repeat(np.arange(i.size), each),
            np.arange(each.sum()) + np.repeat(first - before, each),
        )


class Own(Relation):
    """A row and the columns that are its own, so many each; with codes of the rows, also those of
    every row that is like it."""

    def __init__(self, like: Array, apiece: int, codes: Codes | None) -> None:
        self._like, self._apiece, self._codes = like, apiece, codes

    def compared(self, ns: Namespace, i: Block, j: Block) -> Compared:
        rows, columns = ns.positions(i, self._like), ns.positions(j, self._like) // self._apiece
        if self._codes is not None:
            rows, columns = (ns.take(self._codes.array, x) for x in (rows, columns))
        return rows[:, None], columns[None, :]


def number_alike(ns: Namespace, rows: Codes, columns: Codes, like: Array) -> Array:
    """How many columns are like each row, (n,), of numbers (n,)."""
    if rows.known is not None and columns.known is not None:
        size = max(rows.known.max(initial=-1), columns.known.max(initial=-1)) + 1
        return ns.asarray(np.bincount(columns.known, minlength=size)[rows.known], like)
    return count_equal(ns, rows.array, columns.array, like)


def number_sharing(
    ns: Namespace, rows: Codes, columns: Codes, tiles: Sequence[BlockTuples], like: Array
) -> Array:
    """How many columns share a mark with each row, (n,), of marks (n, c); by these tiles."""

    relation = Alike(rows, columns)

    def body(count: Array, i: Block, j: Block) -> Array:
        shared, one = relation.compared(ns, i, j)
        return ns.add_rows_(count, i, ns.row_sums(ns.cast(shared == one, like.dtype)))

    count = ns.zeros((ns.shape(rows.array)[0],), like)
    for items in tiles:
        count = ns.loop(items, body, count)
    return count


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

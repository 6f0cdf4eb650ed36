"""Which rows are alike: labels and ids of one or several sets, in an order.

Sets are numbered together. Where the host can read them rows may be sorted by number, so that most
tiles of two sets are wholly alike or wholly not.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nearfar.frameworks import Array, Block, BlockTuples, Namespace
from nearfar.pairing import Compared, count_equal, sharing


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

    def ends(self, block: Block) -> tuple[int, int]:
        """The least and the largest number of a block, where the host knows them."""
        assert self.known is not None
        if block not in self._ends:
            some = self.known[block.start : block.start + block.size]
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


def compared(ns: Namespace, rows: Codes, columns: Codes, i: Block, j: Block) -> Compared:
    """Equal where a row and a column are alike."""
    left, right = ns.rows(rows.array, i), ns.rows(columns.array, j)
    if len(rows.array.shape) == 1:
        return left[:, None], right[None, :]
    return sharing(ns, left, right)


def how_alike(rows: Codes, columns: Codes, i: Block | None, j: Block | None) -> tuple[bool, bool]:
    """Whether a tile may hold pairs that are alike, and pairs that are not."""
    if i is None or j is None or rows.known is None or columns.known is None:
        return True, True
    (first, last), (least, largest) = rows.ends(i), columns.ends(j)
    if last < least or largest < first:
        return False, True
    return True, not first == last == least == largest


def where_alike(
    rows: Codes, columns: Codes, size: int, i: Block, j: Block
) -> list[tuple[Block, Block]]:
    """Windows of a tile, of so many rows, that hold all pairs that are alike, of codes in ascending
    order."""
    assert rows.known is not None
    assert columns.known is not None
    known, found = columns.known[j.start : j.start + j.size], []
    for start in range(i.start, i.start + i.size, size):
        part = Block(start, min(size, i.start + i.size - start))
        least, largest = rows.ends(part)
        first, end = np.searchsorted(known, least), np.searchsorted(known, largest, "right")
        if first < end:
            found.append((part, Block(j.start + int(first), int(end - first))))
    return found


# Pairs of which more than so many of a tile are alike are sooner found in windows.
_FEW = 1 / 32


def few_alike(
    rows: Codes, columns: Codes, i: Block, j: Block
) -> tuple[np.ndarray, np.ndarray] | None:
    """Rows and columns in a tile of all pairs that are alike, of codes in ascending order; None
    where these are not few."""
    assert rows.known is not None
    assert columns.known is not None
    known = rows.known[i.start : i.start + i.size]
    others = columns.known[j.start : j.start + j.size]
    first, end = (np.searchsorted(others, known, side) for side in ("left", "right"))
    each = end - first
    if each.sum() > _FEW * i.size * j.size:
        return None
    before = np.cumsum(each) - each
    return (
        np.repeat(np.arange(i.size), each),
        np.arange(each.sum()) + np.repeat(first - before, each),
    )


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

    def body(count: Array, i: Block, j: Block) -> Array:
        shared, one = compared(ns, rows, columns, i, j)
        return ns.add_rows_(count, i, ns.row_sums(ns.cast(shared == one, like.dtype)))

    count = ns.zeros((ns.shape(rows.array)[0],), like)
    for items in tiles:
        count = ns.loop(items, body, count)
    return count

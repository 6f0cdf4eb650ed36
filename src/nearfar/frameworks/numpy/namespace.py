"""NumPy: everything in place, in buffers that are reused from tile to tile."""

import warnings
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from math import isfinite
from typing import Any, ClassVar

import array_api_compat.numpy as xp
import numpy as np

from nearfar.frameworks.memory import Spare, Stores, aligned, by_chunks
from nearfar.frameworks.numpy import activations, segments, threads
from nearfar.frameworks.protocol.elementwise import LEAST, SAMPLE, SLOW, UNSEEN, WORTH
from nearfar.frameworks.protocol.namespace import Namespace
from nearfar.frameworks.protocol.types import (
    Array,
    Block,
    DType,
    Run,
    Scratch,
)


def _empty(size: int, like: Array) -> Array:
    return aligned(size, like.dtype)


def _room(x: Array, y: Array, scratch: Scratch | None, key: str) -> Array:
    """For what both give; `x` has all rows."""
    assert scratch is not None
    return scratch.buffer(key, (x.shape[0], max(x.shape[1], y.shape[1])), x)


# Squares of norms that are inside the dtype, as those of entries that count are.
_SQUARES = {4: (1e-30, 1e30), 8: (1e-280, 1e280)}


def _beside(x: Array, width: int) -> Array:
    """Where rows of a tile on the diagonal meet their partners, (n / width, width)."""
    n, size = x.shape[0], x.itemsize
    steps = width * (n + 1) * size, (n - 1) * size
    return np.ndarray((n // width, width), x.dtype, x, (width - 1) * size, steps)


_BOOLEAN = np.empty(0, bool)
_SPARE, _STORES = Spare(_empty), Stores(_empty)


def _exp(x: Array) -> Array:
    """As far as sigmoids and softplus tell it from more."""
    return np.exp(np.minimum(x, activations.FAR[x.itemsize]))


@np.errstate(divide="ignore")
def _slow(slope: Array, itemsize: int) -> Array:
    """Below what weights of each row or column make products slow; those of a 1 may themselves."""
    return np.clip(np.log(LEAST[itemsize]) - np.log(slope), SLOW[itemsize], 1)


class NumPy(Namespace):
    name: ClassVar[str] = "numpy"
    xp: Any = xp
    in_place: ClassVar[bool] = True
    on_host: ClassVar[bool] = True
    checks_values: ClassVar[bool] = True

    def is_array(self, x: Any) -> bool:
        return isinstance(x, np.ndarray)

    def signature(self, arrays: tuple[Any, ...]) -> Hashable | None:
        found: list[Any] = [self]
        for x in arrays:
            if type(x) is not np.ndarray or not x.dtype.isnative:
                return None
            found += (x.shape, x.dtype)
        return tuple(found)

    def peek(self, x: Array) -> np.ndarray | None:
        return np.asarray(x)

    def to_numpy(self, x: Array) -> np.ndarray:
        return np.asarray(x)

    def workers(self, wanted: int | None) -> int | None:
        return threads.default() if wanted is None else wanted

    def pool(self, workers: int) -> AbstractContextManager[Run]:
        return threads.pool(workers)

    def few_places(self, mask: Array, share: float) -> tuple[Array, Array] | None:
        if np.count_nonzero(mask) > share * mask.size:
            return None
        # Of the flat mask places are found in half the time.
        rows, columns = np.divmod(np.flatnonzero(mask), mask.shape[1])
        return rows, columns

    def asarray(self, values: Any, like: Array, dtype: DType | None = None) -> Array:
        return np.asarray(values, dtype=like.dtype if dtype is None else dtype)

    def cast(self, x: Array, dtype: DType) -> Array:
        if dtype != np.float16 or x.dtype == np.float16:
            return x.astype(dtype, copy=False)
        with np.errstate(over="ignore"):
            narrow = x.astype(dtype)
        if np.isinf(narrow).any() and not np.isinf(x).any():
            largest = np.abs(x).max()
            warnings.warn(
                f"expected values up to 65504 for float16; received {largest:.4g}, which becomes "
                "infinite: pass the embeddings in float32, or a smaller scale",
                UserWarning,
                stacklevel=2,
            )
        return narrow

    def warn_if(self, flag: Array, message: str) -> None:
        if flag:
            warnings.warn(message, UserWarning, stacklevel=2)

    def zeros(self, shape: tuple[int, ...], like: Array) -> Array:
        return np.zeros(shape, dtype=like.dtype)

    def by_rows(
        self, function: Callable[..., tuple[Array, ...]], *arrays: Array | None
    ) -> tuple[Array, ...]:
        return by_chunks(_empty, function, arrays)

    def set_rows_(self, x: Array, block: Block, value: Array) -> Array:
        x[block.start : block.start + block.size] = value
        return x

    def add_rows_(self, x: Array, block: Block, value: Array) -> Array:
        part = self.rows(x, block)
        np.add(part, value, out=part)
        return x

    def add_product_(
        self, x: Array, block: Block, a: Array, b: Array, scratch: Scratch | None, times: int = 1
    ) -> Array:
        assert scratch is not None
        out = scratch.buffer("product", (a.shape[0], b.shape[1]), x)
        np.matmul(a, b, out=out)
        return self.add_rows_(x, block, out if times == 1 else np.multiply(out, times, out=out))

    def add_at_(self, x: Array, places: Array, values: Array) -> Array:
        # Sorted and summed up by runs: np.add.at takes ten times as long for rows.
        order = np.argsort(places, kind="stable")
        found, starts = np.unique(places[order], return_index=True)
        x[found] += np.add.reduceat(values[order], starts, axis=0)
        return x

    def set_columns_(self, x: Array, block: Block, value: Array) -> Array:
        x[:, block.start : block.start + block.size] = value
        return x

    def add_columns_(self, x: Array, block: Block, value: Array) -> Array:
        part = self.columns(x, block)
        np.add(part, value, out=part)
        return x

    def scratch(self) -> AbstractContextManager[Scratch]:
        return _SPARE.lend()

    def store(self, owner: object, size: int, like: Array) -> Array:
        return _STORES.lend(owner, size, like)

    def surely_finite(self, x: Array) -> bool:
        # One product of BLAS, where `isfinite` and `all` are two passes and an array.
        return x.itemsize > 2 and isfinite(np.vdot(x, x))

    def host_product(self, a: Array, b: Array) -> Array:
        return a @ b

    def from_host(self, x: Array) -> Array:
        return x

    def host_errors(self) -> AbstractContextManager[Any]:
        # Exponentials of far logits are 0, and that is no error where a program traps errors.
        return np.errstate(under="ignore")

    def softplus(self, x: Array) -> Array:
        return self._softplus(x, _exp(x))

    def sigmoid(self, x: Array) -> Array:
        e = _exp(x)
        return e / (e + 1)

    def softplus_and_sigmoid(self, x: Array) -> tuple[Array, Array]:
        e = _exp(x)
        return self._softplus(x, e), e / (e + 1)

    def _softplus(self, x: Array, e: Array) -> Array:
        found, far = np.log1p(e), activations.FAR[x.itemsize]
        if not x.max(initial=0) <= far:  # or NaN
            found += np.maximum(x - far, 0)
        return found

    def dots(self, x: Array, y: Array) -> Array:
        return np.vecdot(x, y)

    def unit_rows(self, z: Array, factor: Any) -> tuple[Array, Array]:
        low, high = _SQUARES[z.itemsize]
        # Of all entries together, which BLAS does not complain about.
        if len(z) and np.vdot(z, z) < high:
            square = np.vecdot(z, z)
            if square.min() > low:
                scale = (factor / np.sqrt(square))[:, None]
                return z * scale, scale
        return super().unit_rows(z, factor)

    def without_(self, x: Array, p: Array, times: Any) -> tuple[Array, Array]:
        along = np.vecdot(p, x)[:, None]
        return np.subtract(x, p * (along * times), out=x), along

    def product(self, a: Array, b: Array, scratch: Scratch | None, key: str) -> Array:
        assert scratch is not None
        out = scratch.buffer(key, (a.shape[0], b.shape[0]), a)
        if np.may_share_memory(a, b):
            # Of rows with themselves it would compute half and then mirror it, which takes longer.
            b = self.copy(b, scratch, "columns")
        return np.matmul(a, b.T, out=out)

    def copy(self, x: Array, scratch: Scratch | None, key: str) -> Array:
        assert scratch is not None
        out = scratch.buffer(key, x.shape, x)
        np.copyto(out, x)
        return out

    def outer_sum(self, x: Array, y: Array, scratch: Scratch | None, key: str) -> Array:
        assert scratch is not None
        # A product in which all else is 1: exact, and two to three times as fast as a sum.
        left, right = np.ones((len(x), 2), x.dtype), np.ones((2, len(y)), x.dtype)
        left[:, 0], right[1] = x, y
        return np.matmul(left, right, out=scratch.buffer(key, (len(x), len(y)), x))

    def plus(self, x: Array, y: Array, scratch: Scratch | None, key: str) -> Array:
        return np.add(x, y, out=_room(x, y, scratch, key))

    def minus(self, x: Array, y: Array, scratch: Scratch | None, key: str) -> Array:
        return np.subtract(x, y, out=_room(x, y, scratch, key))

    def times(self, x: Array, y: Array, scratch: Scratch | None, key: str) -> Array:
        return np.multiply(x, y, out=_room(x, y, scratch, key))

    def over(self, x: Array, y: Array, scratch: Scratch | None, key: str) -> Array:
        return np.divide(x, y, out=_room(x, y, scratch, key))

    def up_to(self, x: Array, limit: Array, scratch: Scratch | None, key: str) -> Array:
        assert scratch is not None
        return self.up_to_(x, limit, scratch.buffer(key, x.shape, x))

    # An order holds places in the flattened matrix: taking those is four times as fast as
    # np.take_along_axis.

    def argsort(self, x: Array) -> Array:
        return self._flat(np.argsort(x, axis=1))

    def merge(self, x: Array, scratch: Scratch | None = None, key: str = "") -> Array:
        return self._flat(segments.merge(x))

    def _flat(self, order: Array) -> Array:
        n, m = order.shape
        order += m * np.arange(n)[:, None]
        return order

    def gather(
        self, x: Array, order: Array, scratch: Scratch | None = None, key: str = ""
    ) -> Array:
        if scratch is None:
            return x.reshape(-1).take(order)
        out = scratch.buffer(key, order.shape, x)
        # In another mode it would write to an array of its own first.
        return x.reshape(-1).take(order, out=out, mode="clip")

    def largest(self, x: Array) -> tuple[Array, Array]:
        columns = np.argmax(x, axis=1)
        return columns, x[np.arange(len(x)), columns]

    def largest_of_columns(self, x: Array) -> tuple[Array, Array]:
        return segments.largest_of_columns(x)

    def scatter(
        self, x: Array, order: Array, width: Any, scratch: Scratch | None = None, key: str = ""
    ) -> Array:
        shape = x.shape[0], width
        out = np.empty(shape, x.dtype) if scratch is None else scratch.buffer(key, shape, x)
        out.fill(0)
        out.reshape(-1)[order] = x
        return out

    def running_sum(self, x: Array, reverse: bool) -> Array:
        return segments.running_sum(x, reverse)

    def running_log_sum(self, x: Array, reverse: bool) -> Array:
        x = x[:, ::-1] if reverse else x
        sums = np.logaddexp.accumulate(x, axis=1)
        return sums[:, ::-1] if reverse else sums

    def segment_fill(self, x: Array, starts: Array, last: bool) -> Array:
        return segments.segment_fill(x, starts, last)

    def row_sums(self, x: Array) -> Array:
        # BLAS reads the tile once and in both directions alike; np.sum is slower along columns.
        return x @ np.ones(x.shape[1], dtype=x.dtype)

    def column_sums(self, x: Array) -> Array:
        return np.ones(x.shape[0], dtype=x.dtype) @ x

    def exp_(self, x: Array) -> Array:
        return np.exp(x, out=x)

    def exp_beside_one_(self, x: Array, slope: Array | None = None) -> Array:
        slow: Any = SLOW[x.itemsize]
        if slope is not None:
            slow = _slow(np.abs(slope), x.itemsize)
        by_rows = slope is not None and len(slope) > 1
        some = x[::SAMPLE] < (slow[::SAMPLE] if by_rows else slow)
        if np.count_nonzero(some) <= WORTH * some.size:
            return np.exp(x, out=x)
        unseen = UNSEEN[x.itemsize] if slope is None else np.maximum(slow, UNSEEN[x.itemsize])
        np.exp(np.maximum(x, unseen, out=x), out=x)
        # No number of a sum that has a 1 in it is another for it; a mask would take longer.
        x -= (1.001 * np.exp(unseen)).astype(x.dtype)
        return np.maximum(x, 0, out=x)

    def root_(self, x: Array) -> Array:
        return np.sqrt(np.maximum(x, 0, out=x), out=x)

    def abs_(self, x: Array) -> Array:
        return np.abs(x, out=x)

    def log1p_(self, x: Array) -> Array:
        return np.log1p(x, out=x)

    def inverse_(self, x: Array) -> Array:
        return np.divide(1, x, out=x)

    def add_(self, x: Array, y: Any) -> Array:
        return np.add(x, y, out=x)

    def sub_(self, x: Array, y: Any) -> Array:
        return np.subtract(x, y, out=x)

    def mul_(self, x: Array, y: Any) -> Array:
        return np.multiply(x, y, out=x)

    def div_(self, x: Array, y: Any) -> Array:
        return np.divide(x, y, out=x)

    def fill_(self, x: Array, mask: Array, value: float) -> Array:
        np.copyto(x, x.dtype.type(value), where=mask)
        return x

    def codes(self, x: Array, like: Array) -> Array:
        return x.astype(np.int16 if x.max(initial=0) < 2**15 else np.int32)

    def members(
        self, x: Array, y: Array, alike: bool, like: Array, scratch: Scratch | None
    ) -> Array:
        assert scratch is not None
        out = scratch.buffer("members", tuple(map(max, x.shape, y.shape)), _BOOLEAN)
        return np.equal(x, y, out=out) if alike else np.not_equal(x, y, out=out)

    def at_most(self, x: Array, limit: Array, scratch: Scratch | None) -> Array:
        assert scratch is not None
        out = np.greater(x, limit, out=scratch.buffer("members", x.shape, _BOOLEAN))
        return np.logical_not(out, out=out)

    def up_to_(self, x: Array, limit: Any, out: Array) -> Array:
        return np.less_equal(x, limit, out=out, casting="unsafe")

    def none_above(self, x: Array, limit: float) -> bool:
        return all(bool(some.max(initial=-np.inf) <= limit) for some in (x[::64], x))

    def equal(self, x: Array, y: Array, like: Array, scratch: Scratch | None, key: str) -> Array:
        assert scratch is not None
        out = scratch.buffer(key, tuple(map(max, x.shape, y.shape)), like)
        return np.equal(x, y, out=out, casting="unsafe")

    def packed(self, ones: Array, scratch: Scratch | None) -> Array:
        return np.packbits(ones != 0)

    def unpacked(self, bits: Array, out: Array, scratch: Scratch | None) -> Array:
        np.copyto(out, np.unpackbits(bits, count=out.size).reshape(out.shape))
        return out

    def add_times_(self, x: Array, y: Array, z: Array) -> Array:
        return np.add(x, np.multiply(y, z, out=y), out=y)

    def sub_twice_(self, x: Array, y: Array) -> Array:
        return np.subtract(x, np.multiply(y, 2, out=y), out=x)

    def only_(self, x: Array, members: Array, nothing: float) -> Array:
        if nothing == 0:
            # As bits, so that NaN does not spread; four times as fast as filling in most of a tile.
            bits = x.view(f"i{x.itemsize}")
            np.multiply(bits, members, out=bits)
            return x
        return self.fill_(x, np.logical_not(members, out=members), nothing)

    def diagonal(self, x: Array, i: Block, j: Block) -> Array:
        return x.diagonal(i.start - j.start)[: i.size].copy()

    def fill_diagonal_(self, x: Array, i: Block, j: Block, value: float, width: int = 1) -> Array:
        if width > 1:
            np.einsum("iaib->iab", x.reshape(-1, width, i.size // width, width))[...] = value
            return x
        first, end = max(i.start, j.start), min(i.start + i.size, j.start + j.size)
        numbers = np.arange(first, max(first, end))
        x[numbers - i.start, numbers - j.start] = value
        return x

    def partnered(self, x: Array, width: int) -> Array:
        return _beside(x, width).copy().reshape(-1)

    def add_partnered_(self, x: Array, rows: Array, columns: Array, width: int) -> Array:
        place = _beside(x, width)
        place += rows.reshape(-1, width) + columns.reshape(-1, width)[:, ::-1]
        return x

    def set_diagonal_(self, x: Array, i: Block, j: Block, values: Array) -> Array:
        numbers = np.arange(i.size)
        x[numbers, numbers + (i.start - j.start)] = values
        return x

    def relu_(self, x: Array) -> Array:
        return np.maximum(x, 0, out=x)

    def sign_(self, x: Array) -> Array:
        return np.sign(x, out=x)

    def softplus_(self, x: Array) -> Array:
        return activations.softplus_(x)

    def sigmoid_(self, x: Array) -> Array:
        return activations.sigmoid_(x)

    def softplus_sums_and_sigmoid_(self, x: Array) -> tuple[Array, Array]:
        return activations.softplus_sums_and_sigmoid_(x)


NAMESPACE = NumPy()

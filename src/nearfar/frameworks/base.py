"""The operations every framework offers, in array-API names where the standard has one.

`Namespace` is written over an array-API module and changes nothing in place, so it serves as it is
wherever arrays cannot be written to, and under a framework's own differentiation. Frameworks
override what they can do in place.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from math import prod
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

import numpy as np

Array = Any
DType = Any
Carry = TypeVar("Carry")


class Block(NamedTuple):
    """A run of consecutive rows."""

    start: int
    size: int


class Every(NamedTuple):
    """Blocks of rows whose number is known only when the traced program runs."""

    over: str  # "blocks", "diagonal": (i, i), "above": i < j, "below": i > j, "pairs": all (i, j)
    n: Any
    side: int


Items = Sequence[tuple[Block, ...]] | Every


class Evaluation(Protocol):
    """What glue needs to know of a loss: its value and the gradient of its inputs.

    It holds settings only, no arrays. `inputs` are the embeddings, then arrays without a gradient
    (labels), then temperature and bias if they are arrays; `wanted` tells which need a gradient.
    """

    def forward(
        self,
        ns: "Namespace",
        inputs: tuple[Array, ...],
        wanted: tuple[bool, ...],
        kept: "Kept | None" = None,
    ) -> tuple[Array, tuple[Array, ...]]:
        """Return the value and what `backward` wants to find again; `kept` may spare it work."""

    def backward(
        self,
        ns: "Namespace",
        inputs: tuple[Array, ...],
        saved: tuple[Array, ...],
        upstream: Array,
        wanted: tuple[bool, ...],
        kept: "Kept | None" = None,
    ) -> tuple[Array | None, ...]:
        """Return one gradient per input, None where it is not wanted."""

    def outline(
        self, ns: "Namespace", inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> tuple[tuple[Any, ...], ...]:
        """Shapes of what `forward` returns: the value, then all that it saves."""


class Kept:
    """What `forward` of an eager program leaves for its gradient, in whatever form.

    It is taken once: a gradient that is asked for again is computed from the inputs.
    """

    def __init__(self) -> None:
        self._left: Any = None

    def leave(self, left: Any) -> None:
        self._left = left

    def take(self) -> Any:
        """What was left; None the second time."""
        left, self._left = self._left, None
        return left


class Statement(NamedTuple):
    """A loss as text, for compiled programs, which hold no Python objects; see `rebuild`."""

    text: str
    parameters: tuple[float | None, ...]
    """Temperature and bias, as far as the loss has them; None where an array is given."""


Rebuild = Callable[[Statement, tuple[Array, ...]], Evaluation]
_rebuild: list[Rebuild] = []


def register_rebuild(function: Rebuild) -> None:
    """Tell how a statement becomes an evaluation of inputs again."""
    _rebuild[:] = [function]


def rebuild(statement: Statement, inputs: tuple[Array, ...]) -> Evaluation:
    return _rebuild[0](statement, inputs)


class Scratch(Protocol):
    """Buffers that outlive a tile; see `Namespace.scratch`."""

    def buffer(self, key: str, shape: tuple[int, ...], like: Array) -> Array: ...

    def lending(self, lent: dict[str, Array], part: int | None = None) -> "Scratch":
        """The same, but for these buffers; a part has its own, whichever thread works on it."""


class Namespace:
    """Pure operations over the array-API module `xp`."""

    name: ClassVar[str]
    xp: Any
    in_place: ClassVar[bool] = False
    """Whether operations ending in `_` write into their argument."""
    branches: ClassVar[bool] = False
    """Whether the device had better look whether a tile wants masks: `cond` must not wait for the
    host, and what it saves be more than a sort of the labels."""

    # -- the edges -------------------------------------------------------------------------

    def is_array(self, x: Any) -> bool:
        """Tell whether `x` belongs to this framework."""
        raise NotImplementedError

    def is_floating(self, x: Array) -> bool:
        return bool(self.xp.isdtype(x.dtype, "real floating"))

    def host(self, x: Array) -> np.ndarray | None:
        """The values of `x` where reading them costs no synchronisation, otherwise None."""
        raise NotImplementedError

    def read(self, x: Array) -> np.ndarray:
        """The values of `x`, waiting for them if need be."""
        raise NotImplementedError

    def beside(self, x: Array, like: Array) -> Array:
        """An array of this framework on the device of `like`."""
        return x

    def asarray(self, values: Any, like: Array, dtype: DType | None = None) -> Array:
        """Host values as an array beside `like` (its device), in `dtype` or in that of `like`."""
        return self.xp.asarray(values, dtype=like.dtype if dtype is None else dtype)

    def compute_dtype(self, *arrays: Array) -> DType:
        """float64 if one of the arrays is, otherwise float32."""
        wide = any(x.dtype == self.xp.float64 for x in arrays)
        return self.xp.float64 if wide else self.xp.float32

    def cast(self, x: Array, dtype: DType) -> Array:
        return self.xp.astype(x, dtype, copy=False)

    def double(self, x: Array) -> Array:
        """In float64, where framework and device have it."""
        return self.cast(x, self.xp.float64)

    def shape(self, x: Array) -> tuple[Any, ...]:
        """The shape; a framework that traces without sizes gives arrays for unknown ones."""
        return tuple(x.shape)

    def matrix(self, x: Array, axes: int = 1) -> Array:
        """The first axes as rows, the others as features: (n, d)."""
        shape = self.shape(x)
        if axes == 1 and len(shape) == 2:
            return x
        return self.xp.reshape(x, (prod(shape[:axes]), prod(shape[axes:])))

    def itemsize(self, x: Array) -> int:
        return int(x.dtype.itemsize)

    def attach(
        self, evaluation: Evaluation, statement: Statement, inputs: tuple[Array, ...]
    ) -> Array:
        """The value of `evaluation`, which is what `statement` says, differentiable here."""
        raise NotImplementedError

    def value_and_grad(
        self, evaluation: Evaluation, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> tuple[Array, tuple[Array | None, ...]]:
        """Value and gradients, detached."""
        kept = Kept() if self.in_place else None
        value, saved = evaluation.forward(self, inputs, wanted, kept)
        upstream = self.xp.ones_like(value)
        return value, evaluation.backward(self, inputs, saved, upstream, wanted, kept)

    def warn_if(self, flag: Array, message: str) -> None:
        """Warn where looking at `flag` costs nothing, which is NumPy only."""

    def tile(self, sides: int, n: Any) -> int:
        """Rows of a tile, of one or two sides of n rows.

        512 x 512 float32 fills an L2 cache of 1 MB; measured best or within 15 % for 1,024 to 8,192
        rows of 32 to 512 dimensions.
        """
        return 512

    # -- loops and branches ----------------------------------------------------------------

    def loop(
        self,
        items: Items,
        body: Callable[..., Carry],
        carry: Carry,
    ) -> Carry:
        """Fold ``carry = body(carry, *blocks)`` over the items."""
        assert not isinstance(items, Every)
        for item in items:
            carry = body(carry, *item)
        return carry

    def workers(self, wanted: int | None) -> int | None:
        """Threads to spread tiles over: as wanted, or what is fastest here; None: no pool."""
        return None

    def pool(self, workers: int) -> AbstractContextManager[Callable[..., Iterator[Any]]]:
        """So many threads as a `map`, and everything else held to one thread meanwhile."""
        raise NotImplementedError

    def cond(self, flag: Any, yes: Callable[[], Any], no: Callable[[], Any]) -> Any:
        """``yes()`` where the flag is true, else ``no()``.

        `yes` must be right whatever the flag: it is taken where flags have no value.
        """
        return yes() if bool(flag) else no()

    def recomputed(self, function: Callable[..., Array]) -> Callable[..., Array]:
        """`function` of arrays, of which differentiation keeps the arrays only."""
        return function

    # -- rows ------------------------------------------------------------------------------

    def zeros(self, shape: tuple[int, ...], like: Array) -> Array:
        return self.asarray(np.zeros(shape), like)

    def rows(self, x: Array, block: Block) -> Array:
        if block.size == x.shape[0]:
            return x  # a slice costs a small batch as much as a sum
        return x[block.start : block.start + block.size, ...]

    def by_rows(
        self, function: Callable[..., tuple[Array, ...]], *arrays: Array | None
    ) -> tuple[Array, ...]:
        """`function` of arrays with as many rows each, a row of which gives one row or several.

        Where it writes in place it is given some rows at a time, so that its temporaries are small;
        how many, the size of the first array tells. It may consume that one and return it.
        """
        return function(*arrays)

    def take(self, x: Array, order: Array) -> Array:
        return self.xp.take(x, self.asarray(order, x, self.xp.int64), axis=0)

    def positions(self, block: Block, like: Array) -> Array:
        """The row numbers of a block, (size,)."""
        return self.asarray(np.arange(block.size), like, self.xp.int64) + block.start

    def same(self, i: Block, j: Block, like: Array) -> Array:
        """True where the row number equals the column number, (i.size, j.size)."""
        return self.positions(i, like)[:, None] == self.positions(j, like)[None, :]

    def set_rows_(self, x: Array, block: Block, value: Array) -> Array:
        before, after = x[: block.start, ...], x[block.start + block.size :, ...]
        return self.xp.concat([before, value, after], axis=0)

    def add_rows_(self, x: Array, block: Block, value: Array) -> Array:
        return self.set_rows_(x, block, self.rows(x, block) + value)

    def add_product_(
        self, x: Array, block: Block, a: Array, b: Array, scratch: Scratch | None, times: int = 1
    ) -> Array:
        """Add ``times * (a @ b)`` to a block of rows."""
        return self.add_rows_(x, block, a @ b if times == 1 else times * (a @ b))

    def add_at_(self, x: Array, places: Array, values: Array) -> Array:
        """Add a row of `values` at each of the places (m,), which may repeat."""
        raise NotImplementedError

    def columns(self, x: Array, block: Block) -> Array:
        return x[:, block.start : block.start + block.size]

    def set_columns_(self, x: Array, block: Block, value: Array) -> Array:
        before, after = x[:, : block.start], x[:, block.start + block.size :]
        return self.xp.concat([before, value, after], axis=1)

    def add_columns_(self, x: Array, block: Block, value: Array) -> Array:
        return self.set_columns_(x, block, self.columns(x, block) + value)

    # -- along the rows of a matrix ----------------------------------------------------------

    def argsort(self, x: Array) -> Array:
        """Where the entries of each row stand in ascending order, for `gather` and `scatter`."""
        return self.xp.argsort(x, axis=1)

    def merge(self, x: Array, scratch: Scratch | None = None, key: str = "") -> Array:
        """`argsort` of rows that mostly fall and then rise, which need not be sorted anew.

        At most one entry of a row is below 0. In the buffer named `key` if one is lent.
        """
        return self.argsort(x)

    def gather(
        self, x: Array, order: Array, scratch: Scratch | None = None, key: str = ""
    ) -> Array:
        """The entries of each row in this order, in the buffer named `key` if one is lent."""
        raise NotImplementedError

    def largest(self, x: Array) -> tuple[Array, Array]:
        """Column and value of the first largest entry of each row, (b,) each."""
        columns = self.xp.argmax(x, axis=1)
        return columns, self.gather(x, columns[:, None])[:, 0]

    def scatter(
        self, x: Array, order: Array, width: Any, scratch: Scratch | None = None, key: str = ""
    ) -> Array:
        """Undo `gather`: rows of `width` entries, 0 where the order does not lead."""
        raise NotImplementedError

    def running_sum(self, x: Array, reverse: bool) -> Array:
        """Sums of each entry and all before it; after it, in reverse. All are finite."""
        raise NotImplementedError

    def running_log_sum(self, x: Array, reverse: bool) -> Array:
        """Logarithms of the running sums of exp(x), without overflow."""
        raise NotImplementedError

    def running_min(self, x: Array, reverse: bool) -> Array:
        raise NotImplementedError

    def of_runs(self, x: Array, starts: Array, last: bool) -> Array:
        """Every entry replaced by the first, or the last, of its run.

        Rows fall, or rise for `last`; `starts` is true where a run begins.
        """
        xp = self.xp
        if last:
            end = xp.ones_like(starts[:, :1])
            starts = xp.concat([starts, end], axis=1)[:, 1:]
        marked = xp.where(starts, x, xp.full_like(x, float("inf")))
        return self.running_min(marked, reverse=last)

    # -- tiles -----------------------------------------------------------------------------

    def scratch(self) -> AbstractContextManager[Scratch | None]:
        """Buffers to work in, which are reused afterwards; None where nothing is in place."""
        return nullcontext()

    def store(self, owner: object, size: int, like: Array) -> Array:
        """Room for so many numbers, unset, until the owner is gone; in place only."""
        raise NotImplementedError

    def product(self, a: Array, b: Array, scratch: Scratch | None, key: str) -> Array:
        """``a @ b.T``, in the buffer named `key`."""
        return a @ self.xp.matrix_transpose(b)

    def copy(self, x: Array, scratch: Scratch | None, key: str) -> Array:
        """A copy that may be consumed, in the buffer named `key`."""
        return x

    def outer_sum(self, x: Array, y: Array, scratch: Scratch | None, key: str) -> Array:
        """``x[:, None] + y[None, :]``, in the buffer named `key`."""
        return x[:, None] + y[None, :]

    def plus(self, x: Array, y: Array, scratch: Scratch | None, key: str) -> Array:
        """``x + y``, in the buffer named `key`; `y` is never wider than `x`."""
        return x + y

    def row_sums(self, x: Array) -> Array:
        return self.xp.sum(x, axis=1)

    def column_sums(self, x: Array) -> Array:
        return self.xp.sum(x, axis=0)

    def exp_(self, x: Array) -> Array:
        return self.xp.exp(x)

    def root_(self, x: Array) -> Array:
        """Square roots; where x <= 0 it is 0 and has no gradient."""
        zero = x <= 0
        return self.fill_(self.xp.sqrt(self.fill_(x, zero, 1)), zero, 0)

    def abs_(self, x: Array) -> Array:
        return self.xp.abs(x)

    def log1p_(self, x: Array) -> Array:
        return self.xp.log1p(x)

    def inverse_(self, x: Array) -> Array:
        """``1 / x``"""
        return 1 / x

    def inverse_or_zero_(self, x: Array) -> Array:
        """``1 / x``, and 0 where x is 0, there without a gradient."""
        zero = x == 0
        return self.fill_(self.inverse_(self.fill_(x, zero, 1)), zero, 0)

    def add_(self, x: Array, y: Any) -> Array:
        """``x + y``; `y` broadcasts and is never wider than `x`."""
        return x + y

    def sub_(self, x: Array, y: Any) -> Array:
        return x - y

    def mul_(self, x: Array, y: Any) -> Array:
        return x * y

    def div_(self, x: Array, y: Any) -> Array:
        return x / y

    def fill_(self, x: Array, mask: Array, value: float) -> Array:
        """`x` with `value` where the mask is true."""
        return self.xp.where(mask, self.asarray(value, x), x)

    def fill_diagonal_(self, x: Array, i: Block, j: Block, value: float) -> Array:
        """`x`, the tile of these blocks, with `value` where row and column number are equal."""
        return self.fill_(x, self.same(i, j, x), value)

    def relu_(self, x: Array) -> Array:
        return self.xp.where(x < 0, self.xp.zeros_like(x), x)

    def sign_(self, x: Array) -> Array:
        return self.sign(x)

    def softplus_(self, x: Array) -> Array:
        return self.softplus(x)

    def sigmoid_(self, x: Array) -> Array:
        return self.sigmoid(x)

    # -- elementwise -----------------------------------------------------------------------

    def stop(self, x: Array) -> Array:
        """`x` as a constant to differentiation."""
        return x

    def sign(self, x: Array) -> Array:
        return self.xp.sign(x)

    def softplus(self, x: Array) -> Array:
        """log(1 + exp(x)), without overflow and with its digits where it is small."""
        xp = self.xp
        return xp.where(x > 0, x, xp.zeros_like(x)) + xp.log1p(xp.exp(-xp.abs(x)))

    def sigmoid(self, x: Array) -> Array:
        xp = self.xp
        e = xp.exp(-xp.abs(x))
        return xp.where(x >= 0, xp.ones_like(x), e) / (1 + e)

    def logaddexp(self, x: Array, y: Array) -> Array:
        """log(exp(x) + exp(y)); `y` must be finite, `x` may be -inf."""
        return y + self.softplus(x - y)

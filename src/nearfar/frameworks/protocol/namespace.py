"""The operations every framework offers, in array-API names where the standard has one.

`Namespace` is written over an array-API module and changes nothing in place, so it serves as it is
wherever arrays cannot be written to, and under a framework's own differentiation. Frameworks
override what they can do in place.
"""

from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

from nearfar.frameworks.protocol.kernels import Kernel
from nearfar.frameworks.protocol.rows import RowWise
from nearfar.frameworks.protocol.types import (
    Array,
    Block,
    BlockTuples,
    Carry,
    Run,
    Scratch,
    SymbolicBlocks,
)

HOST_MEMORY = 64 * 2**20
"""Bytes for tiles where the host computes."""


class Namespace(RowWise):
    """Pure operations over the array-API module `xp`."""

    cond_on_device: ClassVar[bool] = False
    """Whether the device had better look whether a tile wants masks: `cond` must not wait for the
    host, and what it saves be more than a sort of the labels."""

    def signature(self, arrays: tuple[Any, ...]) -> Hashable | None:
        """Framework, shapes and dtypes of arrays in the host's memory, where their values are all
        there is to know besides; None for other arrays, in compiled programs and in transforms."""
        return None

    def warn_if(self, flag: Array, message: str) -> None:
        """Warn where looking at `flag` costs nothing, which is NumPy only."""

    def tile(self, sides: int, n: Any, like: Array, several: bool = False) -> int:
        """Rows of a tile, of one or two sides of n rows, on the device of `like`; `several`: with
        as many entries as the tile has, other arrays are worked with at each step.

        512 x 512 float32 fills an L2 cache of 1 MB; measured best or within 15 % for 1,024 to 8,192
        rows of 32 to 512 dimensions.
        """
        return 512

    def at_once(self, like: Array) -> int:
        """Rows of a tile that are worked with at once where several arrays of their size are made:
        of more these leave the cache, of fewer calls take longer than what they compute."""
        return 256

    def window(self, like: Array) -> int:
        """Rows of a tile, sorted by class, whose positives are looked for among their classes
        alone."""
        return self.at_once(like)

    def memory(self, like: Array) -> int:
        """Bytes for tiles on the device of `like`, where nobody says how many."""
        return HOST_MEMORY

    def kernels(self, like: Array, asked: bool) -> tuple[Kernel, ...]:
        """Fused kernels for arrays on the device of `like`, the best first.

        `asked`: for by name, so that they may be tried where nobody has seen them run.
        """
        return ()

    def loop(
        self,
        items: BlockTuples,
        body: Callable[..., Carry],
        carry: Carry,
    ) -> Carry:
        """Fold ``carry = body(carry, *blocks)`` over the items."""
        assert not isinstance(items, SymbolicBlocks)
        for item in items:
            carry = body(carry, *item)
        return carry

    def workers(self, wanted: int | None) -> int | None:
        """Threads to spread tiles over: as wanted, or what is fastest here; None: no pool."""
        return None

    def pool(self, workers: int) -> AbstractContextManager[Run]:
        """So many threads as a `map`, and everything else held to one thread meanwhile."""
        raise NotImplementedError

    def cond(self, flag: Any, yes: Callable[[], Any], no: Callable[[], Any]) -> Any:
        """``yes()`` where the flag is true, else ``no()``.

        `yes` must be right whatever the flag: it is taken where flags have no value.
        """
        return yes() if bool(flag) else no()

    def decide(self, flag: Array) -> Any:
        """`flag` for several `cond`, of which a `yes` would cost much: as a number where the host
        may wait for it."""
        return bool(flag)

    def few_places(self, mask: Array, share: float) -> tuple[Array, Array] | None:
        """Rows and columns of the true entries, sorted by rows; None where they are more than a
        share of all, or where the host cannot look."""
        return None

    def entries(self, x: Array, rows: Array, columns: Array) -> Array:
        """Of `few_places`, (k,)."""
        return x[rows, columns]

    def set_entries_(self, x: Array, rows: Array, columns: Array, values: Any) -> Array:
        """Where `few_places` gives them, in place."""
        x[rows, columns] = values
        return x

    def anywhere(self, function: Callable[..., Array], *arrays: Array) -> Array:
        """``function(*arrays)``, of arrays that may be cut over devices in ways that the steps of
        the function do not know."""
        return function(*arrays)

    def feature_sum(self, terms: Any, a: Array, b: Array, *constants: Array) -> Array:
        """The value of a `FeatureSum`, of which differentiation keeps these arrays only; constants
        have no gradient."""
        found: Array = terms.value(self, a, b, constants)
        return found

    def scratch(self) -> AbstractContextManager[Scratch | None]:
        """Buffers to work in, which are reused afterwards; None where nothing is in place."""
        return nullcontext()

    def store(self, owner: object, size: int, like: Array) -> Array:
        """Room for so many numbers, unset, until the owner is gone; in place only."""
        raise NotImplementedError

    def surely_finite(self, x: Array) -> bool:
        """True where one quick look shows that no entry is NaN or infinite; False says nothing."""
        return False

    def host_product(self, a: Array, b: Array) -> Array:
        """``a @ b`` of NumPy arrays, in threads of this framework if in any; in place only."""
        raise NotImplementedError

    def from_host(self, x: Array) -> Array:
        """The array that lies where NumPy's does; in place only."""
        raise NotImplementedError

    def host_errors(self) -> AbstractContextManager[Any]:
        """What NumPy is silent about while it computes for this framework; in place only."""
        raise NotImplementedError

    def product(self, a: Array, b: Array, scratch: Scratch | None, key: str) -> Array:
        """``a @ b.T``, in the buffer named `key`."""
        return a @ self.xp.matrix_transpose(b)

    def copy(self, x: Array, scratch: Scratch | None, key: str) -> Array:
        """A copy that may be consumed, in the buffer named `key`."""
        return x

    def outer_sum(self, x: Array, y: Array, scratch: Scratch | None, key: str) -> Array:
        """``x[:, None] + y[None, :]``, in the buffer named `key`."""
        return self.plus(x[:, None], y[None, :], scratch, key)

    def plus(self, x: Array, y: Array, scratch: Scratch | None, key: str) -> Array:
        """``x + y`` of matrices, in the buffer named `key`; `x` has all rows."""
        return x + y

    def minus(self, x: Array, y: Array, scratch: Scratch | None, key: str) -> Array:
        return x - y

    def times(self, x: Array, y: Array, scratch: Scratch | None, key: str) -> Array:
        return x * y

    def over(self, x: Array, y: Array, scratch: Scratch | None, key: str) -> Array:
        return x / y

    def up_to(self, x: Array, limit: Array, scratch: Scratch | None, key: str) -> Array:
        """1 where ``x <= limit`` and 0 elsewhere, in the dtype of `x`; the limit broadcasts."""
        return self.cast(x <= limit, x.dtype)

    def row_sums(self, x: Array) -> Array:
        return self.xp.sum(x, axis=1)

    def weighted_sum(self, x: Array, weights: Any) -> Array:
        """``sum(weights * x)``; `weights` (n,) or one number for all."""
        return self.xp.sum(weights * x)

    def exponentials_(self, x: Array) -> tuple[Array, Array, Array, Array]:
        """exp(x - shift), the shift of each row, its largest entry, and row sums with their
        logarithms. A row of -inf has the shift 0, the sum 1 and the logarithm -inf."""
        xp = self.xp
        none = -float("inf")
        peak = self.stop_gradient(xp.max(x, axis=1))
        shift = xp.where(peak == none, xp.zeros_like(peak), peak)
        e = self.exp_beside_one_(self.sub_(x, shift[:, None]))
        total = self.row_sums(e)
        empty = total == 0
        total = xp.where(empty, xp.ones_like(total), total)
        return e, shift, total, xp.where(empty, xp.full_like(total, none), xp.log(total))

    def softplus_sums_and_sigmoid_(self, x: Array) -> tuple[Array, Array]:
        """``row_sums(softplus(x))`` and ``sigmoid(x)``, which have much in common."""
        return self.row_sums(self.softplus(x)), self.sigmoid_(x)

    def column_sums(self, x: Array) -> Array:
        return self.xp.sum(x, axis=0)

    def diagonal(self, x: Array, i: Block, j: Block) -> Array:
        """Entries of `x`, the tile of these blocks, whose row and column number are equal."""
        return self.row_sums(self.only_(x, self.same(i, j, x), 0))

    def fill_diagonal_(self, x: Array, i: Block, j: Block, value: float, width: int = 1) -> Array:
        """`x`, the tile of these blocks, with `value` where row and column number are equal.

        Of a tile on the diagonal, also where both are in one run of `width` rows.
        """
        return self.fill_(x, self.same(i, j, x, width), value)

    def partnered(self, x: Array, width: int) -> Array:
        """Of a tile on the diagonal the entry of each row with its partner, (n,): itself, of two
        sides, or the other row of its run of `width` 2. In place only."""
        raise NotImplementedError

    def add_partnered_(self, x: Array, rows: Array, columns: Array, width: int) -> Array:
        """Add ``rows[k] + columns[l]`` where the row k meets its partner l. In place only."""
        raise NotImplementedError

    def set_diagonal_(self, x: Array, i: Block, j: Block, values: Array) -> Array:
        """`x`, the tile of these blocks, with `values` (i.size,) where row and column number are
        equal."""
        return self.xp.where(self.same(i, j, x), values[:, None], x)

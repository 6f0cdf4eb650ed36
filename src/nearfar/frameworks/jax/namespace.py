"""JAX: pure operations, loops as scans."""

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from nearfar.frameworks.jax import devices
from nearfar.frameworks.protocol.feature_sum import FeatureSum
from nearfar.frameworks.protocol.namespace import Namespace
from nearfar.frameworks.protocol.rows import fill_segments
from nearfar.frameworks.protocol.types import (
    Array,
    Block,
    BlockTuples,
    Carry,
    DType,
    Scratch,
    SymbolicBlocks,
)


class Jax(Namespace):
    name: ClassVar[str] = "jax"
    xp: Any = jnp

    def is_array(self, x: Any) -> bool:
        return isinstance(x, jax.Array)

    def peek(self, x: Array) -> np.ndarray | None:
        return None if isinstance(x, jax.core.Tracer) else np.asarray(x)

    def accelerated(self, x: Array) -> bool:
        traced = isinstance(x, jax.core.Tracer)
        return not traced and any(place.platform != "cpu" for place in x.devices())

    def to_numpy(self, x: Array) -> np.ndarray:
        return np.asarray(x)

    def beside(self, x: Array, like: Array) -> Array:
        if isinstance(like, jax.core.Tracer) or isinstance(x, jax.core.Tracer):
            return x
        places = like.devices()
        return jax.device_put(x, next(iter(places))) if len(places) == 1 else x

    def asarray(self, values: Any, like: Array, dtype: DType | None = None) -> Array:
        x = jnp.asarray(values, dtype=like.dtype if dtype is None else _narrow(dtype))
        return devices.varying(x, devices.axes_of(like))

    def anywhere(self, function: Callable[..., Array], *arrays: Array) -> Array:
        result: Array = devices.anywhere(function, devices.alike(arrays))
        return result

    def compute_dtype(self, *arrays: Array) -> DType:
        return jnp.result_type(jnp.float32, *(x.dtype for x in arrays))

    def cast(self, x: Array, dtype: DType) -> Array:
        return x.astype(_narrow(dtype))

    def stop_gradient(self, x: Array) -> Array:
        return jax.lax.stop_gradient(x)

    def zeros(self, shape: tuple[int, ...], like: Array) -> Array:
        return jnp.zeros_like(like, shape=shape)

    def positions(self, block: Block, like: Array) -> Array:
        return jnp.arange(block.size) + block.start

    def take(self, x: Array, order: Array) -> Array:
        return jnp.take(x, jnp.asarray(order), axis=0)

    def rows(self, x: Array, block: Block) -> Array:
        return jax.lax.dynamic_slice_in_dim(x, block.start, block.size)

    def set_rows_(self, x: Array, block: Block, value: Array) -> Array:
        return jax.lax.dynamic_update_slice_in_dim(x, value, block.start, 0)

    def add_at_(self, x: Array, places: Array, values: Array) -> Array:
        return x.at[places].add(values)

    def loop(
        self,
        items: BlockTuples,
        body: Callable[..., Carry],
        carry: Carry,
    ) -> Carry:
        assert not isinstance(items, SymbolicBlocks)
        axes = devices.axes_of(*jax.tree.leaves(carry))
        carry = devices.varying(carry, axes)
        # A scan traces its body once. Blocks of other sizes (the last ones) get scans of their own.
        for sizes, run in groupby(sorted(items, key=_sizes), key=_sizes):
            starts = _starts(run)

            def step(carry: Carry, row: Array, sizes: tuple[int, ...] = sizes) -> Any:
                blocks = (Block(row[k], size) for k, size in enumerate(sizes))
                return devices.varying(body(carry, *blocks), axes), None

            carry, _ = jax.lax.scan(step, carry, starts)
        return carry

    def cond(self, flag: Any, yes: Callable[[], Array], no: Callable[[], Array]) -> Array:
        if isinstance(flag, bool):
            return yes() if flag else no()
        return jax.lax.cond(flag, yes, no)

    def decide(self, flag: Array) -> Any:
        return flag

    def gather(
        self, x: Array, order: Array, scratch: Scratch | None = None, key: str = ""
    ) -> Array:
        return jnp.take_along_axis(x, order, axis=1)

    def scatter(
        self, x: Array, order: Array, width: Any, scratch: Scratch | None = None, key: str = ""
    ) -> Array:
        rows = jnp.arange(x.shape[0])[:, None]
        return jnp.zeros((x.shape[0], width), x.dtype).at[rows, order].set(x)

    def running_sum(self, x: Array, reverse: bool) -> Array:
        return jax.lax.cumsum(x, axis=1, reverse=reverse)

    def running_log_sum(self, x: Array, reverse: bool) -> Array:
        return jax.lax.cumlogsumexp(x, axis=1, reverse=reverse)

    def segment_fill(self, x: Array, starts: Array, last: bool) -> Array:
        return fill_segments(self, x, starts, last, _running_min)

    def feature_sum(self, terms: FeatureSum, a: Array, b: Array, *constants: Array) -> Array:
        # JAX differentiates the term itself: a custom gradient would stop forward mode.
        return terms.value(self, a, b, constants, jax.checkpoint)

    def softplus(self, x: Array) -> Array:
        return jax.nn.softplus(x)

    def sigmoid(self, x: Array) -> Array:
        return jax.nn.sigmoid(x)

    def tile(self, sides: int, n: Any, like: Array, several: bool = False) -> int:
        # Tiles of 512 take 5 % longer; two of 700 would be more than a tenth of 4,096 rows dense.
        # Elsewhere, not measured, a step of a scan costs a launch: as large as `memory` allows.
        return 640 if jax.default_backend() == "cpu" else 8192

    def product(self, a: Array, b: Array, scratch: Scratch | None, key: str) -> Array:
        return jax.lax.dot_general(
            a, b, (((1,), (1,)), ((), ())), precision=jax.lax.Precision.HIGHEST
        )


NAMESPACE = Jax()


def _narrow(dtype: DType) -> DType:
    """The dtype that JAX has for it: without x64 there is no int64 and no float64."""
    return jax.dtypes.canonicalize_dtype(dtype)


def _running_min(x: Array, reverse: bool) -> Array:
    return jax.lax.cummin(x, axis=1, reverse=reverse)


def _starts(run: Iterable[tuple[Block, ...]]) -> Array:
    """Where the blocks start, (items, blocks). Those that only the device knows are few, and shared
    by many items."""
    starts = [[block.start for block in item] for item in run]
    traced = {id(s): s for row in starts for s in row if not isinstance(s, int)}
    known = jnp.asarray([[s if isinstance(s, int) else 0 for s in row] for row in starts])
    if not traced:
        return known
    numbers = dict(zip(traced, range(1, len(traced) + 1), strict=True))
    places = np.asarray([[numbers.get(id(s), 0) for s in row] for row in starts])
    shifts = jnp.stack([jnp.zeros_like(next(iter(traced.values()))), *traced.values()])
    return known + shifts[places]


def _sizes(item: tuple[Block, ...]) -> tuple[int, ...]:
    return tuple(block.size for block in item)

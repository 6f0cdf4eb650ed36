"""TensorFlow: pure operations over a small array-API layer, loops as `tf.while_loop` in graphs.

Eager tensors can be read, so eager calls sort rows by class and loop in Python. In a `tf.function`
with known sizes, blocks of equal size share one loop; with unknown sizes the blocks themselves are
computed by the graph. AutoGraph is kept out: it would rewrite every function it meets.
"""

from collections.abc import Callable
from itertools import groupby
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

from nearfar.frameworks.protocol.feature_sum import FeatureSum
from nearfar.frameworks.protocol.namespace import Namespace
from nearfar.frameworks.protocol.types import (
    Array,
    Block,
    BlockTuples,
    Carry,
    DType,
    Scratch,
    SymbolicBlocks,
)
from nearfar.frameworks.tensorflow.checks import looked_at, unchecked
from nearfar.frameworks.tensorflow.feature_sum import feature_sum


class _ArrayAPI:
    """The part of the array-API namespace that nearfar uses, over `tf`."""

    class linalg:
        @staticmethod
        def svdvals(x: Array) -> Array:
            return tf.linalg.svd(x, compute_uv=False)

    int64 = tf.int64
    float16 = tf.float16
    float32 = tf.float32
    float64 = tf.float64

    abs = staticmethod(tf.abs)
    argsort = staticmethod(tf.argsort)
    exp = staticmethod(tf.exp)
    isfinite = staticmethod(tf.math.is_finite)
    log = staticmethod(tf.math.log)
    log1p = staticmethod(tf.math.log1p)
    maximum = staticmethod(tf.maximum)
    sign = staticmethod(tf.sign)
    sqrt = staticmethod(tf.sqrt)
    where = staticmethod(tf.where)

    broadcast_to = staticmethod(tf.broadcast_to)

    @staticmethod
    def concat(arrays: list[Array], axis: int) -> Array:
        return tf.concat(arrays, axis)

    expand_dims = staticmethod(tf.expand_dims)
    matrix_transpose = staticmethod(tf.linalg.matrix_transpose)
    ones_like = staticmethod(tf.ones_like)
    permute_dims = staticmethod(tf.transpose)
    reshape = staticmethod(tf.reshape)
    searchsorted = staticmethod(tf.searchsorted)
    sort = staticmethod(tf.sort)
    stack = staticmethod(tf.stack)
    zeros_like = staticmethod(tf.zeros_like)

    @staticmethod
    def all(x: Array) -> Array:
        return tf.reduce_all(x)

    @staticmethod
    def argmax(x: Array, axis: int) -> Array:
        return tf.argmax(x, axis=axis)

    @staticmethod
    def any(x: Array, axis: int | None = None) -> Array:
        return tf.reduce_any(x, axis=axis)

    @staticmethod
    def full_like(x: Array, value: float) -> Array:
        return tf.fill(tf.shape(x), tf.cast(value, x.dtype))

    @staticmethod
    def max(x: Array, axis: int | None = None, keepdims: bool = False) -> Array:
        return tf.reduce_max(x, axis=axis, keepdims=keepdims)

    @staticmethod
    def min(x: Array, axis: int | None = None, keepdims: bool = False) -> Array:
        return tf.reduce_min(x, axis=axis, keepdims=keepdims)

    @staticmethod
    def mean(x: Array, axis: int | None = None, keepdims: bool = False) -> Array:
        return tf.reduce_mean(x, axis=axis, keepdims=keepdims)

    @staticmethod
    def sum(x: Array, axis: int | None = None, keepdims: bool = False) -> Array:
        return tf.reduce_sum(x, axis=axis, keepdims=keepdims)


# Under its own name it would hide the builtin in the annotations above.
_ArrayAPI.bool = tf.bool  # type: ignore[attr-defined]


class TensorFlow(Namespace):
    name: ClassVar[str] = "tensorflow"
    xp: Any = _ArrayAPI
    cond_on_device: ClassVar[bool] = True
    """In graphs; a mask is an array of its own there, which XLA makes as it goes."""

    def is_array(self, x: Any) -> bool:
        return isinstance(x, tf.Tensor | tf.Variable)

    def is_floating(self, x: Array) -> bool:
        return bool(x.dtype.is_floating)

    def peek(self, x: Array) -> np.ndarray | None:
        known = tf.executing_eagerly() and "GPU" not in x.device
        return np.asarray(x) if known else None

    def accelerated(self, x: Array) -> bool:
        return tf.executing_eagerly() and any(kind in x.device for kind in ("GPU", "TPU"))

    def to_numpy(self, x: Array) -> np.ndarray:
        return np.asarray(x)

    def beside(self, x: Array, like: Array) -> Array:
        x = tf.convert_to_tensor(x)
        if not tf.executing_eagerly() or x.device == like.device:
            return x
        with tf.device(like.device):
            return tf.identity(x)

    def asarray(self, values: Any, like: Array, dtype: DType | None = None) -> Array:
        return tf.cast(values, like.dtype if dtype is None else dtype)

    def compute_dtype(self, *arrays: Array) -> DType:
        return tf.float64 if any(x.dtype == tf.float64 for x in arrays) else tf.float32

    def cast(self, x: Array, dtype: DType) -> Array:
        return tf.cast(x, dtype)

    def tile(self, sides: int, n: Any, like: Array, several: bool = False) -> int:
        # What a graph takes to begin a tile's operations outweighs the cache: a quarter faster than
        # 512 from 2,048 rows on.
        return 1024

    def shape(self, x: Array) -> tuple[Any, ...]:
        known = tuple(x.shape)
        if None not in known:
            return known
        unknown = tf.shape(x)
        return tuple(unknown[k] if size is None else size for k, size in enumerate(known))

    def itemsize(self, x: Array) -> int:
        return int(x.dtype.size)

    def stop_gradient(self, x: Array) -> Array:
        return tf.stop_gradient(x)

    def zeros(self, shape: tuple[int, ...], like: Array) -> Array:
        return tf.zeros(shape, dtype=like.dtype)

    def positions(self, block: Block, like: Array) -> Array:
        return tf.range(block.size) + block.start

    def take(self, x: Array, order: Array) -> Array:
        return tf.gather(x, order)

    def rows(self, x: Array, block: Block) -> Array:
        rest = self.shape(x)[1:]
        out = tf.slice(x, [block.start] + [0] * len(rest), [block.size, *rest])
        # A size that the graph computes makes it forget the others.
        out.set_shape([block.size if isinstance(block.size, int) else None, *x.shape[1:]])
        return out

    def set_rows_(self, x: Array, block: Block, value: Array) -> Array:
        return tf.tensor_scatter_nd_update(x, self.positions(block, x)[:, None], value)

    def add_rows_(self, x: Array, block: Block, value: Array) -> Array:
        return tf.tensor_scatter_nd_add(x, self.positions(block, x)[:, None], value)

    def add_at_(self, x: Array, places: Array, values: Array) -> Array:
        return tf.tensor_scatter_nd_add(x, places[:, None], values)

    def loop(self, items: BlockTuples, body: Callable[..., Carry], carry: Carry) -> Carry:
        if isinstance(items, SymbolicBlocks):
            return _loop_over_unknown(items, body, carry)
        if tf.executing_eagerly():
            return super().loop(items, body, carry)
        for sizes, run in groupby(sorted(items, key=_sizes), key=_sizes):
            starts = tf.constant([[block.start for block in item] for item in run])

            def step(
                k: Array,
                carry: Carry,
                starts: Array = starts,
                sizes: tuple[int, ...] = sizes,
            ) -> tuple[Array, Carry]:
                blocks = (Block(starts[k, c], size) for c, size in enumerate(sizes))
                return k + 1, body(carry, *blocks)

            carry = _while(int(starts.shape[0]), step, carry)
        return carry

    def cond(self, flag: Any, yes: Callable[[], Array], no: Callable[[], Array]) -> Array:
        return super().cond(flag, yes, no) if _known(flag) else tf.cond(flag, yes, no)

    def decide(self, flag: Array) -> Any:
        return super().decide(flag) if _known(flag) else flag

    def anywhere(self, function: Callable[..., Array], *arrays: Array) -> Array:
        return looked_at(unchecked(function, *arrays))

    def feature_sum(self, terms: FeatureSum, a: Array, b: Array, *constants: Array) -> Array:
        return feature_sum(self, terms, a, b, constants)

    def product(self, a: Array, b: Array, scratch: Scratch | None, key: str) -> Array:
        return tf.matmul(a, b, transpose_b=True)

    def argsort(self, x: Array) -> Array:
        return tf.argsort(x, axis=1)

    def gather(
        self, x: Array, order: Array, scratch: Scratch | None = None, key: str = ""
    ) -> Array:
        return tf.gather(x, order, batch_dims=1)

    def scatter(
        self, x: Array, order: Array, width: Any, scratch: Scratch | None = None, key: str = ""
    ) -> Array:
        rows = tf.zeros_like(order) + tf.range(tf.shape(order)[0])[:, None]
        return tf.scatter_nd(tf.stack([rows, order], axis=-1), x, [tf.shape(x)[0], width])

    def running_sum(self, x: Array, reverse: bool) -> Array:
        return tf.cumsum(x, axis=1, reverse=reverse)

    def running_log_sum(self, x: Array, reverse: bool) -> Array:
        return tf.math.cumulative_logsumexp(x, axis=1, reverse=reverse)

    def segment_fill(self, x: Array, starts: Array, last: bool) -> Array:
        # TensorFlow has no running minimum; first or last, it is the largest of the run.
        runs = tf.cumsum(tf.reshape(tf.cast(starts, tf.int64), [-1])) - 1
        largest = tf.math.unsorted_segment_max(tf.reshape(x, [-1]), runs, tf.size(x))
        return tf.reshape(tf.gather(largest, runs), tf.shape(x))

    def softplus(self, x: Array) -> Array:
        return tf.math.softplus(x)

    def sigmoid(self, x: Array) -> Array:
        return tf.sigmoid(x)


NAMESPACE = TensorFlow()


def _known(flag: Any) -> bool:
    return isinstance(flag, bool) or tf.executing_eagerly()


def _sizes(item: tuple[Block, ...]) -> tuple[int, ...]:
    return tuple(block.size for block in item)


def _while(times: Any, step: Callable[..., Any], carry: Carry) -> Carry:
    _, carry = tf.while_loop(
        lambda k, _: k < times,
        step,
        (tf.constant(0), carry),
        parallel_iterations=1,
        maximum_iterations=times,
    )
    return carry


def _loop_over_unknown(items: SymbolicBlocks, body: Callable[..., Carry], carry: Carry) -> Carry:
    """Blocks whose number and last size the graph computes."""
    n, side = items.n, items.side
    if GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()):
        # XLA knows n when it compiles, as Keras has it do on a GPU, but takes no size that differs
        # from one step of a loop to the next: everything is one block there.
        if items.over in ("above", "below"):
            return carry
        if items.over == "grid":
            return body(carry, Block(0, n), Block(0, items.columns))
        return body(carry, *(Block(0, n),) * (1 if items.over == "blocks" else 2))
    count = (n + side - 1) // side
    across = count if items.columns is None else (items.columns + side - 1) // side

    def block(k: Array, n: Any = n) -> Block:
        return Block(k * side, tf.minimum(side, n - k * side))

    def step(k: Array, carry: Carry) -> tuple[Array, Carry]:
        if items.over == "grid":
            blocks = [block(k // across), block(k % across, items.columns)]
        elif items.over == "pairs":
            blocks = [block(k // count), block(k % count)]
        elif items.over == "diagonal":
            blocks = [block(k), block(k)]
        else:
            blocks = [block(k)]
        return k + 1, body(carry, *blocks)

    if items.over not in ("above", "below"):
        pairs = items.over in ("pairs", "grid")
        return _while(count * across if pairs else count, step, carry)

    def triangle(state: Any, carry: Carry) -> tuple[Any, Carry]:
        i, j = state
        blocks = (block(i), block(j))
        carry = body(carry, *(blocks if items.over == "above" else reversed(blocks)))
        wraps = j + 1 >= count
        return (tf.where(wraps, i + 1, i), tf.where(wraps, i + 2, j + 1)), carry

    _, carry = tf.while_loop(
        lambda state, _: state[1] < count,
        triangle,
        ((tf.constant(0), tf.constant(1)), carry),
        parallel_iterations=1,
    )
    return carry

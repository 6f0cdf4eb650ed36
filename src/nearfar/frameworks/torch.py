"""PyTorch: in place inside the glue, pure under autograd.

Two namespaces share one file. `Torch` writes into its own buffers and therefore runs only where
autograd does not look: inside the glue, whose inputs autograd sees as one operation. When the
gradient itself is to be differentiated, backward runs the same evaluation with `_Pure` under
autograd; that is exact, and keeps n x n arrays as any dense second derivative does.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from nearfar.frameworks import along
from nearfar.frameworks import torch_names as xp
from nearfar.frameworks.base import Namespace
from nearfar.frameworks.buffers import Spare, Stores, aligned
from nearfar.frameworks.striped import striped
from nearfar.frameworks.types import Array, Block, DType, Evaluation, Kept, Scratch, Statement


class _Pure(Namespace):
    name: ClassVar[str] = "torch"
    xp: Any = xp

    def is_array(self, x: Any) -> bool:
        return isinstance(x, torch.Tensor)

    def host(self, x: Array) -> np.ndarray | None:
        if torch.compiler.is_compiling() or x.device.type != "cpu" or _is_wrapped(x):
            return None
        return np.asarray((x.double() if x.is_floating_point() else x).detach())

    def read(self, x: Array) -> np.ndarray:
        return np.asarray(x.detach().cpu())

    def beside(self, x: Array, like: Array) -> Array:
        return x.to(like.device)

    def asarray(self, values: Any, like: Array, dtype: DType | None = None) -> Array:
        compiling = torch.compiler.is_compiling()  # it has no flags there
        if not compiling and isinstance(values, np.ndarray) and not values.flags.writeable:
            values = values.copy()  # PyTorch warns of such arrays, which columns of pandas are
        return torch.as_tensor(
            values, dtype=like.dtype if dtype is None else dtype, device=like.device
        )

    def cast(self, x: Array, dtype: DType) -> Array:
        return x.to(dtype)

    def double(self, x: Array) -> Array:
        return x if x.device.type == "mps" else x.double()

    def take(self, x: Array, order: Array) -> Array:
        return torch.index_select(x, 0, self.asarray(order, x, torch.int64))

    def zeros(self, shape: tuple[int, ...], like: Array) -> Array:
        return torch.zeros(shape, dtype=like.dtype, device=like.device)

    def cond(self, flag: Any, yes: Callable[[], Array], no: Callable[[], Array]) -> Array:
        # Inside a transform of torch.func a flag has no value; `yes` is right for every input.
        return (
            yes()
            if isinstance(flag, torch.Tensor) and _is_wrapped(flag)
            else super().cond(flag, yes, no)
        )

    def recomputed(self, function: Callable[..., Array]) -> Callable[..., Array]:
        def call(*arrays: Array) -> Array:
            # A compiler chooses for itself; the transforms of torch.func take no checkpoints.
            if torch.compiler.is_compiling() or any(_is_wrapped(x) for x in arrays):
                return function(*arrays)
            return checkpoint(function, *arrays, use_reentrant=False, preserve_rng_state=False)

        return call

    def stop(self, x: Array) -> Array:
        return x.detach()

    def argsort(self, x: Array) -> Array:
        if x.device.type == "cpu" and x.dtype != torch.bfloat16 and not _is_wrapped(x):
            # NumPy's vectorised sort takes a quarter of the time.
            return torch.from_numpy(np.argsort(x.detach().numpy(), axis=1))
        return torch.argsort(x, dim=1)

    def merge(self, x: Array, scratch: Scratch | None = None, key: str = "") -> Array:
        if x.device.type != "cpu" or x.dtype == torch.bfloat16 or _is_wrapped(x):
            return torch.argsort(x, dim=1)
        if scratch is None:
            return torch.from_numpy(along.merge(x.detach().numpy()))
        order = scratch.buffer(key, tuple(x.shape), torch.empty(0, dtype=torch.int64))
        # NumPy makes its orders anew: small ones, in memory that is there.
        step = max(1, _AT_ONCE // x.shape[1])
        for some, place in zip(x.split(step), order.split(step), strict=True):
            place.copy_(torch.from_numpy(along.merge(some.numpy())))
        return order

    def gather(
        self, x: Array, order: Array, scratch: Scratch | None = None, key: str = ""
    ) -> Array:
        if scratch is None:
            return torch.gather(x, 1, order)
        return torch.gather(x, 1, order, out=scratch.buffer(key, tuple(order.shape), x))

    def scatter(
        self, x: Array, order: Array, width: Any, scratch: Scratch | None = None, key: str = ""
    ) -> Array:
        return x.new_zeros((x.shape[0], width)).scatter(1, order, x)

    def largest(self, x: Array) -> tuple[Array, Array]:
        if x.device.type == "cpu" and x.dtype != torch.bfloat16 and not _is_wrapped(x):
            # NumPy finds it in a tenth of the time.
            columns = torch.from_numpy(np.argmax(x.detach().numpy(), axis=1))
            return columns, torch.gather(x, 1, columns[:, None])[:, 0]
        return super().largest(x)

    def add_at_(self, x: Array, places: Array, values: Array) -> Array:
        return x.index_add(0, places, values)

    def running_sum(self, x: Array, reverse: bool) -> Array:
        return _turned(lambda x: torch.cumsum(x, 1), x, reverse)

    def running_log_sum(self, x: Array, reverse: bool) -> Array:
        return _turned(lambda x: torch.logcumsumexp(x, 1), x, reverse)

    def running_min(self, x: Array, reverse: bool) -> Array:
        return _turned(lambda x: torch.cummin(x, 1).values, x, reverse)

    def sign(self, x: Array) -> Array:
        return torch.where(x == x, torch.sign(x), x)  # of NaN it would be 0

    def softplus(self, x: Array) -> Array:
        # Above the threshold log1p(exp(-x)) < 5e-18 vanishes beside x in every dtype.
        return torch.nn.functional.softplus(x, threshold=40)

    def sigmoid(self, x: Array) -> Array:
        return torch.sigmoid(x)

    def positions(self, block: Block, like: Array) -> Array:
        return torch.arange(block.start, block.start + block.size, device=like.device)


def _turned(function: Callable[[Array], Array], x: Array, reverse: bool) -> Array:
    return function(x.flip(1)).flip(1) if reverse else function(x)


def _empty(size: int, like: Array) -> Array:
    if like.device.type == "cpu" and like.dtype in _NUMPY:
        return torch.from_numpy(aligned(size, _NUMPY[like.dtype]))
    return torch.empty(size, dtype=like.dtype, device=like.device)


_AT_ONCE = 2**14
"""Entries of a matrix that NumPy sorts at once."""

_NUMPY = {torch.float32: np.float32, torch.float64: np.float64}
_BITS = {torch.float32: torch.int32, torch.float64: torch.int64}
_SPARE, _STORES = Spare(_empty), Stores(_empty)


class Torch(_Pure):
    """In place; for use where autograd does not record."""

    in_place: ClassVar[bool] = True

    def attach(
        self, evaluation: Evaluation, statement: Statement, inputs: tuple[Array, ...]
    ) -> Array:
        if torch.compiler.is_compiling():
            return _operators().value(statement, inputs)
        recording = torch.is_grad_enabled()
        wanted = tuple(recording and x.requires_grad for x in inputs)
        kept = Kept() if any(wanted) else None
        glue = _Transformed if torch._C._are_functorch_transforms_active() else _Glue
        value: Array = glue.apply(evaluation, wanted, kept, *inputs)[0]
        return value

    def value_and_grad(
        self, evaluation: Evaluation, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> tuple[Array, tuple[Array | None, ...]]:
        ns = _namespace(inputs)
        with torch.no_grad(), full_precision(inputs):
            return Namespace.value_and_grad(ns, evaluation, inputs, wanted)

    def scatter(
        self, x: Array, order: Array, width: Any, scratch: Scratch | None = None, key: str = ""
    ) -> Array:
        shape = x.shape[0], width
        out = x.new_empty(shape) if scratch is None else scratch.buffer(key, shape, x)
        return out.zero_().scatter_(1, order, x)

    def of_runs(self, x: Array, starts: Array, last: bool) -> Array:
        found = None
        if x.device.type == "cpu" and x.dtype in _NUMPY:
            found = along.of_short_runs(x.numpy(), starts.numpy(), last)
        return super().of_runs(x, starts, last) if found is None else torch.from_numpy(found)

    def by_rows(
        self, function: Callable[..., tuple[Array, ...]], *arrays: Array | None
    ) -> tuple[Array, ...]:
        return striped(_empty, function, arrays)

    def set_rows_(self, x: Array, block: Block, value: Array) -> Array:
        x[block.start : block.start + block.size] = value
        return x

    def add_rows_(self, x: Array, block: Block, value: Array) -> Array:
        self.rows(x, block).add_(value)
        return x

    def add_product_(
        self, x: Array, block: Block, a: Array, b: Array, scratch: Scratch | None, times: int = 1
    ) -> Array:
        x[block.start : block.start + block.size].addmm_(a, b, alpha=times)
        return x

    def add_at_(self, x: Array, places: Array, values: Array) -> Array:
        return x.index_add_(0, places, values)

    def set_columns_(self, x: Array, block: Block, value: Array) -> Array:
        x[:, block.start : block.start + block.size] = value
        return x

    def add_columns_(self, x: Array, block: Block, value: Array) -> Array:
        self.columns(x, block).add_(value)
        return x

    def tile(self, sides: int, n: Any) -> int:
        # So many tiles of 512 are slower: of two sides by 2 to 9 %, of one by up to 5 %.
        if n < 8192:
            return 512
        return 768 if sides == 2 else 640

    def scratch(self) -> AbstractContextManager[Scratch]:
        return _SPARE.lend()

    def store(self, owner: object, size: int, like: Array) -> Array:
        return _STORES.lend(owner, size, like)

    def product(self, a: Array, b: Array, scratch: Scratch | None, key: str) -> Array:
        assert scratch is not None
        return torch.mm(a, b.T, out=scratch.buffer(key, (a.shape[0], b.shape[0]), a))

    def copy(self, x: Array, scratch: Scratch | None, key: str) -> Array:
        assert scratch is not None
        return scratch.buffer(key, tuple(x.shape), x).copy_(x)

    def plus(self, x: Array, y: Array, scratch: Scratch | None, key: str) -> Array:
        assert scratch is not None
        out = scratch.buffer(key, (x.shape[0], max(x.shape[1], y.shape[1])), x)
        return torch.add(x, y, out=out)

    def exp_(self, x: Array) -> Array:
        return x.exp_()

    def root_(self, x: Array) -> Array:
        return x.clamp_(min=0).sqrt_()

    def abs_(self, x: Array) -> Array:
        return x.abs_()

    def log1p_(self, x: Array) -> Array:
        return x.log1p_()

    def inverse_(self, x: Array) -> Array:
        return x.reciprocal_()

    def inverse_or_zero_(self, x: Array) -> Array:
        # A mask would take six times as long.
        return x.reciprocal_().nan_to_num_(float("nan"), 0.0, 0.0)

    def add_(self, x: Array, y: Any) -> Array:
        return x.add_(y)

    def sub_(self, x: Array, y: Any) -> Array:
        return x.sub_(y)

    def mul_(self, x: Array, y: Any) -> Array:
        return x.mul_(y)

    def div_(self, x: Array, y: Any) -> Array:
        return x.div_(y)

    def fill_(self, x: Array, mask: Array, value: float) -> Array:
        return x.masked_fill_(mask, value)

    def codes(self, x: Array, like: Array) -> Array:
        return x.to(_BITS[self.compute_dtype(like)])

    def members(
        self, x: Array, y: Array, alike: bool, like: Array, scratch: Scratch | None
    ) -> Array:
        assert scratch is not None
        bits = _BITS[like.dtype]
        kind = x if x.dtype == bits else torch.empty(0, dtype=bits, device=like.device)
        out = scratch.buffer("members", tuple(map(max, x.shape, y.shape)), kind)
        return torch.eq(x, y, out=out) if alike else torch.ne(x, y, out=out)

    def only_(self, x: Array, members: Array, nothing: float) -> Array:
        # By ones and zeros of its own size, and as bits, so that NaN does not spread: a mask of
        # Booleans takes eight times as long to make and to use.
        bits = x.view(members.dtype)
        blank = _blank(nothing, x.dtype)
        if blank:
            bits.bitwise_xor_(blank).mul_(members).bitwise_xor_(blank)
        else:
            bits.mul_(members)
        return x

    def fill_diagonal_(self, x: Array, i: Block, j: Block, value: float, width: int = 1) -> Array:
        if width == 1:
            x.diagonal(i.start - j.start).fill_(value)
        else:
            x.view(-1, width, i.size // width, width).diagonal(0, 0, 2).fill_(value)
        return x

    def relu_(self, x: Array) -> Array:
        return x.relu_()

    def sign_(self, x: Array) -> Array:
        return x.sign_()

    def softplus_(self, x: Array) -> Array:
        return torch._C._nn.softplus(x, 1, 40, out=x)

    def sigmoid_(self, x: Array) -> Array:
        return x.sigmoid_()


@cache
def _blank(value: float, dtype: torch.dtype) -> int:
    """The bits of a number as a whole one."""
    return int(torch.tensor(value, dtype=dtype).view(_BITS[dtype]))


_IN_PLACE = Torch()
_PURE = _Pure()


def _is_wrapped(x: torch.Tensor) -> bool:
    """Whether a transform of torch.func (grad, vmap) holds the values of `x`."""
    return bool(torch._C._functorch.is_functorch_wrapped_tensor(x))


def _namespace(arrays: Sequence[torch.Tensor]) -> _Pure:
    return _PURE if any(_is_wrapped(x) for x in arrays) else _IN_PLACE


def full_precision(inputs: tuple[Array, ...]) -> AbstractContextManager[Any]:
    """Autocast would send the tiles' products to half precision; casts are made at the edge."""
    device = inputs[0].device.type
    if not torch.is_autocast_enabled(device):
        return nullcontext()  # which a small batch notices
    off: AbstractContextManager[Any] = torch.autocast(device, enabled=False)
    return off


class _Glue(torch.autograd.Function):  # type: ignore[misc]
    """One node of the autograd graph, from the embeddings to the value."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Any:
        output = _Transformed.forward(*given)
        _Transformed.setup_context(ctx, given, output)
        return output

    @staticmethod
    def backward(ctx: Any, upstream: Array | None, *_: None) -> Any:
        wanted = ctx.needs_input_grad[3:]
        if upstream is None:
            return (None,) * (3 + ctx.arrays)
        inputs, saved = ctx.saved_tensors[: ctx.arrays], ctx.saved_tensors[ctx.arrays :]
        ns, kept = _namespace((upstream, *inputs)), ctx.kept
        with full_precision(inputs):
            if torch.is_grad_enabled():
                # The gradient is to be differentiated: what was saved is a function of the inputs
                # too, so it is computed again where autograd sees it.
                ns = _PURE
                _, saved = ctx.evaluation.forward(ns, inputs, wanted)
            kept = kept if ns.in_place else None
            grads = ctx.evaluation.backward(ns, inputs, saved, upstream, wanted, kept)
        return None, None, None, *grads


class _Transformed(_Glue):
    """The same in the form that the transforms of torch.func ask for, which takes longer."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        evaluation: Evaluation, wanted: tuple[bool, ...], kept: Kept | None, *inputs: Array
    ) -> Any:
        ns = _namespace(inputs)
        with full_precision(inputs):
            value, saved = evaluation.forward(ns, inputs, wanted, kept if ns.in_place else None)
        return value, *saved

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Array, ...]) -> None:
        ctx.evaluation, _, ctx.kept, *arrays = inputs
        ctx.arrays = len(arrays)
        ctx.save_for_backward(*arrays, *output[1:])
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)


def _operators() -> Any:
    """Operators for compiled programs; made when the first program is compiled."""
    from nearfar.frameworks import torch_operators

    return torch_operators

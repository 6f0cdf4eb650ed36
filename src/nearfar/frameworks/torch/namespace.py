"""PyTorch: in place inside the glue, where autograd does not look.

Autograd sees one operation, from the embeddings to the value. When its gradient is to be
differentiated, backward runs the same evaluation in pure operations under autograd; that is exact,
and keeps n x n arrays as any dense second derivative does.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch

from nearfar.frameworks.memory import Spare, Stores, aligned, striped
from nearfar.frameworks.numpy import segments
from nearfar.frameworks.protocol.namespace import Namespace
from nearfar.frameworks.protocol.types import Array, Block, Evaluation, Kept, Scratch, Statement
from nearfar.frameworks.torch.pure import Pure, is_wrapped


def _empty(size: int, like: Array) -> Array:
    if torch.is_inference_mode_enabled():
        # A buffer outlives the call, and only inference mode may write into what it made itself.
        with torch.inference_mode(False):
            return _empty(size, like)
    if like.device.type == "cpu" and like.dtype in _NUMPY:
        return torch.from_numpy(aligned(size, _NUMPY[like.dtype]))
    return torch.empty(size, dtype=like.dtype, device=like.device)


_NUMPY = {torch.float32: np.float32, torch.float64: np.float64}
_BITS = {torch.float32: torch.int32, torch.float64: torch.int64}
_SPARE, _STORES = Spare(_empty), Stores(_empty)


class Torch(Pure):
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
            found = segments.of_short_runs(x.numpy(), starts.numpy(), last)
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
        return torch.add(x, y, out=_room(x, y, scratch, key))

    def minus(self, x: Array, y: Array, scratch: Scratch | None, key: str) -> Array:
        return torch.sub(x, y, out=_room(x, y, scratch, key))

    def times(self, x: Array, y: Array, scratch: Scratch | None, key: str) -> Array:
        return torch.mul(x, y, out=_room(x, y, scratch, key))

    def over(self, x: Array, y: Array, scratch: Scratch | None, key: str) -> Array:
        return torch.div(x, y, out=_room(x, y, scratch, key))

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


def _room(x: Array, y: Array, scratch: Scratch | None, key: str) -> Array:
    """For what both give; `x` has all rows."""
    assert scratch is not None
    return scratch.buffer(key, (x.shape[0], max(x.shape[1], y.shape[1])), x)


@cache
def _blank(value: float, dtype: torch.dtype) -> int:
    """The bits of a number as a whole one."""
    return int(torch.tensor(value, dtype=dtype).view(_BITS[dtype]))


NAMESPACE = Torch()
_PURE = Pure()


def _namespace(arrays: Sequence[torch.Tensor]) -> Pure:
    return _PURE if any(is_wrapped(x) for x in arrays) else NAMESPACE


def full_precision(inputs: tuple[Array, ...]) -> AbstractContextManager[Any]:
    """Autocast would send the tiles' products to half precision; casts are made at the edge."""
    device = inputs[0].device.type
    # Devices without autocast ("meta") raise where it is asked for, or switched off.
    if not (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)):
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
        found = ctx.saved_tensors  # which a checkpoint gives once
        inputs, saved = found[: ctx.arrays], found[ctx.arrays :]
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
    from nearfar.frameworks.torch import compiled

    return compiled

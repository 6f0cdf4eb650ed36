"""PyTorch in pure operations: under autograd, and inside the transforms of torch.func."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch

from nearfar.frameworks.numpy import segments
from nearfar.frameworks.protocol.namespace import Namespace
from nearfar.frameworks.protocol.rows import fill_segments
from nearfar.frameworks.protocol.types import Array, Block, DType, Scratch
from nearfar.frameworks.torch import names as xp

_AT_ONCE = 2**14
"""Entries of a matrix that NumPy sorts at once."""

_CHUNK = 128
"""Entries that one product sums up on an accelerator."""


class Pure(Namespace):
    name: ClassVar[str] = "torch"
    xp: Any = xp

    def is_array(self, x: Any) -> bool:
        return isinstance(x, torch.Tensor)

    def is_dense(self, x: Array) -> bool:
        return x.layout == torch.strided and not x.is_nested

    def device_kind(self, x: Array) -> str:
        return str(x.device.type)

    def peek(self, x: Array) -> np.ndarray | None:
        if self.accelerated(x) or is_wrapped(x):
            return None
        return np.asarray((x.double() if x.is_floating_point() else x).detach())

    def accelerated(self, x: Array) -> bool:
        return not x.is_cpu

    def waited_for(self, x: Array) -> int | None:
        return None if is_wrapped(x) else int(x.detach())

    def to_numpy(self, x: Array) -> np.ndarray:
        # NumPy lacks bfloat16.
        found: np.ndarray = (x.float() if x.dtype == torch.bfloat16 else x).numpy(force=True)
        return found

    def place(self, x: Array) -> Any:
        return x.device

    def stays(self, x: Any, like: Array) -> bool:
        # A compiled program has its inputs on one device; a transform may hold the labels.
        known = isinstance(x, np.ndarray) or (self.is_array(x) and x.is_cpu and not is_wrapped(x))
        return known and self.accelerated(like) and not torch.compiler.is_compiling()

    def placed(self, x: np.ndarray) -> Array:
        return torch.from_numpy(np.ascontiguousarray(x, dtype=np.int64))

    def beside(self, x: Array, like: Array) -> Array:
        return _sent(x, like.device)

    def asarray(self, values: Any, like: Array, dtype: DType | None = None) -> Array:
        compiling = torch.compiler.is_compiling()  # it has no flags there
        if not compiling and isinstance(values, np.ndarray) and not values.flags.writeable:
            values = values.copy()  # PyTorch warns of such arrays, which columns of pandas are
        dtype = like.dtype if dtype is None else dtype
        if isinstance(values, np.ndarray) and self.accelerated(like):
            return _sent(torch.as_tensor(values, dtype=dtype), like.device)
        return torch.as_tensor(values, dtype=dtype, device=like.device)

    def cast(self, x: Array, dtype: DType) -> Array:
        return x.to(dtype)

    def double(self, x: Array) -> Array:
        return x if x.device.type == "mps" else x.double()

    # Numbers stay numbers: as arrays they would be copied to the device.

    def fill_(self, x: Array, mask: Array, value: float) -> Array:
        return x.masked_fill(mask, value)

    def only_(self, x: Array, members: Array, nothing: float) -> Array:
        return torch.where(members, x, nothing)

    def take(self, x: Array, order: Array) -> Array:
        return torch.index_select(x, 0, self.asarray(order, x, torch.int64))

    def zeros(self, shape: tuple[int, ...], like: Array) -> Array:
        return torch.zeros(shape, dtype=like.dtype, device=like.device)

    def ones(self, shape: tuple[int, ...], like: Array) -> Array:
        return torch.ones(shape, dtype=like.dtype, device=like.device)

    def cond(self, flag: Any, yes: Callable[[], Array], no: Callable[[], Array]) -> Array:
        # `yes` is right for every input. Inside a transform or a compiler a flag has no value, and
        # for that of an accelerator the host would wait.
        unknown = isinstance(flag, torch.Tensor) and (is_wrapped(flag) or self.accelerated(flag))
        return yes() if unknown else super().cond(flag, yes, no)

    def decide(self, flag: Array) -> Any:
        return flag if is_wrapped(flag) else super().decide(flag)

    def stop_gradient(self, x: Array) -> Array:
        return x.detach()

    def argsort(self, x: Array) -> Array:
        if not (self.accelerated(x) or x.dtype == torch.bfloat16 or is_wrapped(x)):
            # NumPy's vectorised sort takes a quarter of the time.
            return torch.from_numpy(np.argsort(x.detach().numpy(), axis=1))
        return torch.argsort(x, dim=1)

    def merge(self, x: Array, scratch: Scratch | None = None, key: str = "") -> Array:
        if self.accelerated(x) or x.dtype == torch.bfloat16 or is_wrapped(x):
            return torch.argsort(x, dim=1)
        if scratch is None:
            return torch.from_numpy(segments.merge(x.detach().numpy()))
        order = scratch.buffer(key, tuple(x.shape), torch.empty(0, dtype=torch.int64))
        # NumPy makes its orders anew: small ones, in memory that is there.
        step = max(1, _AT_ONCE // x.shape[1])
        for some, place in zip(x.split(step), order.split(step), strict=True):
            place.copy_(torch.from_numpy(segments.merge(some.numpy())))
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
        if not (self.accelerated(x) or x.dtype == torch.bfloat16 or is_wrapped(x)):
            # NumPy finds it in a tenth of the time.
            columns = torch.from_numpy(np.argmax(x.detach().numpy(), axis=1))
            return columns, torch.gather(x, 1, columns[:, None])[:, 0]
        return super().largest(x)

    def add_at_(self, x: Array, places: Array, values: Array) -> Array:
        return x.index_add(0, places, values)

    def running_sum(self, x: Array, reverse: bool) -> Array:
        if self.accelerated(x):
            return _sums_by_products(x, reverse)
        return _turned(lambda x: torch.cumsum(x, 1), x, reverse)

    def running_log_sum(self, x: Array, reverse: bool) -> Array:
        return _turned(lambda x: torch.logcumsumexp(x, 1), x, reverse)

    def segment_fill(self, x: Array, starts: Array, last: bool) -> Array:
        return fill_segments(self, x, starts, last, _running_min)

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


def _sums_by_products(x: Array, reverse: bool) -> Array:
    """Running sums as products of chunks with a triangle of ones: in the same order every time,
    while a GPU's `cumsum` adds up as its threads come and is refused in deterministic mode."""
    rows, width = x.shape
    count = -(-width // _CHUNK)
    padded = torch.nn.functional.pad(x, (0, count * _CHUNK - width))
    ones = torch.ones((_CHUNK, _CHUNK), dtype=x.dtype, device=x.device)
    triangle = ones.tril() if reverse else ones.triu()
    sums = (padded.reshape(-1, _CHUNK) @ triangle).reshape(rows, count, _CHUNK)
    if count > 1:
        whole = sums[:, 1:, 0] if reverse else sums[:, :-1, -1]
        beyond = torch.nn.functional.pad(
            _sums_by_products(whole, reverse), (0, 1) if reverse else (1, 0)
        )
        sums = sums + beyond[:, :, None]
    return sums.reshape(rows, -1)[:, :width]


def _sent(x: Array, device: torch.device) -> Array:
    """On a device, for which the host does not wait: from memory that the device reads by itself.
    A graph that is captured would read it again when it is replayed, and refuses the copy."""
    # Of other devices it is not known that they leave the host's memory alone in time.
    if is_wrapped(x) or not x.is_cpu or device.type not in ("cuda", "meta"):
        return x.to(device)
    if device.type == "cuda" and not torch.cuda.is_current_stream_capturing():
        x = x.pin_memory()
    return x.to(device, non_blocking=True)


def _running_min(x: Array, reverse: bool) -> Array:
    return _turned(lambda x: torch.cummin(x, 1).values, x, reverse)


def is_wrapped(x: torch.Tensor) -> bool:
    """Whether a transform of torch.func (grad, vmap) or a compiler holds the values of `x`."""
    if torch.compiler.is_compiling():
        return True
    return bool(torch._C._functorch.is_functorch_wrapped_tensor(x))

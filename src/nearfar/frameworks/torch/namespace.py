"""PyTorch: in place inside the glue, where autograd does not look."""

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from functools import cache
from math import exp, log
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch

from nearfar.frameworks.memory import Spare, Stores, aligned, by_chunks
from nearfar.frameworks.numpy import segments
from nearfar.frameworks.protocol.elementwise import LEAST, SAMPLE, SLOW, UNSEEN, WORTH
from nearfar.frameworks.protocol.feature_sum import FeatureSum
from nearfar.frameworks.protocol.namespace import HOST_MEMORY
from nearfar.frameworks.protocol.types import Array, Block, Scratch
from nearfar.frameworks.torch import device
from nearfar.frameworks.torch.device import triton_is_late
from nearfar.frameworks.torch.feature_sum import feature_sum
from nearfar.frameworks.torch.pure import Pure, is_wrapped


def _empty(size: int, like: Array) -> Array:
    if torch.is_inference_mode_enabled():
        # A buffer outlives the call, and only inference mode may write into what it made itself.
        with torch.inference_mode(False):
            return _empty(size, like)
    if like.device.type == "cpu" and like.dtype in _NUMPY:
        return torch.from_numpy(aligned(size, _NUMPY[like.dtype]))
    return torch.empty(size, dtype=like.dtype, device=like.device)


_PLAIN = (torch.Tensor, torch.nn.Parameter)
_NUMPY = {torch.float32: np.float32, torch.float64: np.float64}
_BITS = {torch.float32: torch.int32, torch.float64: torch.int64}


def _keeps(x: Array) -> bool:
    """Whether memory may stay for the next call. An accelerator's may not: a call on another stream
    would write what this one still reads, and a captured graph owns what it allocates. PyTorch
    keeps it, and knows of streams and graphs."""
    return bool(x.device.type == "cpu")


_SPARE, _STORES = Spare(_empty, _keeps), Stores(_empty, _keeps)

# Up to so many, NumPy's product takes one thread and less time to begin.
_FEW_TERMS = 2**17

# Norms whose squares, and those of entries that count, are inside the dtype.
_SQUARES = {torch.float32: (1e-15, 1e15), torch.float64: (1e-140, 1e140)}


class _Untouched(NamedTuple):
    """An accumulator of zeros that nothing was added to yet: the first sum takes its place."""

    shape: tuple[Any, ...]
    like: Array


# Devices whose tensors the fused kernels take, and compute capabilities of those that have run
# them. Their tiles fill an H200's shared memory, which many cards have less than half of.
_FUSED = {"cuda"}
_SEEN = {(9, 0)}


def _triton(device: torch.device, asked: bool) -> tuple[Any, ...]:
    """The fused kernels, where Triton is installed; imported when first asked for."""
    if device.type not in _FUSED or triton_is_late():
        return ()
    if device.type == "cuda" and not asked and _capability(device) not in _SEEN:
        return ()
    try:
        from nearfar.frameworks.triton import KERNEL
    except ImportError:
        return ()
    return (KERNEL,)


@cache
def _capability(device: torch.device) -> tuple[int, int]:
    found: tuple[int, int] = torch.cuda.get_device_capability(device)
    return found


class Torch(Pure):
    """In place; for use where autograd does not record."""

    in_place: ClassVar[bool] = True

    def signature(self, arrays: tuple[Any, ...]) -> Hashable | None:
        if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
            return None
        found: list[Any] = [self]
        for x in arrays:
            if (
                type(x) not in _PLAIN
                or not x.is_cpu
                or x.layout is not torch.strided
                or x.is_nested
                or torch._C._functorch.is_functorch_wrapped_tensor(x)
            ):
                return None
            found += (x.shape, x.dtype)
        return tuple(found)

    def scatter(
        self, x: Array, order: Array, width: Any, scratch: Scratch | None = None, key: str = ""
    ) -> Array:
        shape = x.shape[0], width
        out = x.new_empty(shape) if scratch is None else scratch.buffer(key, shape, x)
        return out.zero_().scatter_(1, order, x)

    def few_places(self, mask: Array, share: float) -> tuple[Array, Array] | None:
        if self.accelerated(mask) or int(mask.sum()) > share * mask.numel():
            return None
        rows, columns = mask.nonzero(as_tuple=True)
        return rows, columns

    def largest_of_columns(self, x: Array) -> tuple[Array, Array]:
        rows, values = segments.largest_of_columns(x.numpy())
        return torch.from_numpy(rows), torch.from_numpy(values)

    def segment_fill(self, x: Array, starts: Array, last: bool) -> Array:
        found = None
        if x.dtype in _NUMPY and not self.accelerated(x):
            found = segments.fill_short_segments(x.numpy(), starts.numpy(), last)
        return super().segment_fill(x, starts, last) if found is None else torch.from_numpy(found)

    def by_rows(
        self, function: Callable[..., tuple[Array, ...]], *arrays: Array | None
    ) -> tuple[Array, ...]:
        # An accelerator fills itself with all rows, and launches once.
        return (
            function(*arrays)
            if self.accelerated(arrays[0])
            else by_chunks(_empty, function, arrays)
        )

    def accumulator(self, shape: tuple[Any, ...], like: Array) -> Any:
        return _Untouched(shape, like) if self.accelerated(like) else self.zeros(shape, like)

    def accumulated(self, x: Any) -> Array:
        return self.zeros(x.shape, x.like) if isinstance(x, _Untouched) else x

    def untouched(self, x: Any, block: Block | None = None) -> bool:
        return isinstance(x, _Untouched) and (block is None or block.size == x.shape[0])

    def finite(self, x: Array) -> Array:
        return torch.nan_to_num(x, float("nan"), float("inf"), 0.0)

    def weighted_sum(self, x: Array, weights: Any) -> Array:
        if not isinstance(weights, float):
            return super().weighted_sum(x, weights)
        return x.mean() if weights * x.shape[0] == 1 else x.sum() * weights

    def exponentials_(self, x: Array) -> tuple[Array, Array, Array, Array]:
        shift = x.amax(1).nan_to_num_(float("nan"), float("inf"), 0.0)
        e = self.exp_beside_one_(x.sub_(shift[:, None]))
        total = e.sum(1)
        log = total.log()
        return e, shift, total.clamp_(min=1), log  # the largest entry of a row adds 1

    # On an accelerator as few launches as can be; a processor has each row in its cache anyway.

    def dots(self, x: Array, y: Array) -> Array:
        if not self.accelerated(x):
            return super().dots(x, y)
        return torch.bmm(x[:, None, :], y[:, :, None]).view(-1)

    def unit_rows(self, z: Array, factor: Any) -> tuple[Array, Array]:
        norm = torch.linalg.vector_norm
        if not self.accelerated(z):
            length = norm(z, 2, 1, True)
            low, high = _SQUARES[z.dtype]
            least, largest = torch.aminmax(length) if length.shape[0] else (length, length)
            if length.shape[0] and low < least.item() and largest.item() < high:
                scale = length.reciprocal_().mul_(factor)
                return z * scale, scale
            return super().unit_rows(z, factor)
        largest = norm(z, float("inf"), 1, True).clamp_(min=torch.finfo(z.dtype).tiny)
        p = z / largest
        # Of zeros infinity: the row and its scale are 0.
        length = torch.threshold_(norm(p, 2, 1, True), 0, float("inf"))
        # A number as an array of the host goes along with the launch.
        scale = torch.as_tensor(factor, dtype=z.dtype) / length
        return p.mul_(scale), scale / largest

    def without_(self, x: Array, p: Array, times: Any) -> tuple[Array, Array]:
        along = self.dots(p, x)[:, None] if self.accelerated(x) else (p * x).sum(1, True)
        if isinstance(times, torch.Tensor):
            return x.addcmul_(p, along * times, value=-1), along
        return x.addcmul_(p, along, value=-times), along

    def row_sums(self, x: Array) -> Array:
        return x.sum(1)

    def column_sums(self, x: Array) -> Array:
        return x.sum(0)

    def feature_sum(self, terms: FeatureSum, a: Array, b: Array, *constants: Array) -> Array:
        return feature_sum(terms, a, b, constants)

    def set_rows_(self, x: Array, block: Block, value: Array) -> Array:
        x[block.start : block.start + block.size] = value
        return x

    def add_rows_(self, x: Any, block: Block, value: Array) -> Array:
        if isinstance(x, _Untouched):
            if block.size == x.shape[0]:
                return value
            x = self.accumulated(x)
        self.rows(x, block).add_(value)
        return x

    def add_product_(
        self, x: Any, block: Block, a: Array, b: Array, scratch: Scratch | None, times: int = 1
    ) -> Array:
        if self.untouched(x, block):
            found = torch.mm(a, b)
            return found if times == 1 else found.mul_(times)
        x = self.accumulated(x)
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

    def tile(self, sides: int, n: Any, like: Array, several: bool = False) -> int:
        if self.accelerated(like):
            return device.TILE
        # So many tiles of 512 are slower: of two sides by 2 to 9 %, of one by up to 5 %. Beside
        # other arrays larger ones leave the cache, and are slower by 7 to 10 %.
        if several or n < 8192:
            return 512
        return 768 if sides == 2 else 640

    def at_once(self, like: Array) -> int:
        return device.TILE if self.accelerated(like) else 256 * torch.get_num_threads()

    def window(self, like: Array) -> int:
        return device.WINDOW if self.accelerated(like) else self.at_once(like)

    def memory(self, like: Array) -> int:
        return device.memory(like.device) if self.accelerated(like) else HOST_MEMORY

    def kernels(self, like: Array, asked: bool) -> tuple[Any, ...]:
        return _triton(like.device, asked)

    def scratch(self) -> AbstractContextManager[Scratch]:
        return _SPARE.lend()

    def store(self, owner: object, size: int, like: Array) -> Array:
        return _STORES.lend(owner, size, like)

    def host_product(self, a: Array, b: Array) -> Array:
        if a.size * b.shape[1] <= _FEW_TERMS:
            return a @ b
        return torch.mm(torch.from_numpy(a), torch.from_numpy(b)).numpy()

    def from_host(self, x: Array) -> Array:
        return torch.from_numpy(np.asarray(x))

    def host_errors(self) -> AbstractContextManager[Any]:
        return np.errstate(all="ignore")

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

    def up_to(self, x: Array, limit: Array, scratch: Scratch | None, key: str) -> Array:
        assert scratch is not None
        return self.up_to_(x, limit, scratch.buffer(key, tuple(x.shape), x))

    def exp_(self, x: Array) -> Array:
        return x.exp_()

    def exp_beside_one_(self, x: Array, slope: Array | None = None) -> Array:
        if self.accelerated(x):
            return x.exp_()
        size = x.element_size()
        slow: Any = SLOW[size]
        if slope is not None:
            slow = (log(LEAST[size]) - slope.abs().log_()).clamp_(slow, 1)
        by_rows = slope is not None and slope.shape[0] > 1
        some = x[::SAMPLE] < (slow[::SAMPLE] if by_rows else slow)
        if int(some.count_nonzero()) <= WORTH * some.numel():
            return x.exp_()
        unseen = UNSEEN[size]
        if slope is None:
            return torch.threshold_(x.clamp_(min=unseen).exp_(), 1.001 * exp(unseen), 0.0)
        least = slow.clamp_(min=unseen)
        return x.clamp_(min=least).exp_().sub_(least.exp_(), alpha=1.001).clamp_(min=0)

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
        if self.accelerated(like):
            return super().members(x, y, alike, like, scratch)
        assert scratch is not None
        bits = _BITS[like.dtype]
        kind = x if x.dtype == bits else torch.empty(0, dtype=bits, device=like.device)
        out = scratch.buffer("members", tuple(map(max, x.shape, y.shape)), kind)
        return torch.eq(x, y, out=out) if alike else torch.ne(x, y, out=out)

    def at_most(self, x: Array, limit: Array, scratch: Scratch | None) -> Array:
        # The sign of the difference, as a whole number: see `only_`.
        if self.accelerated(x):
            return super().at_most(x, limit, scratch)
        assert scratch is not None
        signs = torch.sub(limit, x, out=scratch.buffer("at most", tuple(x.shape), x))
        return signs.view(_BITS[x.dtype]).bitwise_right_shift_(8 * x.element_size() - 1).add_(1)

    def up_to_(self, x: Array, limit: Any, out: Array) -> Array:
        return torch.le(x, limit, out=out)

    def none_above(self, x: Array, limit: float) -> bool:
        if self.accelerated(x):  # for which the host would wait
            return False
        return all(bool(some.amax() <= limit) for some in (x[::64], x))

    def equal(self, x: Array, y: Array, like: Array, scratch: Scratch | None, key: str) -> Array:
        assert scratch is not None
        if self.accelerated(like):  # where labels are codes as they are, and may be any numbers
            return (x == y).to(like.dtype)
        if not x.is_floating_point():
            # Numbers of rows: whole ones that every float knows.
            x, y = x.to(like.dtype), y.to(like.dtype)
        out = scratch.buffer(key, tuple(map(max, x.shape, y.shape)), like)
        return torch.eq(x, y, out=out)

    def packed(self, ones: Array, scratch: Scratch | None) -> Array:
        # A product with powers of two sums up bits, exactly, of entries that stand an eighth of all
        # apart. Signed bytes are six times as soon made of floats: the last power is negative.
        assert scratch is not None
        flat = ones.view(-1)
        short = -flat.shape[0] % 8
        if short:
            flat = torch.nn.functional.pad(flat, (0, short))
        sums = scratch.buffer("bits", (flat.shape[0] // 8,), flat)
        return torch.mv(flat.view(8, -1).T, _powers(flat, flat.dtype), out=sums).to(torch.int8)

    def unpacked(self, bits: Array, out: Array, scratch: Scratch | None) -> Array:
        assert scratch is not None
        powers = _powers(bits, torch.uint8)
        some = scratch.buffer("bits", (8, bits.shape[0]), powers)
        torch.bitwise_and(bits.view(torch.uint8), powers[:, None], out=some).clamp_(max=1)
        return out.copy_(some.view(-1)[: out.numel()].view(out.shape))

    def add_times_(self, x: Array, y: Array, z: Array) -> Array:
        return torch.addcmul(x, y, z, out=y)

    def sub_twice_(self, x: Array, y: Array) -> Array:
        return x.sub_(y, alpha=2)

    def only_(self, x: Array, members: Array, nothing: float) -> Array:
        if members.dtype == torch.bool:  # on an accelerator, where bytes are soonest read
            return x.masked_fill_(members.logical_not_(), nothing)
        # By ones and zeros of its own size, and as bits, so that NaN does not spread: a mask of
        # Booleans takes eight times as long to make and to use.
        bits = x.view(members.dtype)
        blank = _blank(nothing, x.dtype)
        if blank:
            bits.bitwise_xor_(blank).mul_(members).bitwise_xor_(blank)
        else:
            bits.mul_(members)
        return x

    def diagonal(self, x: Array, i: Block, j: Block) -> Array:
        return x.diagonal(i.start - j.start)[: i.size].clone()

    def fill_diagonal_(self, x: Array, i: Block, j: Block, value: float, width: int = 1) -> Array:
        if width == 1:
            x.diagonal(i.start - j.start).fill_(value)
        else:
            x.view(-1, width, i.size // width, width).diagonal(0, 0, 2).fill_(value)
        return x

    def partnered(self, x: Array, width: int) -> Array:
        return _beside(x, width).clone(memory_format=torch.contiguous_format).view(-1)

    def add_partnered_(self, x: Array, rows: Array, columns: Array, width: int) -> Array:
        each = columns.view(-1, width).flip(1) if width > 1 else columns[:, None]
        _beside(x, width).add_(rows.view(-1, width) + each)
        return x

    def set_diagonal_(self, x: Array, i: Block, j: Block, values: Array) -> Array:
        x.diagonal(i.start - j.start)[: i.size].copy_(values)
        return x

    def relu_(self, x: Array) -> Array:
        return x.relu_()

    def sign_(self, x: Array) -> Array:
        return x.sign_()

    def softplus_(self, x: Array) -> Array:
        return torch._C._nn.softplus(x, 1, 40, out=x)

    def sigmoid_(self, x: Array) -> Array:
        return x.sigmoid_()


def _beside(x: Array, width: int) -> Array:
    """Where rows of a tile on the diagonal meet their partners, (n / width, width)."""
    n = x.shape[0]
    steps = (width * (n + 1), n - 1)
    return x.as_strided((n // width, width), steps, x.storage_offset() + width - 1)


def _room(x: Array, y: Array, scratch: Scratch | None, key: str) -> Array:
    """For what both give; `x` has all rows."""
    assert scratch is not None
    return scratch.buffer(key, (x.shape[0], max(x.shape[1], y.shape[1])), x)


def _powers(like: Array, dtype: torch.dtype) -> Array:
    """1, 2, 4, ..., 128 as bytes, of which the last is -128 as a number with a sign."""
    if like.device.type == "cpu":
        return _powers_of(dtype)
    # Kept, they would be another stream's or a graph's memory.
    return _powers_of(dtype).to(like.device)


@cache
def _powers_of(dtype: torch.dtype) -> Array:
    with torch.inference_mode(False):
        last = 128 if dtype == torch.uint8 else -128
        return torch.tensor([1, 2, 4, 8, 16, 32, 64, last], dtype=dtype, device="cpu")


@cache
def _blank(value: float, dtype: torch.dtype) -> int:
    """The bits of a number as a whole one."""
    return int(torch.tensor(value, dtype=dtype).view(_BITS[dtype]))


NAMESPACE = Torch()
PURE = Pure()


def namespace_for(arrays: Sequence[torch.Tensor]) -> Pure:
    return PURE if any(is_wrapped(x) for x in arrays) else NAMESPACE

"""Sums over features as one node of autograd, and their gradients as another.

Transforms of `torch.func` record gradients too, so these must not leave arrays for each feature.
"""

from collections.abc import Callable
from typing import Any

import torch

from nearfar.frameworks.protocol.feature_sum import FeatureSum
from nearfar.frameworks.protocol.types import Array
from nearfar.frameworks.torch.pure import Pure

# Both derivatives may be differentiated again.
_PURE = Pure()


def feature_sum(terms: FeatureSum, a: Array, b: Array, constants: tuple[Array, ...]) -> Array:
    if torch.compiler.is_compiling():
        # Compilers take no node with a forward mode of its own; they differentiate the term, and
        # choose what to keep.
        return terms.value(_PURE, a, b, constants)
    found: Array = _Sum.apply(terms, a, b, *constants)
    return found


def _along(tangents: tuple[Array | None, ...], arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    pairs = zip(tangents, arrays, strict=True)
    return tuple(torch.zeros_like(x) if t is None else t for t, x in pairs)


class _Node(torch.autograd.Function):  # type: ignore[misc]
    """One that is called with a `FeatureSum` and arrays, of which it keeps these only."""

    generate_vmap_rule = True

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.terms, *arrays = inputs
        ctx.save_for_backward(*arrays)
        ctx.save_for_forward(*arrays)


class _Sum(_Node):
    @staticmethod
    def forward(terms: FeatureSum, a: Array, b: Array, *constants: Array) -> Array:
        return terms.value(_PURE, a, b, constants)

    @staticmethod
    def backward(ctx: Any, upstream: Array) -> Any:
        a, b, *constants = ctx.saved_tensors
        found = _Slopes.apply(ctx.terms, upstream, a, b, *constants)
        return None, *found, *(None for _ in constants)

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Array | None) -> Array:
        a, b, *constants = ctx.saved_tensors
        along = _along(tangents[:2], (a, b))
        found: Array = ctx.terms.tangent(_PURE, along, a, b, tuple(constants))
        return found


class _Slopes(_Node):
    """The gradient of `_Sum`; its own derivatives keep what they like."""

    @staticmethod
    def forward(
        terms: FeatureSum, upstream: Array, a: Array, b: Array, *constants: Array
    ) -> tuple[Array, Array]:
        return terms.gradient(_PURE, upstream, a, b, constants)

    @staticmethod
    def backward(ctx: Any, *weights: Array) -> Any:
        by_known = _by_known(ctx.terms, ctx.saved_tensors)
        return None, *by_known(weights), *(None for _ in ctx.saved_tensors[3:])

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Array | None) -> Any:
        # Forward mode takes no other inside, but linear maps have their transpose's transpose.
        _, a, b, *_ = ctx.saved_tensors
        along = _along(tangents[:3], ctx.saved_tensors[:3])
        by_known = _by_known(ctx.terms, ctx.saved_tensors)

        def change(weights: tuple[Array, Array]) -> Array:
            pairs = zip(along, by_known(weights), strict=True)
            return sum(((t * slope).sum() for t, slope in pairs), start=torch.zeros_like(a[0, 0]))

        return torch.func.grad(change)((torch.zeros_like(a), torch.zeros_like(b)))


def _by_known(terms: FeatureSum, saved: tuple[Array, ...]) -> Callable[..., tuple[Array, ...]]:
    """Of weights of both slopes: the gradient of the weighted sum by upstream, a and b."""
    upstream, a, b, *constants = saved

    def of(weights: tuple[Array, ...]) -> tuple[Array, ...]:
        def weighted(upstream: Array, a: Array, b: Array) -> Array:
            change = terms.tangent(_PURE, weights, a, b, tuple(constants))
            return (upstream * change).sum()

        found: tuple[Array, ...] = torch.func.grad(weighted, (0, 1, 2))(upstream, a, b)
        return found

    return of

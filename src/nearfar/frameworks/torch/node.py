"""Autograd sees one operation, from the embeddings to the value.

When its gradient is to be differentiated, backward runs the same evaluation in pure operations
under autograd; that is exact, and keeps n x n arrays as any dense second derivative does.
"""

from typing import Any

import torch

from nearfar.frameworks.protocol.glue import Evaluation, Prepared, Residuals
from nearfar.frameworks.protocol.types import Array
from nearfar.frameworks.torch.hopeful import evaluated
from nearfar.frameworks.torch.namespace import NAMESPACE, PURE
from nearfar.frameworks.torch.precision import full_precision
from nearfar.frameworks.torch.pure import is_wrapped


def attached(evaluation: Evaluation, inputs: tuple[Array, ...]) -> Array:
    """The value as one node of autograd's graph."""
    recording = torch.is_grad_enabled()
    wanted = tuple(recording and x.requires_grad for x in inputs)
    glue = _Transformed if torch._C._are_functorch_transforms_active() else _Glue
    value: Array = glue.apply(evaluation, wanted, Residuals(), *inputs)[0]
    return value


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
        backward = ctx.evaluation.backward
        with full_precision(inputs):
            if torch.is_grad_enabled():
                grads = _recorded(ctx.evaluation, inputs, upstream, wanted)
            else:
                grads = evaluated(
                    (upstream, *inputs),
                    lambda ns: backward(
                        ns, inputs, saved, upstream, wanted, ctx.residuals if ns.in_place else None
                    ),
                )
        return None, None, None, *grads


def _recorded(
    evaluation: Evaluation, inputs: tuple[Array, ...], upstream: Array, wanted: tuple[bool, ...]
) -> tuple[Array | None, ...]:
    """The gradient is to be differentiated: what was saved is a function of the inputs too, so it
    is computed again where autograd sees it."""
    _, saved = evaluation.forward(PURE, inputs, wanted)
    return evaluation.backward(PURE, inputs, saved, upstream, wanted)


class AtOnce(torch.autograd.Function):  # type: ignore[misc]
    """One node whose gradient comes with its value, but for the upstream factor."""

    @staticmethod
    def forward(ctx: Any, prepared: Prepared, *inputs: Array) -> Array:
        with full_precision(inputs):
            value, ctx.gradients = prepared.value_and_grad(
                NAMESPACE, inputs, ctx.needs_input_grad[1:]
            )
        ctx.prepared = prepared
        ctx.save_for_backward(*inputs)
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Array) -> Any:
        # Taken once: a gradient that nobody else holds becomes that of a leaf without a copy.
        gradients, ctx.gradients = ctx.gradients, None
        recording = torch.is_grad_enabled()
        if gradients is None or recording:
            inputs, wanted = ctx.saved_tensors, ctx.needs_input_grad[1:]
            with full_precision(inputs):
                if recording:
                    return None, *_recorded(ctx.prepared.evaluation, inputs, upstream, wanted)
                _, gradients = ctx.prepared.value_and_grad(NAMESPACE, inputs, wanted)
        if is_wrapped(upstream) or torch._C._functorch.is_legacy_batchedtensor(upstream):
            return None, *(None if g is None else g * upstream for g in gradients)
        factor = upstream.item()
        if factor == 1:
            return None, *gradients
        return None, *(None if g is None else g * factor for g in gradients)


class _Transformed(_Glue):
    """The same in the form that the transforms of torch.func ask for, which takes longer."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        evaluation: Evaluation,
        wanted: tuple[bool, ...],
        residuals: Residuals | None,
        *inputs: Array,
    ) -> Any:
        with full_precision(inputs):
            value, saved = evaluated(
                inputs,
                lambda ns: evaluation.forward(
                    ns, inputs, wanted, residuals if ns.in_place else None
                ),
            )
        return value, *saved

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Array, ...]) -> None:
        ctx.evaluation, _, ctx.residuals, *arrays = inputs
        ctx.arrays = len(arrays)
        ctx.save_for_backward(*arrays, *output[1:])
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)

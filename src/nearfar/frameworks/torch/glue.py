"""Autograd sees one operation, from the embeddings to the value.

When its gradient is to be differentiated, backward runs the same evaluation in pure operations
under autograd; that is exact, and keeps n x n arrays as any dense second derivative does.
"""

from typing import Any

import torch

from nearfar.frameworks.protocol.glue import Evaluation, Glue, Residuals, Statement, value_and_grad
from nearfar.frameworks.protocol.types import Array
from nearfar.frameworks.torch.hopeful import evaluated
from nearfar.frameworks.torch.namespace import NAMESPACE, PURE
from nearfar.frameworks.torch.precision import full_precision


class _TorchGlue(Glue):
    def attach(
        self, evaluation: Evaluation, statement: Statement, inputs: tuple[Array, ...]
    ) -> Array:
        if torch.compiler.is_compiling():
            return _compiled().value(statement, inputs)
        recording = torch.is_grad_enabled()
        wanted = tuple(recording and x.requires_grad for x in inputs)
        residuals = Residuals()
        glue = _Transformed if torch._C._are_functorch_transforms_active() else _Glue
        value: Array = glue.apply(evaluation, wanted, residuals, *inputs)[0]
        return value

    def value_and_grad(
        self, evaluation: Evaluation, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> tuple[Array, tuple[Array | None, ...]]:
        with torch.no_grad(), full_precision(inputs):
            return evaluated(inputs, lambda ns: value_and_grad(ns, evaluation, inputs, wanted))


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
                # The gradient is to be differentiated: what was saved is a function of the inputs
                # too, so it is computed again where autograd sees it.
                _, saved = ctx.evaluation.forward(PURE, inputs, wanted)
                grads = backward(PURE, inputs, saved, upstream, wanted)
            else:
                grads = evaluated(
                    (upstream, *inputs),
                    lambda ns: backward(
                        ns, inputs, saved, upstream, wanted, ctx.residuals if ns.in_place else None
                    ),
                )
        return None, None, None, *grads


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


def _compiled() -> Any:
    """Operators for compiled programs; made when the first program is compiled."""
    from nearfar.frameworks.torch import compiled

    return compiled


GLUE = _TorchGlue(NAMESPACE)

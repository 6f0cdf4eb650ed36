"""PyTorch's compiler: a loss as one opaque operator, so that no loop over tiles is unrolled.

Only a small batch, which is one tile, is written out in pure operations, for the compiler to fuse:
beginning an operator takes longer than running such a program. Its size has to be known.

An operator takes tensors, numbers and text; the text is the loss's statement, from which the
evaluation is built again. Sizes may be symbolic: a program is not compiled again for each of them.
The gradient has no gradient of its own here, as nothing that PyTorch compiles has.
"""

from collections.abc import Sequence
from math import isnan, nan
from typing import Any

import torch
from torch.fx.experimental.symbolic_shapes import statically_known_true

from nearfar.frameworks.protocol.glue import Evaluation, Statement, rebuild
from nearfar.frameworks.protocol.types import Array
from nearfar.frameworks.torch.hopeful import evaluated
from nearfar.frameworks.torch.namespace import NAMESPACE
from nearfar.frameworks.torch.node import attached
from nearfar.frameworks.torch.precision import full_precision, in_full_precision

# Rows of batches that may be small.
_FEW = 256


def value(statement: Statement, inputs: tuple[Array, ...]) -> Array:
    # Of a program for every size nothing is known of it.
    if all(statically_known_true(x.shape[0] <= _FEW) for x in inputs if x.shape):
        return _written_out(statement.text, statement.parameters, *inputs)
    return _by_operator(statement, inputs)


@torch.compiler.allow_in_graph
def _written_out(text: str, parameters: tuple[float | None, ...], *inputs: Array) -> Array:
    """What autograd follows when it traces a program, unless the operator is what is wanted."""
    statement = Statement(text, parameters)
    # A program that is not traced further is run as it stands.
    if torch.compiler.is_compiling() and in_full_precision(inputs):
        evaluation = rebuild(statement, inputs)
        if evaluation.prepared(NAMESPACE, inputs) is not None:
            return attached(evaluation, inputs)
    return _by_operator(statement, inputs)


def _by_operator(statement: Statement, inputs: tuple[Array, ...]) -> Array:
    recording = torch.is_grad_enabled()
    wanted = [recording and x.requires_grad for x in inputs]
    return _value(statement.text, _numbers(statement), wanted, list(inputs))[0]


@torch.library.custom_op("nearfar::value", mutates_args=())
def _value(
    text: str, parameters: Sequence[float], wanted: Sequence[bool], inputs: Sequence[torch.Tensor]
) -> list[torch.Tensor]:
    """The value, then what the gradient wants to find again."""
    given = tuple(inputs)
    with torch.no_grad(), full_precision(given):
        evaluation = _evaluation(text, parameters, given)
        found, saved = evaluated(given, lambda ns: evaluation.forward(ns, given, tuple(wanted)))
    return [found, *saved]


@_value.register_fake
def _(
    text: str, parameters: Sequence[float], wanted: Sequence[bool], inputs: Sequence[torch.Tensor]
) -> list[torch.Tensor]:
    given = tuple(inputs)
    dtype = NAMESPACE.compute_dtype(*(x for x in given if x.is_floating_point()))
    shapes = _evaluation(text, parameters, given).outline(NAMESPACE, given, tuple(wanted))
    return [given[0].new_empty(shape, dtype=dtype) for shape in shapes]


@torch.library.custom_op("nearfar::gradient", mutates_args=())
def _gradient(
    text: str,
    parameters: Sequence[float],
    wanted: Sequence[bool],
    inputs: Sequence[torch.Tensor],
    saved: Sequence[torch.Tensor],
    upstream: torch.Tensor,
) -> list[torch.Tensor]:
    """Gradients of the inputs that are wanted."""
    given = tuple(inputs)
    with torch.no_grad(), full_precision(given):
        evaluation = _evaluation(text, parameters, given)
        found = evaluated(
            given,
            lambda ns: evaluation.backward(ns, given, tuple(saved), upstream, tuple(wanted)),
        )
    # Operators must not return two views of one array, as the gradients of two views are.
    return [g.clone(memory_format=torch.contiguous_format) for g in found if g is not None]


@_gradient.register_fake
def _(
    text: str,
    parameters: Sequence[float],
    wanted: Sequence[bool],
    inputs: Sequence[torch.Tensor],
    saved: Sequence[torch.Tensor],
    upstream: torch.Tensor,
) -> list[torch.Tensor]:
    return [
        torch.empty_like(x, memory_format=torch.contiguous_format)
        for x, w in zip(inputs, wanted, strict=True)
        if w
    ]


def _set_up(ctx: Any, inputs: tuple[Any, ...], output: list[torch.Tensor]) -> None:
    ctx.text, ctx.parameters, wanted, arrays = inputs
    ctx.wanted = list(wanted)
    ctx.arrays = len(arrays)
    ctx.save_for_backward(*arrays, *output[1:])


def _backward(ctx: Any, upstream: list[torch.Tensor]) -> tuple[Any, ...]:
    kept = ctx.saved_tensors  # which a checkpoint gives once
    arrays, saved = kept[: ctx.arrays], kept[ctx.arrays :]
    found = iter(
        _gradient(ctx.text, ctx.parameters, ctx.wanted, list(arrays), list(saved), upstream[0])
    )
    # An empty list has no gradient to be None: PyTorch wants it back as it is.
    parameters: list[None] | None = None if ctx.parameters else []
    return None, parameters, None, [next(found) if w else None for w in ctx.wanted]


_value.register_autograd(_backward, setup_context=_set_up)


def _numbers(statement: Statement) -> list[float]:
    """An operator takes no None in a list: NaN, which no parameter is, stands for an array."""
    return [nan if p is None else p for p in statement.parameters]


def _evaluation(
    text: str, parameters: Sequence[float], inputs: tuple[torch.Tensor, ...]
) -> Evaluation:
    known = tuple(None if isnan(p) else p for p in parameters)
    return rebuild(Statement(text, known), inputs)

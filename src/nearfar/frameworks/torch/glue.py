"""Which way PyTorch takes a loss: a node of autograd, a compiled program, or neither."""

from typing import Any

import torch

from nearfar.frameworks.protocol.glue import (
    Evaluation,
    Glue,
    Prepared,
    Statement,
    value_and_grad,
)
from nearfar.frameworks.protocol.types import Array
from nearfar.frameworks.torch.hopeful import evaluated
from nearfar.frameworks.torch.namespace import NAMESPACE
from nearfar.frameworks.torch.node import AtOnce, attached
from nearfar.frameworks.torch.precision import full_precision


class _TorchGlue(Glue):
    def attach(
        self, evaluation: Evaluation, statement: Statement, inputs: tuple[Array, ...]
    ) -> Array:
        if torch.compiler.is_compiling():
            return _compiled().value(statement, inputs)
        return attached(evaluation, inputs)

    def value_and_grad(
        self, evaluation: Evaluation, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> tuple[Array, tuple[Array | None, ...]]:
        with torch.no_grad(), full_precision(inputs):
            return evaluated(inputs, lambda ns: value_and_grad(ns, evaluation, inputs, wanted))

    def attach_prepared(self, prepared: Prepared, inputs: tuple[Array, ...]) -> Array:
        value: Array
        if torch.is_grad_enabled() and any(x.requires_grad for x in inputs):
            value = AtOnce.apply(prepared, *inputs)
        else:
            with torch.no_grad(), full_precision(inputs):
                value = super().attach_prepared(prepared, inputs)
        return value

    def prepared_value_and_grad(
        self, prepared: Prepared, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> tuple[Array, tuple[Array | None, ...]]:
        with torch.no_grad(), full_precision(inputs):
            return super().prepared_value_and_grad(prepared, inputs, wanted)


def _compiled() -> Any:
    """Operators for compiled programs; made when the first program is compiled."""
    from nearfar.frameworks.torch import compiled

    return compiled


GLUE = _TorchGlue(NAMESPACE)

"""NumPy has no gradients of its own: values, and value with gradient."""

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from nearfar.frameworks.numpy.namespace import NAMESPACE
from nearfar.frameworks.protocol.glue import Evaluation, Glue, Prepared, Statement
from nearfar.frameworks.protocol.types import Array


class _NumPyGlue(Glue):
    def attach(
        self, evaluation: Evaluation, statement: Statement, inputs: tuple[Array, ...]
    ) -> Array:
        with _intended():
            return super().attach(evaluation, statement, inputs)

    def value_and_grad(
        self, evaluation: Evaluation, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> tuple[Array, tuple[Array | None, ...]]:
        with _intended():
            return super().value_and_grad(evaluation, inputs, wanted)

    def attach_prepared(self, prepared: Prepared, inputs: tuple[Array, ...]) -> Array:
        with _intended():
            return super().attach_prepared(prepared, inputs)

    def prepared_value_and_grad(
        self, prepared: Prepared, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> tuple[Array, tuple[Array | None, ...]]:
        with _intended():
            return super().prepared_value_and_grad(prepared, inputs, wanted)


def _intended() -> AbstractContextManager[Any]:
    """Exponentials of far logits are 0, and that is no error where a program traps errors."""
    return np.errstate(under="ignore")


GLUE = _NumPyGlue(NAMESPACE)

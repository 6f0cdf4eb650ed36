"""NumPy has no gradients of its own: values, and value with gradient."""

from nearfar.frameworks.numpy.namespace import NAMESPACE
from nearfar.frameworks.protocol.glue import Evaluation, Glue, Statement
from nearfar.frameworks.protocol.types import Array


class _NumPyGlue(Glue):
    def attach(
        self, evaluation: Evaluation, statement: Statement, inputs: tuple[Array, ...]
    ) -> Array:
        with NAMESPACE.host_errors():
            return super().attach(evaluation, statement, inputs)

    def value_and_grad(
        self, evaluation: Evaluation, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> tuple[Array, tuple[Array | None, ...]]:
        with NAMESPACE.host_errors():
            return super().value_and_grad(evaluation, inputs, wanted)


GLUE = _NumPyGlue(NAMESPACE)

"""Differentiation: what joins an evaluation to a framework's own gradients.

A `Namespace` computes, a `Glue` differentiates. `Glue` itself serves a framework without gradients.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from nearfar.frameworks.protocol.namespace import Namespace
from nearfar.frameworks.protocol.types import Array


class Evaluation(Protocol):
    """What glue needs to know of a loss: its value and the gradient of its inputs.

    It holds settings only, no arrays. `inputs` are the embeddings, then arrays without a gradient
    (labels), then temperature and bias if they are arrays; `wanted` tells which need a gradient.
    """

    def forward(
        self,
        ns: Namespace,
        inputs: tuple[Array, ...],
        wanted: tuple[bool, ...],
        residuals: "Residuals | None" = None,
    ) -> tuple[Array, tuple[Array, ...]]:
        """Return the value and what `backward` wants to find again; `residuals` may spare it
        work."""

    def backward(
        self,
        ns: Namespace,
        inputs: tuple[Array, ...],
        saved: tuple[Array, ...],
        upstream: Array | None,
        wanted: tuple[bool, ...],
        residuals: "Residuals | None" = None,
    ) -> tuple[Array | None, ...]:
        """Return one gradient per input, None where it is not wanted; `upstream` is the slope of
        what is differentiated by the value, None for the value itself."""

    def outline(
        self, ns: Namespace, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> tuple[tuple[Any, ...], ...]:
        """Shapes of what `forward` returns: the value, then all that it saves."""

    def prepared(self, ns: Namespace, inputs: tuple[Array, ...]) -> "Prepared | None":
        """What serves all calls with inputs of these shapes, if they are small."""


class Prepared(Protocol):
    """An evaluation of inputs of known shapes whose value and gradients are had together sooner
    than apart: small batches, in frameworks that run eagerly."""

    @property
    def evaluation(self) -> Evaluation: ...

    def value_and_grad(
        self, ns: Namespace, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> tuple[Array, tuple[Array | None, ...]]:
        """Of inputs of these shapes, the gradients in the dtype that they are computed in."""


class Residuals:
    """What `forward` of an eager program leaves for its gradient, in whatever form.

    It is taken once: a gradient that is asked for again is computed from the inputs.
    """

    def __init__(self) -> None:
        self._left: Any = None

    def leave(self, left: Any) -> None:
        self._left = left

    def take(self, kind: type = object) -> Any:
        """What was left, if it is of a kind; None the second time."""
        if not isinstance(self._left, kind):
            return None
        left, self._left = self._left, None
        return left


class Statement(NamedTuple):
    """A loss as text, for compiled programs, which hold no Python objects; see `rebuild`."""

    text: str
    parameters: tuple[float | None, ...]
    """Temperature and bias, as far as the loss has them; None where an array is given."""


Rebuild = Callable[[Statement, tuple[Array, ...]], Evaluation]
_rebuild: list[Rebuild] = []


def register_rebuild(function: Rebuild) -> None:
    """Tell how a statement becomes an evaluation of inputs again."""
    _rebuild[:] = [function]


def rebuild(statement: Statement, inputs: tuple[Array, ...]) -> Evaluation:
    return _rebuild[0](statement, inputs)


class Glue:
    """Values and gradients of evaluations, computed in `ns`."""

    def __init__(self, ns: Namespace) -> None:
        self.ns = ns

    def attach(
        self, evaluation: Evaluation, statement: Statement, inputs: tuple[Array, ...]
    ) -> Array:
        """The value of `evaluation`, which is what `statement` says, differentiable where the
        framework differentiates."""
        residuals = Residuals() if self.ns.in_place else None
        value, _ = evaluation.forward(self.ns, inputs, (False,) * len(inputs), residuals)
        return value

    def value_and_grad(
        self, evaluation: Evaluation, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> tuple[Array, tuple[Array | None, ...]]:
        """Value and gradients, detached."""
        return value_and_grad(self.ns, evaluation, inputs, wanted)

    def attach_prepared(self, prepared: Prepared, inputs: tuple[Array, ...]) -> Array:
        """`attach` where an evaluation was prepared."""
        value, _ = prepared.value_and_grad(self.ns, inputs, (False,) * len(inputs))
        return value

    def prepared_value_and_grad(
        self, prepared: Prepared, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> tuple[Array, tuple[Array | None, ...]]:
        """`value_and_grad` where an evaluation was prepared."""
        return prepared.value_and_grad(self.ns, inputs, wanted)


def value_and_grad(
    ns: Namespace, evaluation: Evaluation, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
) -> tuple[Array, tuple[Array | None, ...]]:
    """Value and gradients where nothing is recorded."""
    residuals = Residuals() if ns.in_place else None
    value, saved = evaluation.forward(ns, inputs, wanted, residuals)
    return value, evaluation.backward(ns, inputs, saved, None, wanted, residuals)

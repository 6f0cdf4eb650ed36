"""TensorFlow: `custom_gradient` at the embeddings. AutoGraph is kept out: it would rewrite every
function it meets."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from nearfar.frameworks.protocol.glue import Evaluation, Glue, Statement
from nearfar.frameworks.protocol.types import Array
from nearfar.frameworks.tensorflow.checks import looked_at, unchecked
from nearfar.frameworks.tensorflow.namespace import NAMESPACE


class _TensorFlowGlue(Glue):
    def attach(
        self, evaluation: Evaluation, statement: Statement, inputs: tuple[Array, ...]
    ) -> Array:
        tensors = tuple(tf.convert_to_tensor(x) for x in inputs)
        return _plain_python(_value)(evaluation, tensors)

    def value_and_grad(
        self, evaluation: Evaluation, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> tuple[Array, tuple[Array | None, ...]]:
        stopped = tuple(tf.stop_gradient(tf.convert_to_tensor(x)) for x in inputs)
        plain = _plain_python(super().value_and_grad)
        value, found = unchecked(plain, evaluation, stopped, wanted)
        return looked_at(value), tuple(map(looked_at, found))


def _plain_python(function: Callable[..., Any]) -> Callable[..., Any]:
    return tf.autograph.experimental.do_not_convert(function)  # type: ignore[no-any-return]


def _value(evaluation: Evaluation, inputs: tuple[Array, ...]) -> Array:
    wanted = tuple(bool(x.dtype.is_floating) for x in inputs)

    @tf.custom_gradient
    def value(*inputs: Array) -> tuple[Array, Callable[[Array], Any]]:
        result, saved = unchecked(evaluation.forward, NAMESPACE, _unseen(inputs), wanted)

        def gradient(upstream: Array) -> Any:
            return _gradient(evaluation, wanted, saved, upstream, inputs)

        return looked_at(result), gradient

    return value(*inputs)


def _gradient(
    evaluation: Evaluation,
    wanted: tuple[bool, ...],
    saved: tuple[Array, ...],
    upstream: Array,
    inputs: tuple[Array, ...],
) -> Any:
    """The gradient by each input, with a gradient of its own.

    What forward saved is a constant to TensorFlow, although it depends on the inputs: to
    differentiate again, everything is computed again under a tape.
    """

    def evaluate(saved: tuple[Array, ...], upstream: Array, inputs: tuple[Array, ...]) -> list[Any]:
        found = evaluation.backward(NAMESPACE, inputs, saved, upstream, wanted)
        # Labels may be floats; they have no gradient, which TensorFlow spells as zeros here.
        return [
            tf.zeros_like(x) if g is None else g
            for x, g, w in zip(inputs, found, wanted, strict=True)
            if w
        ]

    @tf.custom_gradient
    def gradient(upstream: Array, *inputs: Array) -> tuple[list[Array], Callable[..., Any]]:
        def again(*above: Array) -> Any:
            return list(map(looked_at, unchecked(differentiated, *above)))

        def differentiated(*above: Array) -> Any:
            sources = [upstream, *inputs]
            with tf.GradientTape() as tape:
                tape.watch([x for x in sources if x.dtype.is_floating])
                _, recomputed = evaluation.forward(NAMESPACE, inputs, wanted)
                found = evaluate(recomputed, upstream, inputs)
            return tape.gradient(found, sources, output_gradients=list(above))

        constants = _unseen((upstream, *inputs))
        return list(map(looked_at, unchecked(evaluate, saved, constants[0], constants[1:]))), again

    found = iter(gradient(upstream, *inputs))
    return [next(found) if w else None for w in wanted]


def _unseen(inputs: tuple[Array, ...]) -> tuple[Array, ...]:
    """The same to an eager tape's eyes as constants: it would keep every tile that is made of what
    it watches, though the gradient is stated."""
    return tuple(tf.stop_gradient(x) for x in inputs)


GLUE = _TensorFlowGlue(NAMESPACE)

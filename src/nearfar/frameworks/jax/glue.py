"""JAX: `custom_vjp` at the embeddings.

Every call runs under `jit`, with the settings as the static argument: eager JAX would dispatch each
operation of each tile. Values are tracers then, so labels are never read and every tile is masked.
Forward mode cannot pass a custom gradient: `jax.jvp` of a value raises JAX's own error, of a
gradient it works.

Products are in full precision, whatever the program has chosen: a GPU would round their factors to
TF32, a TPU to bfloat16.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nearfar.frameworks.jax import devices
from nearfar.frameworks.jax.namespace import NAMESPACE
from nearfar.frameworks.protocol.glue import Evaluation, Glue, Statement, value_and_grad
from nearfar.frameworks.protocol.types import Array


class _JaxGlue(Glue):
    def attach(
        self, evaluation: Evaluation, statement: Statement, inputs: tuple[Array, ...]
    ) -> Array:
        return _compiled_value(evaluation, *devices.alike(inputs))

    def value_and_grad(
        self, evaluation: Evaluation, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> tuple[Array, tuple[Array | None, ...]]:
        stopped = devices.alike(tuple(jax.lax.stop_gradient(x) for x in inputs))
        value, found = _compiled_gradient(evaluation, wanted, *stopped)
        return value, found


def _exactly(
    function: Callable[..., Any], arrays: tuple[Array, ...], like: tuple[Array, ...] = ()
) -> Any:
    def call(*arrays: Array) -> Any:
        with jax.default_matmul_precision("highest"):
            return function(*arrays)

    return devices.anywhere(call, arrays, like)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _value(evaluation: Evaluation, *inputs: Array) -> Array:
    def value(*inputs: Array) -> Array:
        return evaluation.forward(NAMESPACE, inputs, (False,) * len(inputs))[0]

    result: Array = _exactly(value, inputs)
    return result


def _forward(evaluation: Evaluation, *inputs: Array) -> tuple[Array, Any]:
    def forward(*inputs: Array) -> tuple[Array, tuple[Array, ...]]:
        return evaluation.forward(NAMESPACE, inputs, _floating(inputs))

    value, saved = _exactly(forward, inputs)
    return value, (inputs, saved)


def _backward(evaluation: Evaluation, kept: Any, upstream: Array) -> tuple[Any, ...]:
    inputs, saved = kept

    def backward(*arrays: Array) -> tuple[Array | None, ...]:
        inputs, (upstream, *saved) = arrays[: len(kept[0])], arrays[len(kept[0]) :]
        return evaluation.backward(NAMESPACE, inputs, tuple(saved), upstream, _floating(inputs))

    found = _exactly(backward, (*inputs, upstream, *saved), inputs)
    return tuple(_no_gradient(x) if g is None else g for x, g in zip(inputs, found, strict=True))


def _no_gradient(x: Array) -> Array:
    """What JAX wants for labels: zeros, of an empty dtype where labels are not floats."""
    if jnp.issubdtype(x.dtype, jnp.floating):
        return jnp.zeros_like(x)
    return np.zeros(x.shape, dtype=jax.dtypes.float0)


_value.defvjp(_forward, _backward)
_compiled_value = jax.jit(_value, static_argnums=0)


@partial(jax.jit, static_argnums=(0, 1))
def _compiled_gradient(
    evaluation: Evaluation, wanted: tuple[bool, ...], *inputs: Array
) -> tuple[Array, tuple[Array | None, ...]]:
    def both(*inputs: Array) -> tuple[Array | None, ...]:
        value, found = value_and_grad(NAMESPACE, evaluation, inputs, wanted)
        return *found, value

    *found, value = _exactly(both, inputs, inputs)
    return value, tuple(found)


def _floating(inputs: tuple[Array, ...]) -> tuple[bool, ...]:
    return tuple(bool(jnp.issubdtype(x.dtype, jnp.floating)) for x in inputs)


GLUE = _JaxGlue(NAMESPACE)

"""How each framework runs a loss: every mode returns 3 * value and its gradients as NumPy arrays.

The README's table of modes is made from MODES; see tests/modes/test_readme.py.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tensorflow as tf
import torch

Result = tuple[Any, list[Any]]
UPSTREAM = 3.0


def read(arrays: Any) -> list[np.ndarray]:
    return [np.asarray(x.detach() if isinstance(x, torch.Tensor) else x) for x in arrays]


def _torch(arrays):
    return [torch.tensor(x) for x in arrays]


def torch_eager(loss, embeddings, labels) -> Result:
    leaves = [x.requires_grad_() for x in _torch(embeddings)]
    value = UPSTREAM * loss(*leaves, *_torch(labels))
    return value.detach(), read(torch.autograd.grad(value, leaves))


def torch_func_grad(loss, embeddings, labels) -> Result:
    arrays, rest = _torch(embeddings), _torch(labels)
    numbers = tuple(range(len(arrays)))
    gradients, value = torch.func.grad_and_value(
        lambda *z: UPSTREAM * loss(*z, *rest), argnums=numbers
    )(*arrays)
    return value, read(gradients)


def torch_func_vmap(loss, embeddings, labels) -> Result:
    """Two copies of the batch, the second with its features reversed; the first is returned."""
    arrays, rest = [torch.stack([x, x.flip(1)]) for x in _torch(embeddings)], _torch(labels)
    numbers = tuple(range(len(arrays)))
    gradients, values = torch.func.vmap(
        torch.func.grad_and_value(lambda *z: UPSTREAM * loss(*z, *rest), argnums=numbers)
    )(*arrays)
    return values[0], read(g[0] for g in gradients)


def torch_compile(loss, embeddings, labels) -> Result:
    torch.compiler.reset()  # every loss would be one more program of the same function
    leaves = [x.requires_grad_() for x in _torch(embeddings)]
    compiled = torch.compile(
        lambda *inputs: UPSTREAM * loss(*inputs),
        fullgraph=True,
        dynamic=True,
        backend="aot_eager",
    )
    value = compiled(*leaves, *_torch(labels))
    return value.detach(), read(torch.autograd.grad(value, leaves))


def _tensorflow(loss, embeddings, labels, wrap: Callable[..., Any]) -> Result:
    arrays = [tf.constant(x) for x in (*embeddings, *labels)]
    count = len(embeddings)

    def run(*inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs[:count])
            value = UPSTREAM * loss(*inputs)
        return value, tape.gradient(value, inputs[:count])

    value, gradients = wrap(run, arrays)(*arrays)
    return value, read(gradients)


def tensorflow_eager(loss, embeddings, labels) -> Result:
    return _tensorflow(loss, embeddings, labels, lambda run, _: run)


def tensorflow_variable(loss, embeddings, labels) -> Result:
    variables = [tf.Variable(x) for x in embeddings]
    with tf.GradientTape() as tape:
        value = UPSTREAM * loss(*variables, *(tf.constant(x) for x in labels))
    return value, read(tape.gradient(value, variables))


def tensorflow_function(loss, embeddings, labels) -> Result:
    return _tensorflow(loss, embeddings, labels, lambda run, _: tf.function(run, autograph=False))


def tensorflow_unknown_batch(loss, embeddings, labels) -> Result:
    def wrap(run, arrays):
        signature = [tf.TensorSpec([None, *x.shape[1:]], x.dtype) for x in arrays]
        return tf.function(run, input_signature=signature, autograph=False)

    return _tensorflow(loss, embeddings, labels, wrap)


def tensorflow_xla(loss, embeddings, labels) -> Result:
    return _tensorflow(
        loss,
        embeddings,
        labels,
        lambda run, _: tf.function(run, jit_compile=True, autograph=False),
    )


def _jax(embeddings, labels, run: Callable[..., Any]) -> Result:
    value, gradients = run(*(jnp.asarray(x) for x in (*embeddings, *labels)))
    return value, read(gradients)


def _jax_gradient(loss, count):
    return jax.value_and_grad(lambda *inputs: UPSTREAM * loss(*inputs), tuple(range(count)))


def jax_eager(loss, embeddings, labels) -> Result:
    return _jax(embeddings, labels, _jax_gradient(loss, len(embeddings)))


def jax_jit(loss, embeddings, labels) -> Result:
    return _jax(embeddings, labels, jax.jit(_jax_gradient(loss, len(embeddings))))


def jax_jit_static(loss, embeddings, labels) -> Result:
    def run(loss, *inputs):
        return _jax_gradient(loss, len(embeddings))(*inputs)

    compiled = jax.jit(run, static_argnums=0)
    return _jax(embeddings, labels, lambda *inputs: compiled(loss, *inputs))


def jax_vmap(loss, embeddings, labels) -> Result:
    pairs = [np.stack([x, x[:, ..., ::-1]]) for x in embeddings]
    axes = (0,) * len(embeddings) + (None,) * len(labels)
    run = jax.jit(jax.vmap(_jax_gradient(loss, len(embeddings)), axes))
    values, gradients = _jax(pairs, labels, run)
    return values[0], [g[0] for g in gradients]


MODES: dict[str, dict[str, Callable[..., Result]]] = {
    "PyTorch": {
        "eager": torch_eager,
        "torch.func.grad": torch_func_grad,
        "torch.func.vmap": torch_func_vmap,
        "torch.compile, dynamic batch": torch_compile,
    },
    "TensorFlow": {
        "eager": tensorflow_eager,
        "tf.Variable": tensorflow_variable,
        "tf.function": tensorflow_function,
        "tf.function, unknown batch": tensorflow_unknown_batch,
        "tf.function, XLA": tensorflow_xla,
    },
    "JAX": {
        "eager": jax_eager,
        "jit": jax_jit,
        "jit, static loss": jax_jit_static,
        "vmap": jax_vmap,
    },
}

SLOW = {
    "torch.compile, dynamic batch",
    "tf.function",
    "tf.function, unknown batch",
    "tf.function, XLA",
    "jit, static loss",
}
"""Modes that compile for seconds: they run on a few losses by default, on all of them at length."""

ALIKE = {
    ("JAX", "eager"),
    ("JAX", "jit, static loss"),
    ("JAX", "vmap"),
    ("TensorFlow", "tf.function"),
}
"""Modes that run the same programs as another one: a few losses are enough."""

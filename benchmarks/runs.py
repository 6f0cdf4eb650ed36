"""How a loss of one framework is run: value and gradient, the gradient as NumPy arrays.

Each function imports its framework when called, so that a process loads no other.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.inputs import Arrays

Call = Callable[[], list[np.ndarray]]
Loss = Callable[..., Any]


class Run(NamedTuple):
    call: Call
    temporaries: float | None = None
    """MiB by the compiler's own account, where a process's memory says little."""


def in_numpy(loss: Any, given: Arrays) -> Run:
    return Run(lambda: list(loss.value_and_grad(*given)[1]))


def in_torch(loss: Loss, given: Arrays) -> Run:
    import torch

    inputs = [torch.from_numpy(x) for x in given]

    def call() -> list[np.ndarray]:
        leaves = [x.detach().requires_grad_(x.ndim > 1) for x in inputs]
        loss(*leaves).backward()
        return [x.grad.numpy() for x in leaves if x.grad is not None]

    return Run(call)


def in_jax(loss: Loss, given: Arrays) -> Run:
    """Compiled for its shapes before it is timed."""
    import jax

    inputs = [jax.numpy.asarray(x) for x in given]
    wanted = tuple(k for k, x in enumerate(given) if x.ndim > 1)
    compiled = jax.jit(jax.value_and_grad(loss, wanted)).lower(*inputs).compile()
    temporaries = compiled.memory_analysis().temp_size_in_bytes / 2**20
    return Run(lambda: [np.asarray(g) for g in compiled(*inputs)[1]], temporaries)


def in_tensorflow(loss: Loss, given: Arrays) -> Run:
    """A graph traced for any batch size."""
    import tensorflow as tf

    inputs = [tf.constant(x) for x in given]
    signature = [tf.TensorSpec([None, *x.shape[1:]], x.dtype) for x in inputs]

    @tf.function(input_signature=signature, autograph=False)
    def gradient(*arrays: Any) -> Any:
        watched = [x for x in arrays if x.shape.rank > 1]
        with tf.GradientTape() as tape:
            tape.watch(watched)
            value = loss(*arrays)
        return tape.gradient(value, watched)

    # `numpy()` would copy them.
    return Run(lambda: [np.asarray(g) for g in gradient(*inputs)])

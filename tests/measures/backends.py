"""The four frameworks: make an array, read it, differentiate a function, eager and compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import tensorflow as tf
import torch

UPSTREAM = 3.0


class NumPy:
    name = "numpy"
    modes = ()

    def asarray(self, x, dtype="float64"):
        return np.asarray(x, dtype=dtype)

    def owns(self, x):
        return isinstance(x, np.ndarray | np.generic)

    def read(self, x):
        return np.asarray(x)

    def dtype(self, x):
        return str(x.dtype)


class Torch(NumPy):
    name = "torch"
    modes = ("eager", "compiled")

    def asarray(self, x, dtype="float64"):
        return torch.tensor(np.asarray(x), dtype=getattr(torch, dtype))

    def owns(self, x):
        return isinstance(x, torch.Tensor)

    def read(self, x):
        return x.detach().numpy()

    def dtype(self, x):
        return str(x.dtype).removeprefix("torch.")

    def differentiate(self, function, inputs, mode):
        leaves = [x.clone().requires_grad_() for x in inputs]
        if mode == "compiled":
            torch.compiler.reset()
            function = torch.compile(function, fullgraph=True, backend="aot_eager")
        value = function(*leaves)
        found = torch.autograd.grad(value, leaves, torch.full_like(value, UPSTREAM))
        return self.read(value), [self.read(g) for g in found]


class TensorFlow(NumPy):
    name = "tensorflow"
    modes = ("eager", "compiled", "unknown batch")

    def asarray(self, x, dtype="float64"):
        return tf.constant(np.asarray(x), dtype=dtype)

    def owns(self, x):
        return isinstance(x, tf.Tensor)

    def dtype(self, x):
        return x.dtype.name

    def differentiate(self, function, inputs, mode):
        def run(*inputs):
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                value = function(*inputs)
            upstream = tf.fill(tf.shape(value), tf.constant(UPSTREAM, value.dtype))
            return value, tape.gradient(value, inputs, output_gradients=upstream)

        if mode != "eager":
            rows = None if mode == "unknown batch" else inputs[0].shape[0]
            signature = [
                tf.TensorSpec([rows and x.shape[0], *x.shape[1:]], x.dtype) for x in inputs
            ]
            run = tf.function(run, input_signature=signature, autograph=False)
        value, found = run(*inputs)
        return value.numpy(), [g.numpy() for g in found]


class Jax(NumPy):
    name = "jax"
    modes = ("eager", "compiled")

    def asarray(self, x, dtype="float64"):
        return jnp.asarray(x, dtype=dtype)

    def owns(self, x):
        return isinstance(x, jax.Array)

    def differentiate(self, function, inputs, mode):
        def run(*inputs):
            value, pull = jax.vjp(function, *inputs)
            return value, pull(jnp.full_like(value, UPSTREAM))

        value, found = (run if mode == "eager" else jax.jit(run))(*inputs)
        return np.asarray(value), [np.asarray(g) for g in found]


BACKENDS = {backend.name: backend for backend in (NumPy(), Torch(), TensorFlow(), Jax())}
MODES = [(backend, mode) for backend in BACKENDS.values() for mode in backend.modes]
MODE_IDS = [f"{backend.name}-{mode}" for backend, mode in MODES]

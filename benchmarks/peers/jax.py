"""In JAX, to be compiled: each function gives a loss of arrays."""

from collections.abc import Callable

import jax.numpy as jnp
import optax
from jax import Array


def optax_ntxent(temperature: float) -> Callable[[Array, Array], Array]:
    def loss(a: Array, b: Array) -> Array:
        labels = jnp.tile(jnp.arange(len(a)), 2)
        return optax.losses.ntxent(jnp.concatenate([a, b]), labels, temperature)

    return loss


def optax_supcon(temperature: float) -> Callable[[Array, Array], Array]:
    return lambda x, labels: optax.losses.ntxent(x, labels, temperature)

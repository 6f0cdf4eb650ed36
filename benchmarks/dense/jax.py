"""In JAX, to be compiled."""

import jax.numpy as jnp
from jax import Array
from jax.nn import logsumexp


def _unit(x: Array) -> Array:
    return x / jnp.linalg.norm(x, axis=1, keepdims=True)


def ntxent(a: Array, b: Array, temperature: float) -> Array:
    z = _unit(jnp.concatenate([a, b]))
    n = len(z)
    logits = jnp.where(jnp.eye(n, dtype=bool), -jnp.inf, z @ z.T / temperature)
    partner = jnp.sum(z * jnp.roll(z, n // 2, 0), 1) / temperature
    return jnp.mean(logsumexp(logits, 1) - partner)


def supcon(x: Array, labels: Array, temperature: float) -> Array:
    z = _unit(x)
    logits = z @ z.T / temperature
    itself = jnp.eye(len(z), dtype=bool)
    positives = (labels[:, None] == labels) & ~itself
    log_prob = logits - logsumexp(jnp.where(itself, -jnp.inf, logits), 1, keepdims=True)
    count = positives.sum(1)
    per_anchor = jnp.where(positives, log_prob, 0).sum(1) / jnp.maximum(count, 1)
    return -per_anchor.sum() / (count > 0).sum()


def _toward_partners(logits: Array) -> Array:
    return jnp.mean(logsumexp(logits, 1) - jnp.diagonal(logits))


def clip(x: Array, y: Array, temperature: float) -> Array:
    logits = _unit(x) @ _unit(y).T / temperature
    return (_toward_partners(logits) + _toward_partners(logits.T)) / 2


def infonce(x: Array, y: Array, temperature: float) -> Array:
    return _toward_partners(_unit(x) @ _unit(y).T / temperature)

"""Losses in TensorFlow and JAX."""

import jax
import jax.numpy as jnp
import tensorflow as tf


def tf_supcon(labels, z):
    """In the order of Keras, a temperature of its own, one mean over all rows."""
    z = tf.math.l2_normalize(z, axis=1)
    s = tf.matmul(z, z, transpose_b=True) / 0.1
    itself = tf.eye(tf.shape(z)[0], dtype=tf.bool)
    positive = tf.logical_and(labels[:, None] == labels[None], ~itself)
    every = tf.reduce_logsumexp(tf.where(itself, tf.cast(-1e9, s.dtype), s), axis=1)
    count = tf.reduce_sum(tf.cast(positive, s.dtype), axis=1)
    terms = tf.where(positive, every[:, None] - s, tf.zeros_like(s))
    return tf.reduce_mean(tf.reduce_sum(terms, axis=1) / tf.maximum(count, 1))


class KerasPairs(tf.keras.losses.Loss):
    """Keras makes float32 of whatever it is given."""

    def call(self, y_true, y_pred):
        d = tf.reduce_sum((y_pred[:, None] - y_pred[None]) ** 2, -1)
        same = tf.cast(tf.equal(y_true[:, None], y_true[None]), d.dtype)
        apart = tf.maximum(1 - tf.sqrt(tf.maximum(d, 1e-12)), 0)
        n = tf.cast(tf.shape(d)[0], d.dtype)
        off = 1 - tf.eye(tf.shape(d)[0], dtype=d.dtype)
        return tf.reduce_sum(off * (same * d + (1 - same) * apart**2)) / (n * (n - 1))


def jax_clip(x, y, temperature=0.07):
    x, y = (z / jnp.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
    s = x @ y.T / temperature
    rows, columns = jax.nn.log_softmax(s, axis=1), jax.nn.log_softmax(s, axis=0)
    return -(jnp.diag(rows) + jnp.diag(columns)).mean() / 2

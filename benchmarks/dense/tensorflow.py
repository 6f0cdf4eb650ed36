"""In TensorFlow, to be traced for any batch size."""

import math

import tensorflow as tf
from tensorflow import Tensor


def ntxent(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    z = tf.math.l2_normalize(tf.concat([a, b], 0), 1)
    n = tf.shape(z)[0]
    logits = tf.matmul(z, z, transpose_b=True) / temperature
    logits = tf.linalg.set_diag(logits, tf.fill([n], -math.inf))
    partner = (tf.range(n) + n // 2) % n
    each = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=partner, logits=logits)
    return tf.reduce_mean(each)


def supcon(x: Tensor, labels: Tensor, temperature: float) -> Tensor:
    z = tf.math.l2_normalize(x, 1)
    logits = tf.matmul(z, z, transpose_b=True) / temperature
    without_self = tf.linalg.set_diag(logits, tf.fill([tf.shape(z)[0]], -math.inf))
    log_prob = logits - tf.reduce_logsumexp(without_self, 1, keepdims=True)
    positives = tf.equal(labels[:, None], labels)
    positives = tf.linalg.set_diag(positives, tf.zeros_like(labels, tf.bool))
    count = tf.reduce_sum(tf.cast(positives, x.dtype), 1)
    kept = tf.where(positives, log_prob, tf.zeros_like(log_prob))
    per_anchor = tf.reduce_sum(kept, 1) / tf.maximum(count, 1)
    return -tf.reduce_sum(per_anchor) / tf.reduce_sum(tf.cast(count > 0, x.dtype))

"""NT-Xent in TensorFlow, from a note."""

import tensorflow as tf

LARGE = 1e9


def nt_xent(hidden1, hidden2, temperature=0.5):
    """Both halves apart, and added: twice the paper's."""
    hidden1, hidden2 = tf.math.l2_normalize(hidden1, -1), tf.math.l2_normalize(hidden2, -1)
    n = tf.shape(hidden1)[0]
    labels = tf.one_hot(tf.range(n), n * 2, dtype=hidden1.dtype)
    masks = tf.one_hot(tf.range(n), n, dtype=hidden1.dtype)
    aa = tf.matmul(hidden1, hidden1, transpose_b=True) / temperature - masks * LARGE
    bb = tf.matmul(hidden2, hidden2, transpose_b=True) / temperature - masks * LARGE
    ab = tf.matmul(hidden1, hidden2, transpose_b=True) / temperature
    ba = tf.matmul(hidden2, hidden1, transpose_b=True) / temperature
    loss_a = tf.nn.softmax_cross_entropy_with_logits(labels, tf.concat([ab, aa], 1))
    loss_b = tf.nn.softmax_cross_entropy_with_logits(labels, tf.concat([ba, bb], 1))
    return tf.reduce_mean(loss_a + loss_b)

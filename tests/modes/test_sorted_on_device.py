"""Classes that only a graph knows: its rows are sorted, and tiles of negatives have no masks."""

from functools import cache

import numpy as np
import pytest
import tensorflow as tf

import nearfar as nf

LABELS = {
    "straddling": [3, 1, 3, 2, 1, 3, 1, 2, 3, 1, 0, 3, 3],
    "one class": [5] * 13,
    "all apart": list(range(13)),
    "pairs": [k // 2 for k in (4, 9, 1, 12, 0, 5, 8, 3, 11, 2, 7, 10, 6)],
}
LOSSES = [
    nf.SupCon(temperature=0.3),
    nf.SupCon(temperature=0.3, denominator="negatives", positives="sum_log"),
    nf.SupCon(temperature=0.3, denominator="own_positive", similarity="neg_euclidean"),
    nf.SupCon(temperature=0.3, denominator="own_positive", positives="log_sum"),
    nf.SupCon(temperature=0.01, similarity="dot", include_self=True, reduction="none"),
]
CASES = [("straddling", loss, True) for loss in LOSSES[1:2]]
CASES += [(labels, loss, False) for labels in LABELS for loss in LOSSES[:2]]
# A loss is a graph, seconds to make.
CASES += [
    pytest.param(labels, loss, False, marks=pytest.mark.long)
    for labels in LABELS
    for loss in LOSSES[2:]
]


FACTORS = {"mean": 3.0, "none": np.linspace(-1, 2, 13)}


@cache
def program(loss, known):
    """Value and gradient in one graph for all labels; with `known` it knows the number of rows."""
    n = 13 if known else None
    signature = [tf.TensorSpec([n, 5], tf.float64), tf.TensorSpec([n], tf.int64)]

    @tf.function(input_signature=signature, autograph=False)
    def both(x, labels):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss.with_options(tile=4)(x, labels)
            total = tf.reduce_sum(FACTORS[loss.reduction] * value)
        return value, tape.gradient(total, x)

    return both


@pytest.mark.parametrize(("labels", "loss", "known"), CASES, ids=str)
@pytest.mark.filterwarnings("ignore:no anchor of this batch")
def test_values_and_gradients(labels, loss, known):
    x = np.random.default_rng(0).standard_normal((13, 5))
    labels = np.asarray(LABELS[labels])
    both = program(loss, known)
    value, gradient = (found.numpy() for found in both(tf.constant(x), tf.constant(labels)))
    np.testing.assert_allclose(value, loss(x, labels), rtol=1e-12, atol=1e-13)
    with tf.GradientTape() as tape:
        eager = tf.Variable(x)
        total = tf.reduce_sum(FACTORS[loss.reduction] * loss(eager, labels))
    np.testing.assert_allclose(gradient, tape.gradient(total, eager), rtol=1e-10, atol=1e-12)
    assert value.dtype == gradient.dtype == np.float64

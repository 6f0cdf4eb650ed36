"""A graph of TensorFlow that knows neither the rows nor the features of its input."""

import numpy as np
import pytest
import tensorflow as tf

import nearfar as nf

_RNG = np.random.default_rng(20)
A, B, C = _RNG.normal(size=(3, 9, 5)) * _RNG.uniform(0.5, 2, (3, 9, 1))
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 3, 3])
TARGETS = _RNG.integers(0, 12, 9) / 4

CALLS = {
    "NTXent": (nf.NTXent(), (A, B)),
    "SupCon": (nf.SupCon(), (A, LABELS)),
    "Triplet": (nf.Triplet(margin=1.0), (A, B, C)),
}
BY_FEATURES = {
    "CLIP": (nf.CLIP(similarity="neg_euclidean"), (A, B)),
    "BatchTriplet": (nf.BatchTriplet(margin=1.0), (A, LABELS)),
    "SupCR": (nf.SupCR(), (A, TARGETS)),
}


@pytest.mark.parametrize("name", CALLS)
def test_value_and_gradient(name):
    loss, inputs = CALLS[name]
    unknown = [tf.TensorSpec([None] * x.ndim, x.dtype) for x in inputs]

    @tf.function(input_signature=unknown)
    def step(*inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs[0])
            value = -3 * loss(*inputs)
        return value, tape.gradient(value, inputs[0])

    value, gradient = step(*map(tf.constant, inputs))
    expected, gradients = loss.value_and_grad(*inputs)
    assert value.dtype == gradient.dtype == tf.float64
    np.testing.assert_allclose(value, -3 * expected, rtol=1e-10)
    np.testing.assert_allclose(gradient, -3 * gradients[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", BY_FEATURES)
def test_distances_ask_for_the_number_and_then_agree(name):
    loss, inputs = BY_FEATURES[name]
    unknown = [tf.TensorSpec([None] * x.ndim, x.dtype) for x in inputs]
    with pytest.raises(ValueError, match=r"tf.ensure_shape\(x, \(None, features\)\)"):
        tf.function(loss, input_signature=unknown).get_concrete_function()

    def stated(first, *others):
        others = [tf.ensure_shape(x, (None, 5)) if len(x.shape) == 2 else x for x in others]
        return loss(tf.ensure_shape(first, (None, 5)), *others)

    value = tf.function(stated, input_signature=unknown)(*map(tf.constant, inputs))
    np.testing.assert_allclose(value, loss(*inputs), rtol=1e-10)

"""Small encoders trained on digits in TensorFlow and JAX, measured on held-out neighbours."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import nearfar as nf

DIMENSIONS = 32


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    return train_test_split(x, y, test_size=0.3, random_state=0, stratify=y)


def accuracy(encode, digits):
    train, test, labels, wanted = digits
    return nf.metrics.knn_accuracy(encode(test), wanted, encode(train), labels, metric="cosine")


@pytest.mark.long
def test_keras_compile_and_fit(digits):
    train, _, labels, _ = digits
    tf.keras.utils.set_random_seed(0)
    model = tf.keras.Sequential(
        [
            tf.keras.Input((64,)),
            tf.keras.layers.Dense(128, activation="relu"),
            tf.keras.layers.Dense(DIMENSIONS),
        ]
    )
    loss = nf.SupCon()
    model.compile(tf.keras.optimizers.Adam(3e-3), loss=lambda y, z: loss(z, tf.reshape(y, [-1])))
    history = model.fit(train, labels, batch_size=128, epochs=20, verbose=0)
    assert len(history.epoch) == 20
    assert accuracy(lambda x: model.predict(x, verbose=0), digits) >= 0.95


def test_jax_and_optax(digits):
    train, _, labels, _ = digits
    rng = np.random.default_rng(0)
    weights = [
        jnp.asarray(rng.normal(size=shape) / shape[0] ** 0.5, dtype=jnp.float32)
        for shape in ((64, 128), (128, DIMENSIONS))
    ]
    loss = nf.SupCon()
    optimiser = optax.adam(3e-3)

    def encode(weights, x):
        return jax.nn.relu(x @ weights[0]) @ weights[1]

    @jax.jit
    def step(weights, state, x, y):
        gradient = jax.grad(lambda w: loss(encode(w, x), y))(weights)
        updates, state = optimiser.update(gradient, state)
        return optax.apply_updates(weights, updates), state

    state = optimiser.init(weights)
    for _ in range(20):
        for rows in np.array_split(rng.permutation(len(train) // 256 * 256), len(train) // 256):
            weights, state = step(weights, state, train[rows], labels[rows])
    assert accuracy(lambda x: np.asarray(encode(weights, x)), digits) >= 0.95

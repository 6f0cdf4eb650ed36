"""Half precision, float32 and labels of every kind, on TensorFlow and JAX."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf
import torch

import nearfar as nf

RNG = np.random.default_rng(3)
X = RNG.normal(size=(12, 5))
LABELS = np.array([0, 1, 0, 2, 1, 0, 3, 2, 1, 0, 2, 2])
TOLERANCE = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 2e-6}


def tensorflow_gradient(loss, x, labels):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = loss(x, labels)
    return value, tape.gradient(value, x)


def jax_gradient(loss, x, labels):
    return jax.value_and_grad(lambda x: loss(x, labels))(jnp.asarray(x))


RUNS = {"tensorflow": tensorflow_gradient, "jax": jax_gradient}


def cast(framework, dtype):
    if framework == "jax":
        return jnp.asarray(X, dtype=dtype)
    return tf.cast(tf.constant(X), dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("framework", RUNS)
def test_small_floats_are_computed_in_float32(framework, dtype):
    loss = nf.SupCon(temperature=0.5)
    want, (gradient,) = loss.value_and_grad(X, LABELS)
    x = cast(framework, dtype)
    value, found = RUNS[framework](loss, x, LABELS)
    assert "float32" in str(value.dtype)
    assert dtype in str(found.dtype)
    assert float(value) == pytest.approx(float(want), abs=3 * TOLERANCE[dtype])
    found = np.asarray(found).astype(np.float64)
    assert np.abs(found - gradient).max() < 3 * TOLERANCE[dtype] * np.abs(gradient).max()
    again, (other,) = loss.value_and_grad(x, LABELS)
    assert float(again) == pytest.approx(float(value), rel=1e-6)
    assert dtype in str(other.dtype)


@pytest.mark.parametrize("framework", RUNS)
@pytest.mark.parametrize(
    "labels",
    [
        LABELS.tolist(),
        np.array([f"class {k}" for k in LABELS]),
        LABELS.astype(np.float32),
        LABELS > 0,
        np.eye(4)[LABELS],
    ],
    ids=["list", "strings", "floats", "booleans", "marks"],
)
def test_labels_follow_the_embeddings(framework, labels):
    loss = nf.SupCon(temperature=0.5)
    want, (gradient,) = loss.value_and_grad(X, labels)
    value, found = RUNS[framework](loss, X, labels)
    assert float(value) == pytest.approx(float(want), rel=1e-12)
    np.testing.assert_allclose(found, gradient, atol=1e-12)


@pytest.mark.parametrize("asarray", [tf.constant, jnp.asarray, torch.tensor])
def test_a_learned_temperature(asarray):
    loss, temperature = nf.InfoNCE(), 0.4
    want = loss.value_and_grad(X[:6], X[6:], temperature=np.array(temperature))[1][-1]
    inputs = [asarray(x) for x in (X[:6], X[6:], np.array(temperature))]
    gradient = loss.value_and_grad(inputs[0], inputs[1], temperature=inputs[2])[1][-1]
    assert float(gradient) == pytest.approx(float(want), rel=1e-10)
    assert tuple(gradient.shape) == ()


def test_a_learned_temperature_through_jax_and_tensorflow():
    a, b, temperature = X[:6], X[6:], 0.4
    loss = nf.NTXent()
    want = loss.value_and_grad(a, b, temperature=np.array(temperature))[1][-1]
    found = jax.jit(jax.grad(lambda t: loss(jnp.asarray(a), jnp.asarray(b), temperature=t)))(
        jnp.asarray(temperature)
    )
    assert float(found) == pytest.approx(float(want), rel=1e-10)
    scale = tf.Variable(temperature, dtype=tf.float64)
    with tf.GradientTape() as tape:
        value = loss(tf.constant(a), tf.constant(b), temperature=scale)
    assert float(tape.gradient(value, scale)) == pytest.approx(float(want), rel=1e-10)


@pytest.mark.parametrize(
    ("a", "b", "names"),
    [
        (torch.tensor(X), jnp.asarray(X), "torch.*jax|jax.*torch"),
        (tf.constant(X), X, "tensorflow.*numpy|numpy.*tensorflow"),
        (jnp.asarray(X), tf.constant(X), "jax.*tensorflow|tensorflow.*jax"),
    ],
)
def test_two_frameworks_are_refused(a, b, names):
    with pytest.raises(TypeError, match=names):
        nf.NTXent()(a, b)


@pytest.mark.parametrize("asarray", [tf.constant, jnp.asarray])
def test_integer_embeddings_are_refused(asarray):
    with pytest.raises(TypeError, match=r"a to be .* floating"):
        nf.NTXent()(asarray([[1, 2]]), asarray([[1, 2]]))


WITHOUT_X64 = """
import jax, jax.numpy as jnp, numpy as np, nearfar as nf
rng = np.random.default_rng(0)
x, labels = rng.normal(size=(40, 5)).astype(np.float32), rng.integers(0, 5, 40)
for loss in (nf.SupCon(), nf.SupCon(denominator="own_positive"), nf.SupCon(similarity="dot")):
    want, (gradient,) = loss.value_and_grad(x, labels)
    value, found = jax.value_and_grad(lambda x: loss(x, labels))(jnp.asarray(x))
    assert value.dtype == found.dtype == jnp.float32
    assert abs(float(value) - want) < 1e-5 * max(1, abs(want))
    assert np.abs(found - gradient).max() < 1e-4 * np.abs(gradient).max()
import sys
print(sorted({"torch", "tensorflow", "keras"} & set(sys.modules)))
"""


def test_jax_without_x64_and_without_other_frameworks():
    command = [sys.executable, "-W", "error", "-c", WITHOUT_X64]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"

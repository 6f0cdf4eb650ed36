"""Half precision, float32 and labels of every kind, on TensorFlow and JAX."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf
import torch
from support.backends import QUICK_JAX

import nearfar as nf

RNG = np.random.default_rng(3)
X = RNG.normal(size=(12, 5))
LABELS = np.array([0, 1, 0, 2, 1, 0, 3, 2, 1, 0, 2, 2])
TOLERANCE = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 2e-6}
PAIR = (X[:6], X[6:])
CASES = {
    "supcon": (nf.SupCon(temperature=0.5), (X,), (LABELS,)),
    # Rounding the rows must not carry an anchor across the floor, nor a triplet out of the margin.
    "hcl": (nf.HCL(temperature=1.0, tau_plus=0.02), PAIR, ()),
    "clip": (nf.CLIP(temperature=0.5), PAIR, ()),
    "siglip": (nf.SigLIP(temperature=0.5, bias=-1.5), PAIR, ()),
    "supcr": (nf.SupCR(), (X,), (LABELS * 0.25,)),
    "triplet": (nf.Triplet(margin=40.0), (*PAIR, X[3:9]), ()),
}


def tensorflow_gradient(loss, embeddings, labels):
    embeddings = [tf.constant(x) for x in embeddings]
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        value = loss(*embeddings, *labels)
    return value, tape.gradient(value, embeddings)


def jax_gradient(loss, embeddings, labels):
    numbers = tuple(range(len(embeddings)))
    return jax.value_and_grad(lambda *x: loss(*x, *labels), numbers)(
        *(jnp.asarray(x) for x in embeddings)
    )


RUNS = {"tensorflow": tensorflow_gradient, "jax": jax_gradient}


def cast(framework, x, dtype):
    if framework == "jax":
        return jnp.asarray(x, dtype=dtype)
    return tf.cast(tf.constant(x), dtype)


def cells():
    for framework in RUNS:
        for dtype in TOLERANCE:
            for name in CASES:
                # Each of them is a program to compile in JAX.
                slow = framework == "jax" and (dtype == "bfloat16" or name != "supcon")
                yield pytest.param(
                    *(framework, dtype, name),
                    id=f"{framework}-{dtype}-{name}",
                    marks=[pytest.mark.long] if slow else [],
                )


@pytest.mark.parametrize(("framework", "dtype", "name"), list(cells()))
def test_small_floats_are_computed_in_float32(framework, dtype, name):
    loss, embeddings, labels = CASES[name]
    want, gradients = loss.value_and_grad(*embeddings, *labels)
    arrays = [cast(framework, x, dtype) for x in embeddings]
    value, found = RUNS[framework](loss, arrays, labels)
    assert "float32" in str(value.dtype)
    size = max(1, abs(float(want)))
    assert float(value) == pytest.approx(float(want), abs=3 * TOLERANCE[dtype] * size)
    again, others = loss.value_and_grad(*arrays, *labels)
    assert float(again) == pytest.approx(float(value), rel=1e-6)
    largest = max(np.abs(g).max() for g in gradients)
    for got, other, gradient in zip(found, others, gradients, strict=True):
        assert dtype in str(got.dtype)
        assert dtype in str(other.dtype)
        got = np.asarray(got).astype(np.float64)
        assert np.abs(got - gradient).max() < 3 * TOLERANCE[dtype] * largest


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
    value, (found,) = RUNS[framework](loss, [X], [labels])
    assert float(value) == pytest.approx(float(want), rel=1e-12)
    np.testing.assert_allclose(found, gradient, atol=1e-12)


@pytest.mark.parametrize("framework", RUNS)
@pytest.mark.parametrize(
    "targets",
    [(LABELS * 0.25).tolist(), (LABELS[:, None] + 250).astype(np.uint8), LABELS > 0],
    ids=["list", "column of uint8", "booleans"],
)
def test_targets_follow_the_embeddings(framework, targets):
    loss = nf.SupCR()
    want, (gradient,) = loss.value_and_grad(X, targets)
    value, (found,) = RUNS[framework](loss, [X], [targets])
    assert float(value) == pytest.approx(float(want), rel=1e-12)
    np.testing.assert_allclose(found, gradient, atol=1e-12)


@pytest.mark.parametrize("asarray", [tf.constant, jnp.asarray])
def test_targets_in_the_framework(asarray):
    """Unsigned numbers and booleans have no negative differences."""
    for targets in ((LABELS + 250).astype(np.uint8), LABELS > 0, LABELS.astype(np.float32)):
        want = nf.SupCR()(X, targets)
        value = nf.SupCR()(asarray(X), asarray(targets))
        assert float(value) == pytest.approx(float(want), rel=1e-12)


@pytest.mark.parametrize("asarray", [tf.constant, jnp.asarray, torch.tensor])
def test_a_learned_bias(asarray):
    loss, bias = nf.SigLIP(temperature=0.5), -0.8
    want = loss.value_and_grad(*PAIR, bias=np.array(bias))[1][-1]
    inputs = [asarray(x) for x in (*PAIR, np.array(bias))]
    gradient = loss.value_and_grad(inputs[0], inputs[1], bias=inputs[2])[1][-1]
    assert float(gradient) == pytest.approx(float(want), rel=1e-10)
    assert tuple(gradient.shape) == ()


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
    with pytest.raises(TypeError, match=r"anchor to be .* floating"):
        nf.Triplet()(*[asarray([[1, 2]])] * 3)
    with pytest.raises(TypeError, match=r"embeddings to be .* floating"):
        nf.SupCR()(asarray([[1, 2], [3, 4]]), [0.5, 1.5])


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
for loss in (nf.HCL(), nf.CLIP(), nf.SigLIP(), nf.Triplet()):
    rows = (x[:13], x[13:26], x[26:39])[: len({*loss.embeddings} - {*loss.optional})]
    want, gradients = loss.value_and_grad(*rows)
    value, found = jax.value_and_grad(loss, tuple(range(len(rows))))(*map(jnp.asarray, rows))
    assert value.dtype == found[0].dtype == jnp.float32
    assert abs(float(value) - want) < 1e-5 * max(1, abs(want))
    for got, gradient in zip(found, gradients):
        assert np.abs(got - gradient).max() < 1e-4 * np.abs(gradient).max()
import sys
print(sorted({"torch", "tensorflow", "keras"} & set(sys.modules)))
"""


def test_jax_without_x64_and_without_other_frameworks():
    command = [sys.executable, "-W", "error", "-c", WITHOUT_X64]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | QUICK_JAX
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"

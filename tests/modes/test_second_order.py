"""A gradient penalty through a two-layer model, against plain autodiff of the dense formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf
import torch
from oracles import dense

import nearfar as nf

RNG = np.random.default_rng(61)
INPUTS = [RNG.normal(size=(8, 5)), RNG.normal(size=(8, 5))]
WEIGHTS = [RNG.normal(size=(5, 6)), RNG.normal(size=(6, 3))]
QUEUE = RNG.normal(size=(6, 3))
THIRD = np.random.default_rng(62).normal(size=(8, 3))
LABELS = [0, 1, 0, 2, 1, 0, 3, 2]
TARGETS = [0.0, 1.0, 0.5, 2.0, 1.5, 0.0, 3.0, 6.5]

FIELDS = {
    "ntxent": {"temperature": 0.5},
    "supcon": {"temperature": 0.5},
    "supcon-own-log": {
        "denominator": "own_positive",
        "positives": "log_sum",
        "similarity": "dot",
        "temperature": 2.0,
    },
    "supcon-euclidean": {"similarity": "neg_euclidean", "temperature": 0.5},
    "infonce": {"temperature": 0.5},
    # No anchor of this batch is at the floor; see tests/losses/test_second_order.py.
    "hcl": {"temperature": 1.0, "tau_plus": 0.02},
    "clip": {"temperature": 0.5},
    "siglip": {"temperature": 0.5, "bias": -1.5},
    "supcr": {"temperature": 0.5},
    # A margin that nobody keeps.
    "triplet": {"margin": 200.0},
}
TWO_INPUTS = {"ntxent": "NTXent", "hcl": "HCL", "clip": "CLIP", "siglip": "SigLIP"}


# All of them take minutes; by default one of each evaluator.
NAMES = [
    pytest.param(name, marks=[] if name in ("ntxent", "supcr") else pytest.mark.long)
    for name in FIELDS
]


def call(name, asarray):
    """The loss of two embeddings, in some framework."""
    fields, kind = FIELDS[name], name.split("-")[0]
    if kind in TWO_INPUTS:
        return getattr(nf, TWO_INPUTS[kind])(**fields).with_options(tile=6)
    if kind == "infonce":
        queue = asarray(QUEUE)
        return lambda a, b: nf.InfoNCE(**fields)(a, b, queue)
    if kind == "triplet":
        third = asarray(THIRD)
        return lambda a, b: nf.Triplet(**fields).with_options(tile=6)(a, b, third)
    if kind == "supcr":
        targets = asarray(np.array(TARGETS))
        return lambda a, _: nf.SupCR(**fields).with_options(tile=6)(a, targets)
    labels = asarray(np.array(LABELS))
    return lambda a, _: nf.SupCon(**fields).with_options(tile=6)(a, labels)


def formula(name):
    fields, kind = FIELDS[name], name.split("-")[0]
    if kind in TWO_INPUTS:
        return lambda a, b: getattr(dense, kind)(a, b, **fields)
    if kind == "infonce":
        return lambda a, b: dense.infonce(a, b, torch.tensor(QUEUE), **fields)
    if kind == "triplet":
        return lambda a, b: dense.triplet(a, b, torch.tensor(THIRD), **fields)
    if kind == "supcr":
        return lambda a, _: dense.supcr(a, TARGETS, **fields)
    return lambda a, _: dense.supcon(a, LABELS, **fields)


def exact(name):
    weights = [torch.tensor(w, requires_grad=True) for w in WEIGHTS]
    inputs = [torch.tensor(x, requires_grad=True) for x in INPUTS]
    value = formula(name)(*(torch.tanh(x @ weights[0]) @ weights[1] for x in inputs))
    slopes = torch.autograd.grad(value, inputs, create_graph=True, allow_unused=True)
    penalty = sum((s**2).sum() for s in slopes if s is not None)
    return [g.numpy() for g in torch.autograd.grad(value + penalty, weights)]


def jax_penalty(name):
    loss = call(name, jnp.asarray)

    def value(inputs, weights):
        return loss(*(jnp.tanh(x @ weights[0]) @ weights[1] for x in inputs))

    def total(weights):
        inputs = [jnp.asarray(x) for x in INPUTS]
        slopes = jax.grad(value)(inputs, weights)
        return value(inputs, weights) + sum((s**2).sum() for s in slopes)

    return jax.grad(total)


def tensorflow_penalty(name):
    loss = call(name, tf.constant)

    def gradient(weights):
        inputs = [tf.constant(x) for x in INPUTS]
        with tf.GradientTape() as outer:
            outer.watch(weights)
            with tf.GradientTape() as inner:
                inner.watch(inputs)
                value = loss(*(tf.tanh(x @ weights[0]) @ weights[1] for x in inputs))
            slopes = inner.gradient(value, inputs)
            total = value + sum(tf.reduce_sum(s**2) for s in slopes if s is not None)
        return outer.gradient(total, weights)

    return gradient


def assert_close(found, name):
    for got, want in zip(found, exact(name), strict=True):
        assert np.abs(np.asarray(got) - want).max() < 1e-9 * np.abs(want).max()


@pytest.mark.parametrize("name", NAMES)
def test_jax(name):
    assert_close(jax.jit(jax_penalty(name))([jnp.asarray(w) for w in WEIGHTS]), name)


@pytest.mark.parametrize("name", NAMES)
def test_tensorflow_eager(name):
    assert_close(tensorflow_penalty(name)([tf.constant(w) for w in WEIGHTS]), name)


@pytest.mark.long
@pytest.mark.parametrize("name", ["ntxent", "supcon-own-log"])
def test_tensorflow_function(name):
    compiled = tf.function(tensorflow_penalty(name), autograph=False)
    assert_close(compiled([tf.constant(w) for w in WEIGHTS]), name)


def test_jax_forward_mode():
    """It cannot pass a custom gradient, and says so; through the gradient it works."""
    a, b = (jnp.asarray(x) for x in INPUTS)
    loss = nf.NTXent()
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda a: loss(a, b), (a,), (a,))
    direction = jnp.asarray(INPUTS[1])
    _, along = jax.jvp(jax.grad(lambda a: loss(a, b)), (a,), (direction,))
    step = 1e-6
    up, down = (
        loss.value_and_grad(INPUTS[0] + s * INPUTS[1], INPUTS[1])[1][0] for s in (step, -step)
    )
    np.testing.assert_allclose(along, (up - down) / (2 * step), rtol=1e-5, atol=1e-8)

"""TensorFlow's checks of numbers let healthy losses and measures pass, and stop the others."""

from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from support.cases import CASES, FEW, LOSSES

import nearfar as nf
from nearfar import distances, divergences


@pytest.fixture
def checked():
    tf.debugging.enable_check_numerics()
    yield
    tf.debugging.disable_check_numerics()


def gradients(function, arrays, wrt):
    arrays = [tf.convert_to_tensor(x) for x in arrays]
    with tf.GradientTape() as tape:
        tape.watch(arrays[:wrt])
        value = 3.0 * function(*arrays)
    return value, tape.gradient(value, arrays[:wrt])


def cells():
    """Every case, and each loss once as a graph, which is seconds to make; by default few."""
    first = {next(iter(entry.cases)) for entry in LOSSES.values()}
    for name in CASES:
        yield pytest.param(name, lambda f: f, id=f"{name}-eager")
        if name not in {*first, *FEW}:
            continue
        marks = [] if name in FEW[::3] else [pytest.mark.long]
        yield pytest.param(name, tf.function, id=f"{name}-graph", marks=marks)


@pytest.mark.parametrize(("name", "wrap"), list(cells()))
def test_healthy_losses_pass(name, wrap, checked):
    case = CASES[name]
    inputs = (*case.embeddings, *case.labels)
    run = wrap(partial(gradients, case.loss, wrt=len(case.embeddings)))
    value, found = run(inputs)
    assert np.isfinite(value)
    want, slopes = case.loss.value_and_grad(*inputs)
    assert float(value) == pytest.approx(3 * float(want), rel=1e-9)
    for g, slope in zip(found, slopes, strict=True):
        np.testing.assert_allclose(g, 3 * slope, rtol=1e-7, atol=1e-10)


def test_so_does_value_and_grad(checked):
    case = CASES["supcon"]
    case.loss.value_and_grad(*map(tf.constant, (*case.embeddings, *case.labels)))


P, Q = np.array([[0.5, 0.5, 0.0]] * 2), np.array([[0.25, 0.5, 0.25]] * 2)
MEASURES = {
    "kl": (divergences.kl, (P, Q)),
    "entropy": (divergences.entropy, (P,)),
    "cross_entropy": (divergences.cross_entropy, (P, Q)),
    "binary_cross_entropy": (divergences.binary_cross_entropy, (P, P)),
    "softmax_cross_entropy": (divergences.softmax_cross_entropy, (Q, np.array([0, 2]))),
    "nuclear": (partial(distances.matrix_norm, ord="nuc"), (P,)),
}
for _name in distances._METRICS:
    MEASURES[_name] = (partial(distances.pairwise, metric=_name), (P, Q))


@pytest.mark.parametrize(("measure", "arrays"), MEASURES.values(), ids=MEASURES)
def test_healthy_measures_pass(measure, arrays, checked):
    floating = len([x for x in arrays if x.dtype == np.float64])
    gradients(measure, arrays, floating)


@pytest.mark.parametrize("loss", [nf.NTXent(), nf.CLIP(), nf.InfoNCE()], ids=repr)
def test_what_is_not_finite_is_found(loss, checked):
    a = np.random.default_rng(0).normal(size=(6, 4))
    a[2, 1] = np.nan
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?i)nan"):
        float(loss(tf.constant(a), tf.constant(a[::-1].copy())))


def test_infinite_divergence_is_found(checked):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?i)inf"):
        float(divergences.kl(tf.constant(Q), tf.constant(P)))

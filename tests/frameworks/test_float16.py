"""float16 embeddings in NumPy, whose gradients may leave their dtype."""

import numpy as np
import pytest

import nearfar as nf

RNG = np.random.default_rng(5)
FAR = (RNG.normal(size=(8, 4)) * 20 + 300).astype(np.float16)
SIDES = FAR, FAR[::-1] + np.float16(2)
LOSS = nf.NTXent(similarity="dot", temperature=0.01)


def test_a_gradient_beyond_the_dtype_is_named():
    loss = nf.NTXent(similarity="dot", temperature=0.001, scale=1e4)
    with pytest.warns(UserWarning, match=r"65504 for float16; received \d.*float32, or a smaller"):
        value, (gradient, _) = loss.value_and_grad(*SIDES)
    assert value.dtype == np.float32
    assert gradient.dtype == np.float16
    assert np.isinf(gradient).any()


def test_gradients_inside_are_given_without_a_word():
    _, (gradient, _) = LOSS.value_and_grad(*SIDES)
    _, (exact, _) = LOSS.value_and_grad(*(x.astype(np.float64) for x in SIDES))
    assert gradient.dtype == np.float16
    np.testing.assert_allclose(gradient, exact, rtol=2e-3, atol=1)

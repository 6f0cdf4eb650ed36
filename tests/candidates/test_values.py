"""Values and gradients against the loops, however tiles are cut."""

import numpy as np
import pytest
from candidates.calls import CALLS
from oracles.differences import along

import nearfar as nf

OPTIONS = {"whole": {}, "tiles": {"tile": 4}, "threads": {"tile": 4, "workers": 2}}


@pytest.mark.parametrize("name", CALLS)
def test_value(name):
    call = CALLS[name]
    expected = call.oracle()
    for options in OPTIONS.values():
        value = call.loss.with_options(**options)(*call.given, **call.named)
        assert value.dtype == np.float64
        np.testing.assert_allclose(value, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", [n for n, c in CALLS.items() if c.loss.reduction != "none"])
def test_gradient(name):
    call = CALLS[name]
    rng = np.random.default_rng(5)
    for options in OPTIONS.values():
        loss = call.loss.with_options(**options)
        _, gradients = loss.value_and_grad(*call.given, **call.named)
        assert len(gradients) == len(call.embeddings)
    for k, gradient in zip(call.embeddings, gradients, strict=True):
        assert gradient.shape == call.given[k].shape
        direction = rng.normal(size=gradient.shape)

        def moved(step, k=k, direction=direction):
            given = list(call.given)
            given[k] = given[k] + step * direction
            return call.oracle(*given)

        if getattr(call.loss, "hardness", 0.0):
            continue  # whose weights the gradient takes for constants
        assert (gradient * direction).sum() == pytest.approx(along(moved), rel=2e-5, abs=1e-7)


@pytest.mark.parametrize("name", [n for n, c in CALLS.items() if c.loss.reduction != "none"])
def test_wrt(name):
    """Each gradient alone is what it is among all."""
    call = CALLS[name]
    _, gradients = call.loss.value_and_grad(*call.given, **call.named)
    for k, gradient in enumerate(gradients):
        _, (alone,) = call.loss.value_and_grad(*call.given, wrt=(k,), **call.named)
        np.testing.assert_allclose(alone, gradient, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", CALLS)
def test_float32(name):
    call = CALLS[name]
    given = [x.astype(np.float32) if k in call.embeddings else x for k, x in enumerate(call.given)]
    value = call.loss(*given, **call.named)
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, call.oracle(), rtol=3e-5, atol=1e-5)


@pytest.mark.parametrize("own", ["mine", "all"])
def test_a_guide_of_own_negatives_with_several_feature_axes(own):
    """The guide has features of its own, however many axes the embeddings' features have."""
    rng = np.random.default_rng(7)
    query, positive, negatives = (rng.normal(size=(*lead, 6)) for lead in ((8,), (8,), (8, 3)))
    guide = tuple(rng.normal(size=(*x.shape[:-1], 4)) for x in (query, positive, negatives))
    loss = nf.InfoNCE(in_batch="always", own=own, exclude=nf.Exclude(margin=0.1))
    flat, gradients = loss.value_and_grad(query, positive, negatives, guide=guide)
    assert flat != nf.InfoNCE(in_batch="always", own=own)(query, positive, negatives)
    axes = [x.reshape(*x.shape[:-1], 2, 3) for x in (query, positive, negatives)]
    value, found = loss.value_and_grad(*axes, guide=guide)
    assert value == flat
    for gradient, x, like in zip(gradients, found, axes, strict=True):
        assert x.shape == like.shape
        np.testing.assert_array_equal(x, gradient.reshape(like.shape))

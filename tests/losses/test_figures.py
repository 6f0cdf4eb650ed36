"""The library against the published figures."""

import numpy as np
import pytest
from oracles.figures import FIGURES, A, B

import nearfar as nf


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.who)
def test_figure(framework, figure):
    loss = getattr(nf, figure.loss)(**figure.fields)
    inputs = [
        framework.labels(x) if isinstance(x, list) else framework.asarray(x) for x in figure.inputs
    ]
    assert abs(float(loss(*inputs)) - figure.value) <= figure.within()


def test_directions(framework):
    """CLIP is the mean of both directions; moco-v3 their sum, times twice the temperature."""
    a, b = framework.asarray(A), framework.asarray(B)
    for temperature, clip, moco in ((0.5, 1.087210, 2.174421), (0.1, 0.110164, 0.044065)):
        loss = nf.InfoNCE(temperature=temperature)
        both = float(loss(a, b)) + float(loss(b, a))
        assert abs(both / 2 - clip) < 6e-7
        assert abs(both * 2 * temperature - moco) < 6e-7


def test_one_way_dcl(framework):
    """The anchors of the first view come first."""
    a, b = framework.asarray(A), framework.asarray(B)
    for temperature, value in ((0.5, 1.318136), (0.1, -2.521341)):
        loss = nf.NTXent(temperature=temperature, denominator="negatives", reduction="none")
        losses = framework.read(loss(a, b))
        assert losses.shape == (16,)
        np.testing.assert_allclose(losses[:8].mean(), value, atol=6e-7)

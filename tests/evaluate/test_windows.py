"""Positives of rows sorted by class are listed, or stand in some windows of a tile."""

import numpy as np
import pytest
import torch
from oracles import dense

import nearfar as nf
from nearfar import codes

# A tile of several windows: classes inside one, across an edge, and of one row.
SIZES = (3, 1, 150, 2, 90, 1, 24, 47)
CODES = np.repeat(np.arange(len(SIZES)), SIZES)


@pytest.fixture(params=[0, 1], ids=["windows", "listed"])
def few(request, monkeypatch):
    """Which share of a tile positives are listed up to."""
    monkeypatch.setattr(codes, "_FEW", request.param)


@pytest.mark.parametrize(
    "stated",
    [{}, {"positives": "log_mean", "include_self": "positive"}, {"include_self": True}],
    ids=["mean_log", "log_mean", "self"],
)
@pytest.mark.parametrize("framework", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_a_tile_of_several_windows(stated, framework, few):
    rng = np.random.default_rng(5)
    order = rng.permutation(len(CODES))
    z = rng.normal(size=(len(CODES), 3))
    loss = nf.SupCon(temperature=0.4, **stated)
    given = framework(z), CODES[order]
    value, (gradient,) = loss.with_options(tile=512).value_and_grad(*given)
    leaf = torch.tensor(z, requires_grad=True)
    expected = dense.supcon(leaf, CODES[order], temperature=0.4, **stated)
    expected.backward()
    assert isinstance(gradient, type(given[0]))
    assert gradient.dtype == given[0].dtype
    np.testing.assert_allclose(float(value), expected.item())
    np.testing.assert_allclose(np.asarray(gradient), leaf.grad.numpy(), rtol=1e-9, atol=1e-12)

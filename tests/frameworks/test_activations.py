"""Softplus and sigmoid of NumPy's tiles keep their digits everywhere, strip by strip."""

import numpy as np
import pytest

from nearfar.frameworks.numpy import activations


def wide(x):
    """Both in extended precision, from the side on which nothing cancels."""
    x = x.astype(np.longdouble)
    e = np.exp(-np.abs(x))
    return np.maximum(x, 0) + np.log1p(e), np.where(x >= 0, 1, e) / (1 + e)


@pytest.fixture(params=[np.float32, np.float64])
def x(request):
    # From where exp(-x) is all of log(1 + exp(-x)) over where it is rounded away to where it is 1.
    line = np.linspace(-80, 80, 301)
    near = np.r_[0.0, 1e-30, -1e-30, np.log(np.finfo(request.param).eps) + np.linspace(-2, 2, 29)]
    row = np.r_[line, near, -near].astype(request.param)
    rows = 2 * activations._STRIP // len(row) + 3
    return row + np.linspace(-1, 1, rows, dtype=request.param)[:, None]


def test_every_entry(x):
    softplus, sigmoid = wide(x)
    bound = 4 * np.finfo(x.dtype).eps
    for function, want in ((activations.softplus_, softplus), (activations.sigmoid_, sigmoid)):
        given = x.copy()
        got = function(given)
        assert got is given
        assert np.max(np.abs(got / want - 1)) < bound


def test_both_at_once(x):
    softplus, sigmoid = wide(x)
    given = x.copy()
    sums, got = activations.softplus_sums_and_sigmoid_(given)
    assert got is given
    assert sums.dtype == x.dtype
    assert np.max(np.abs(got / sigmoid - 1)) < 4 * np.finfo(x.dtype).eps
    assert np.max(np.abs(sums / softplus.sum(axis=1) - 1)) < 100 * np.finfo(x.dtype).eps


def test_what_is_not_finite():
    x = np.array([[np.inf, -np.inf, np.nan, 0.0]])
    np.testing.assert_array_equal(activations.sigmoid_(x.copy()), [[1, 0, np.nan, 0.5]])
    np.testing.assert_array_equal(activations.softplus_(x.copy()), [[np.inf, 0, np.nan, np.log(2)]])
    assert activations.softplus_(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_beyond_exponentials(dtype):
    x = np.array([[1e4, -1e4, 100.0, np.log(3)]], dtype)
    found = activations.softplus_(x.copy())
    np.testing.assert_allclose(found, [[1e4, 0, 100, np.log(4)]], rtol=1e-6)
    np.testing.assert_allclose(activations.sigmoid_(x.copy()), [[1, 0, 1, 0.75]], rtol=1e-6)
    sums, _ = activations.softplus_sums_and_sigmoid_(x.copy())
    np.testing.assert_allclose(sums, [1e4 + 100 + np.log(4)], rtol=1e-6)

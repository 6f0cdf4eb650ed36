"""Some rows at a time say what all rows do."""

import numpy as np
import pytest
import torch
from support.cases import CASES

from nearfar.frameworks import memory

X = np.arange(44.0).reshape(11, 4) + 0.5
MAKE = {"numpy": np.array, "torch": torch.tensor}


def empty(size, like):
    made = np.full(size, np.nan)
    return torch.from_numpy(made) if isinstance(like, torch.Tensor) else made


@pytest.fixture(params=[1, 64, 100, 351])
def strips(request, monkeypatch):
    """Of one row, of two, of three and a rest, and of all but one."""
    monkeypatch.setattr(memory, "_CHUNK", request.param)
    monkeypatch.setattr(memory, "_AT_ONCE", request.param)


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_rows_sums_and_several_rows_for_one(strips, make):
    x, y = make(X), make(X[:, 0] + 1)
    seen = []

    def function(x, y, nothing):
        seen.append(len(x))
        assert nothing is None
        twice = np.repeat(np.asarray(x), 2, axis=0)
        return x * y[:, None], x.sum(1), make(twice)

    product, sums, twice = memory.by_chunks(empty, function, (x, y, None))
    assert sum(seen) == 11
    assert len(seen) > 1
    assert type(product) is type(x)
    np.testing.assert_array_equal(product, X * (X[:, :1] + 1))
    np.testing.assert_array_equal(sums, X.sum(1))
    np.testing.assert_array_equal(twice, np.repeat(X, 2, axis=0))


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_what_is_written_to_the_first_array_stays_there(strips, make):
    x = make(X)

    def function(x):
        x *= 3
        return x, x.sum(1)

    found, sums = memory.by_chunks(empty, function, (x,))
    assert found is x
    np.testing.assert_array_equal(x, 3 * X)
    np.testing.assert_array_equal(sums, 3 * X.sum(1))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_losses(case, framework, monkeypatch):
    def both():
        inputs = [framework.asarray(x) for x in case.embeddings]
        labels = [framework.labels(x) for x in case.labels]
        value, gradients = framework.differentiate(case.loss, inputs, *labels, upstream=3.0)
        return framework.read(value), [framework.read(g) for g in gradients]

    value, gradients = both()
    monkeypatch.setattr(memory, "_CHUNK", 128)
    monkeypatch.setattr(memory, "_AT_ONCE", 128)
    again, others = both()
    np.testing.assert_allclose(again, value, rtol=1e-13)
    for one, other in zip(gradients, others, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-11, atol=1e-13)

"""Terms too small to be seen beside the largest of their sum are 0, never subnormal numbers."""

import numpy as np
import pytest
import torch

import nearfar as nf
from nearfar.frameworks import HOST, namespace_of
from nearfar.frameworks.protocol.elementwise import LEAST, UNSEEN

DTYPES = {"float32": (np.float32, torch.float32), "float64": (np.float64, torch.float64)}
BOTH = pytest.mark.parametrize("of", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
EACH = pytest.mark.parametrize("dtype", DTYPES)


def exponents(dtype):
    far = 2.5 * UNSEEN[np.dtype(dtype).itemsize]
    x = np.random.default_rng(3).uniform(far, 0, (40, 33)).astype(dtype)
    x[:, 0], x[5, 7], x[6, 8] = 0, -np.inf, np.nan
    return x


def read(x):
    return np.asarray(x, np.float64)


@BOTH
@EACH
def test_what_is_seen_keeps_its_digits(of, dtype):
    x = exponents(dtype)
    given = of(x.copy())
    got = namespace_of([("x", given)]).exp_beside_one_(given)
    assert type(got) is type(given)
    assert got.dtype == given.dtype
    got, least = read(got), np.exp(UNSEEN[x.itemsize])
    want = np.exp(x.astype(np.float64))
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    assert (np.isnan(got) | (got == 0) | (got > np.finfo(dtype).tiny)).all()
    assert got[5, 7] == 0
    np.testing.assert_allclose(got, want, rtol=np.finfo(dtype).eps * 4, atol=1.01 * least)


@BOTH
@EACH
@pytest.mark.parametrize("shape", [(40, 1), (1, 33)])
def test_nothing_subnormal_is_left_of_a_weight(of, dtype, shape):
    x = exponents(dtype)
    power = np.linspace(0, np.log10(np.finfo(dtype).tiny) - 4, max(shape))
    slope = (-(10.0**power)).astype(dtype).reshape(shape)
    slope.flat[3] = 0
    given = of(x.copy()), of(slope)
    ns = namespace_of([("x", given[0])])
    got = read(ns.mul_(ns.exp_beside_one_(*given), given[1]))
    want = np.exp(x.astype(np.float64)) * slope.astype(np.float64)
    seen = np.abs(got[np.isfinite(got) & (got != 0)])
    assert seen.min() > np.finfo(dtype).tiny
    bound = 1.01 * np.maximum(LEAST[x.itemsize], np.exp(UNSEEN[x.itemsize]) * np.abs(slope))
    off = np.abs(got - want) - 8 * np.finfo(dtype).eps * np.abs(want)
    assert (np.isnan(want) | (off <= bound)).all()


@BOTH
@pytest.mark.parametrize("name", ["NTXent", "CLIP", "InfoNCE"])
def test_small_batches_of_classes_far_apart(of, name, monkeypatch):
    """One matrix, of which neither terms nor weights are subnormal."""
    rng = np.random.default_rng(4)
    centres = np.eye(12, 24)[np.arange(96) % 12]
    inputs = [centres + 0.01 * rng.normal(size=(96, 24)) for _ in range(2)]
    loss = getattr(nf, name)(temperature=0.0105)
    low = [of(x.astype(np.float32)) for x in inputs]
    kind, counted = type(HOST), []

    def seen(self, x, y):
        found = multiply(self, x, y)
        w = np.abs(np.asarray(found))
        counted.append(((w > 0) & (w < np.finfo(w.dtype).tiny)).mean())
        return found

    multiply = kind.mul_
    monkeypatch.setattr(kind, "mul_", seen)
    value, gradients = loss.value_and_grad(*low)
    assert counted
    assert max(counted) < 0.01
    want, expected = loss.value_and_grad(*inputs)
    np.testing.assert_allclose(read(value), want, rtol=1e-4, atol=1e-6)
    for got, exact in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(read(got), exact, atol=1e-3 * np.abs(exact).max() + 1e-33)


@BOTH
@pytest.mark.parametrize("name", ["NTXent", "SupCon", "CLIP", "InfoNCE", "queue", "proxies"])
def test_classes_far_apart_at_a_low_temperature(of, name, monkeypatch):
    """Nothing that is multiplied is subnormal: the whole matrix would be."""
    rng = np.random.default_rng(4)
    centres, classes = np.eye(12, 24), np.arange(300) % 12
    a, b = (centres[classes] + 0.01 * rng.normal(size=(300, 24)) for _ in range(2))
    call = {
        "NTXent": (nf.NTXent, (a, b)),
        "SupCon": (nf.SupCon, (a, classes)),
        "CLIP": (nf.CLIP, (a, b)),
        "InfoNCE": (nf.InfoNCE, (a, b)),
        "queue": (nf.InfoNCE, (a[:100], b[:100], b[100:])),
        "proxies": (nf.NormalizedSoftmax, (a, classes, centres)),
    }
    loss, inputs = call[name]
    loss = loss(temperature=0.0105)
    low = [x.astype(np.float32) if x.dtype == np.float64 else x for x in inputs]
    wide = of(low[0])
    kind, counted = type(namespace_of([("x", wide)])), []

    def seen(self, x, block, weights, *rest, **named):
        w = np.abs(np.asarray(weights))
        counted.append(((w > 0) & (w < np.finfo(w.dtype).tiny)).mean())
        return add(self, x, block, weights, *rest, **named)

    add = kind.add_product_
    monkeypatch.setattr(kind, "add_product_", seen)
    value, gradients = loss.value_and_grad(*map(of, low))
    assert counted
    assert max(counted) < 0.01
    want, expected = loss.value_and_grad(*inputs)
    np.testing.assert_allclose(read(value), want, rtol=1e-4, atol=1e-6)
    for got, exact in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(read(got), exact, atol=1e-3 * np.abs(exact).max() + 1e-33)

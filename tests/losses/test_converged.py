"""Small losses keep their digits: 1e-5 relative in float32, value and gradient.

A single positive's term is softplus(LSE of the negatives - s), never a difference of logarithms:
that would leave 1e-7 / L of the value. The dense formula is stable in the same way for
"own_positive", which is the same loss as "all" where there is one positive.
"""

import numpy as np
import pytest
from oracles import clip, hcl, infonce, ntxent, siglip, supcon, supcr
from support.agreement import truth

import nearfar as nf

N, D, TEMPERATURE = 8, 12, 0.05
RELATIVE = {"float32": 1e-5, "float64": 1e-11}
# Cosine between rows of different pairs, and the loss that it gives at this temperature.
BATCHES = {"1e-4": (0.40, 1e-4), "1e-9": (-0.14, 1e-9)}


def converged(kind, copies=2):
    """Rows of nearly the same direction within a class, at one angle between the classes."""
    cosine, size = BATCHES[kind]
    rng = np.random.default_rng(121)
    apart = (np.eye(N, D) - (np.arange(D) < N) / N) * np.sqrt(1 - cosine)
    common = np.zeros(D)
    common[-1] = np.sqrt(cosine + (1 - cosine) / N)
    views = [apart + common + 0.02 * rng.normal(size=(N, D)) for _ in range(copies)]
    lengths = rng.uniform(0.5, 2.0, size=(copies, N, 1))
    return [(x * length).astype(np.float32) for x, length in zip(views, lengths, strict=True)], size


def assert_close(framework, got, want, dtype, times=1):
    value, gradients = got
    wanted_value, wanted_gradients = want
    relative = times * RELATIVE[dtype]
    assert abs(float(value) / wanted_value - 1) < relative
    largest = max(np.abs(g).max() for g in wanted_gradients)
    for one, other in zip(gradients, wanted_gradients, strict=True):
        assert np.abs(framework.read(one) - other).max() < relative * largest


@pytest.mark.parametrize("kind", BATCHES)
def test_ntxent(framework, dtype, kind):
    views, size = converged(kind)
    value = ntxent.ntxent(*(x.tolist() for x in views), temperature=TEMPERATURE)
    assert size / 4 < value < size * 4
    exact = truth("NTXent", views, temperature=TEMPERATURE)
    arrays = [framework.asarray(x, dtype) for x in views]
    for denominator in ("all", "own_positive"):
        loss = nf.NTXent(temperature=TEMPERATURE, denominator=denominator)
        got = framework.differentiate(loss, arrays)
        assert_close(framework, got, (value, exact.gradients), dtype)


@pytest.mark.parametrize("kind", BATCHES)
@pytest.mark.parametrize("spelling", ["classes", "multi-hot"])
@pytest.mark.parametrize("positives", ["mean_log", "sum_log", "log_mean", "log_sum"])
def test_supcon_of_two_per_class(framework, dtype, kind, spelling, positives):
    views, _ = converged(kind)
    order = np.random.default_rng(0).permutation(2 * N)
    x = np.concatenate(views)[order]
    labels = np.tile(np.arange(N), 2)[order]
    value = supcon.supcon(x.tolist(), labels.tolist(), temperature=TEMPERATURE)
    fields = {"denominator": "own_positive", "temperature": TEMPERATURE}
    exact = truth("SupCon", [x], labels, **fields)
    labels = framework.labels(np.eye(N, dtype=int)[labels] if spelling == "multi-hot" else labels)
    x = framework.asarray(x, dtype)
    for denominator in ("all", "own_positive"):
        loss = nf.SupCon(temperature=TEMPERATURE, denominator=denominator, positives=positives)
        got = framework.differentiate(loss, [x], labels)
        assert_close(framework, got, (value, exact.gradients), dtype)


@pytest.mark.parametrize("kind", BATCHES)
# The logarithm of a mean of several shares near 1 is known to rounding, not to the loss's size.
@pytest.mark.parametrize("positives", ["mean_log", "sum_log"])
def test_own_positive_of_many_per_class(framework, dtype, kind, positives):
    views, _ = converged(kind, copies=4)
    x, labels = np.concatenate(views), np.tile(np.arange(N), 4)
    fields = {
        "denominator": "own_positive",
        "positives": positives,
        "temperature": TEMPERATURE,
    }
    value = supcon.supcon(x.tolist(), labels.tolist(), **fields)
    exact = truth("SupCon", [x], labels, **fields)
    got = framework.differentiate(
        nf.SupCon(**fields), [framework.asarray(x, dtype)], framework.labels(labels)
    )
    assert_close(framework, got, (value, exact.gradients), dtype)


@pytest.mark.parametrize("kind", BATCHES)
@pytest.mark.parametrize("negatives", ["batch", "queue", "own"])
def test_infonce(framework, dtype, kind, negatives):
    query, positive, third = converged(kind, copies=3)[0]
    inputs, fields = [query, positive], {"temperature": TEMPERATURE}
    if negatives == "queue":
        # The second half of the classes waits in the queue.
        inputs = [query[:4], positive[:4], third[4:]]
    elif negatives == "own":
        inputs.append(np.stack([np.delete(third, i, 0) for i in range(N)]))
    value = infonce.infonce(*(x.tolist() for x in inputs), **fields)
    exact = truth("InfoNCE", inputs, **fields)
    arrays = [framework.asarray(x, dtype) for x in inputs]
    got = framework.differentiate(nf.InfoNCE(**fields), arrays)
    assert_close(framework, got, (value, exact.gradients), dtype)


@pytest.mark.parametrize("kind", BATCHES)
def test_clip(framework, dtype, kind):
    views, size = converged(kind)
    fields = {"temperature": TEMPERATURE}
    value = clip.clip(*(x.tolist() for x in views), **fields)
    assert size / 4 < value < size * 4
    exact = truth("CLIP", views, **fields)
    arrays = [framework.asarray(x, dtype) for x in views]
    got = framework.differentiate(nf.CLIP(**fields), arrays)
    assert_close(framework, got, (value, exact.gradients), dtype)


@pytest.mark.parametrize("kind", BATCHES)
@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_hcl(framework, dtype, kind, beta):
    """Without a correction, so that the loss is made of the negatives and not of the floor."""
    views, size = converged(kind)
    fields = {"temperature": TEMPERATURE, "tau_plus": 0.0, "beta": beta}
    rows = [x.tolist() for x in views]
    value = hcl.hcl(*rows, **fields)
    assert size / 4 < value < size * 8
    assert all(raw > floor + 0.05 for _, raw, floor in hcl.estimates(*rows, **fields))
    exact = truth("HCL", views, **fields)
    arrays = [framework.asarray(x, dtype) for x in views]
    got = framework.differentiate(nf.HCL(**fields), arrays)
    assert_close(framework, got, (value, exact.gradients), dtype)


@pytest.mark.parametrize(("bias", "size"), [(-6.0, 1e-3), (-8.0, 1e-4), (-12.0, 1e-4)])
def test_siglip(framework, dtype, bias, size):
    """Positives at 20 + bias, negatives at bias - 2.8: both sides are small."""
    views, _ = converged("1e-9")
    fields = {"temperature": TEMPERATURE, "bias": bias}
    value = siglip.siglip(*(x.tolist() for x in views), **fields)
    assert size / 4 < value < size * 4
    exact = truth("SigLIP", views, **fields)
    arrays = [framework.asarray(x, dtype) for x in views]
    got = framework.differentiate(nf.SigLIP(**fields), arrays)
    assert_close(framework, got, (value, exact.gradients), dtype)


@pytest.mark.parametrize(("temperature", "size", "times"), [(0.1, 4.1837e-6, 1), (0.05, 6e-11, 3)])
@pytest.mark.parametrize("order", [1, -1], ids=["sorted", "reversed"])
def test_supcr(framework, dtype, temperature, size, times, order):
    """Rows along a line at the places of their targets; logits of 335 are known to 2e-5."""
    targets = np.array([0.0, 1, 3, 7, 15])[::order].copy()
    x = targets[:, None] * np.array([1, 0.5])
    fields = {"temperature": temperature}
    value = supcr.supcr(x.tolist(), targets, **fields)
    assert abs(value / size - 1) < (1e-4 if temperature == 0.1 else 0.5)
    exact = truth("SupCR", [x], targets, **fields)
    got = framework.differentiate(
        nf.SupCR(**fields), [framework.asarray(x, dtype)], framework.labels(targets)
    )
    assert_close(framework, got, (value, exact.gradients), dtype, times)


def test_every_anchor(framework):
    """Per anchor, too, and not in the mean alone."""
    views, _ = converged("1e-9")
    want = ntxent.ntxent(*(x.tolist() for x in views), temperature=TEMPERATURE, reduction="none")
    loss = nf.NTXent(temperature=TEMPERATURE, reduction="none")
    got = framework.read(loss(*(framework.asarray(x, "float32") for x in views)))
    np.testing.assert_allclose(got, want, rtol=1e-5)

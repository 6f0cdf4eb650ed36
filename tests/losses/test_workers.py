"""Threads over tiles: the same bits for every number of them."""

import numpy as np
import pytest

import nearfar as nf

LOSSES = {
    "ntxent": nf.NTXent(),
    "guarded": nf.NTXent(temperature=0.01),
    "all": nf.SupCon(),
    "own_positive": nf.SupCon(denominator="own_positive"),
    "own_log": nf.SupCon(denominator="own_positive", positives="log_sum"),
    "euclidean": nf.SupCon(similarity="neg_euclidean"),
    "hcl": nf.HCL(),
    "clip": nf.CLIP(),
    "clip-guarded": nf.CLIP(temperature=0.01),
    "siglip": nf.SigLIP(),
    "supcr": nf.SupCR(),
    "triplet": nf.Triplet(),
}


@pytest.mark.parametrize("name", LOSSES)
def test_bits_do_not_depend_on_workers(name):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(150, 9)).astype(np.float32)
    # Large, small and single classes, so that every kind of tile occurs.
    labels = np.r_[np.zeros(60), np.ones(40), rng.integers(2, 9, 49), 99]
    kind = type(LOSSES[name])
    if kind is nf.Triplet:
        inputs = x[:50], x[50:100], x[100:]
    else:
        inputs = (x, labels) if len(kind.embeddings) == 1 else (x[:75], x[75:])
    results = [
        LOSSES[name].with_options(tile=16, workers=workers).value_and_grad(*inputs)
        for workers in (1, 2, 3, 5)
    ]
    value, gradients = results[0]
    for other, others in results[1:]:
        assert other == value
        for a, b in zip(gradients, others, strict=True):
            np.testing.assert_array_equal(a, b)
    alone, without = LOSSES[name].with_options(tile=16).value_and_grad(*inputs)
    assert alone == pytest.approx(value, rel=1e-6)
    for a, b in zip(gradients, without, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6 * np.abs(b).max())

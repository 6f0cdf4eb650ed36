"""Rows so short that 1/norm is beyond the dtype, under the cosine: never NaN."""

import numpy as np
import pytest
from support.agreement import truth

import nearfar as nf

LOSSES = {
    "NTXent": [{}, {"temperature": 0.01}],
    "DCL": [{}],
    "HCL": [{}],
    "CLIP": [{"temperature": 0.02}],
    "InfoNCE": [{}],
    "SigLIP": [{}],
    "SupCon": [{"denominator": "negatives"}, {"denominator": "own_positive"}],
    "SupCR": [{"similarity": "cosine", "temperature": 0.1}],
}
CASES = [(name, fields) for name, several in LOSSES.items() for fields in several]


@pytest.mark.parametrize("size", [1e-39, 1e-42])
@pytest.mark.parametrize(("name", "fields"), CASES, ids=str)
def test_no_gradient_is_nan(framework, name, fields, size):
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(2, 12, 4))
    x[3:6] *= size
    x[4, 1] = 0
    y[3] *= size
    inputs = [x] if name.startswith("Sup") else [x, y]
    labels = {"SupCon": [np.arange(12) % 3], "SupCR": [np.arange(12.0) % 5]}.get(name, [])
    arrays = [framework.asarray(z, "float32") for z in inputs]
    rounded = [framework.read(z) for z in arrays]
    with np.errstate(over="ignore"):  # NumPy says that a gradient is infinite
        value, gradients = framework.differentiate(
            getattr(nf, name)(**fields), arrays, *map(framework.labels, labels)
        )
    want = truth(name, rounded, *labels, **fields)
    assert float(value) == pytest.approx(float(want.value), rel=1e-4, abs=1e-5)
    for got, other in zip(map(framework.read, gradients), want.gradients, strict=True):
        assert not np.isnan(got).any()
        usual = np.abs(other).max(1) < 1e30
        unit = np.abs(other[usual]).max()
        np.testing.assert_allclose(got[usual], other[usual], rtol=1e-3, atol=2e-5 * unit)
        # The others point the right way, and are large.
        short = other[~usual]
        assert (np.abs(got[~usual]).max(1) > 1e30).all() or not np.abs(short).any()
        assert (np.sign(got[~usual]) == np.sign(short))[np.abs(short) > 1e36].all()

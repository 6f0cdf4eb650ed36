"""Logits of 1e5 and more in TensorFlow and JAX, where loops are traced and programs compiled."""

import numpy as np
import pytest
import torch
from support.agreement import truth
from support.backends import BACKENDS
from support.cases import LOSSES as REGISTERED
from support.covering import sampled

import nearfar as nf

SCALES = {"1e3": 1e3, "1e5": 1e5, "1e7": 1e7}
LOSSES = {
    "NTXent": {},
    "HCL": {},
    "CLIP": {},
    "InfoNCE": {},
    "SupCon": {},
    "SupCon own": {"denominator": "own_positive", "positives": "log_mean"},
}


@pytest.mark.long
@pytest.mark.usefixtures("optimised")  # roundings are what is at stake
@sampled("case, backend, rows", LOSSES, ["tensorflow", "jax"], ["apart", "collapsed"])
def test_values_and_gradients_are_those_of_the_dense_formula(backend, case, rows):
    framework, name = BACKENDS[backend], case.split()[0]
    fields = {"temperature": 0.5, "similarity": "dot", **LOSSES[case]}
    if name == "HCL":
        fields["tau_plus"] = 0.0
    loss = getattr(nf, name)(**fields).with_options(tile=16)
    for size in SCALES.values():
        rng = np.random.default_rng(4)
        x = rng.normal(size=(2, 40, 16)) * (size / 16 / 2) ** 0.5
        if rows == "collapsed":
            x = np.broadcast_to(x[:1, :1], x.shape)
        inputs = [z.astype(np.float32) for z in (x[:1] if name == "SupCon" else x)]
        labels = [rng.integers(0, 5, size=40)] if name == "SupCon" else []
        want = truth(name, inputs, *labels, **fields)
        value, gradients = framework.differentiate(
            loss,
            [framework.asarray(z, "float32") for z in inputs],
            *(framework.labels(y) for y in labels),
        )
        assert framework.dtype(value) == "float32"
        assert float(value) == pytest.approx(float(want.value), rel=2e-6, abs=1e-5)
        unit = max(want.softmax_gradient, *(np.abs(g).max() for g in want.gradients))
        noise = 1e-6 * unit
        if rows == "apart":
            leaves = [torch.tensor(z, requires_grad=True) for z in inputs]
            rounded = torch.autograd.grad(
                REGISTERED[name].dense(*leaves, *(y.tolist() for y in labels), **fields), leaves
            )
            pairs = zip(rounded, want.gradients, strict=True)
            noise = max(noise, *(np.abs(a.numpy() - b).max() for a, b in pairs))
        for got, other in zip(gradients, want.gradients, strict=True):
            assert np.abs(framework.read(got) - other).max() <= 10 * noise, size

"""The library against the oracle, within the bounds that the library promises.

value     tol x (max(1, |L|) + largest |logit|)
gradient  tol x (1 + largest |logit|) x (largest entry of the gradient, or of one anchor's
          softmax gradient where the sum over the anchors cancels)
"""

from dataclasses import dataclass, field, fields

import numpy as np
import torch
from oracles import dense

import nearfar as nf

TOLERANCE = {"float64": 1e-13, "float32": 2e-6, "float16": 2e-3, "bfloat16": 2e-2}
# Below these a gradient is denormal, or cannot be written down at all in its dtype.
SMALLEST = {"float64": 2.3e-308, "float32": 1.2e-38, "float16": 6e-8, "bfloat16": 1.2e-38}
COMPUTE = {"float64": "float64", "float32": "float32", "float16": "float32", "bfloat16": "float32"}
FORMULAS = {"NTXent": dense.ntxent, "InfoNCE": dense.infonce, "SupCon": dense.supcon}


@dataclass(frozen=True)
class Truth:
    """What a loss must give for float64 inputs: value, gradients, and the units of rounding."""

    value: np.ndarray
    gradients: list[np.ndarray] = field(repr=False)
    largest_logit: float
    softmax_gradient: float


_KNOWN: dict[tuple, Truth] = {}


def truth(name, inputs, *labels, **how) -> Truth:
    """See `_truth`; worked out once for all frameworks."""
    inputs = [np.array(x, dtype=np.float64, order="C") for x in inputs]
    labels = [np.asarray(label).tolist() for label in labels]
    key = (name, *((x.shape, x.tobytes()) for x in inputs), repr(labels), repr(how))
    if key not in _KNOWN:
        _KNOWN[key] = _truth(name, inputs, labels, **how)
    return _KNOWN[key]


def _truth(name, inputs, labels, *, upstream=1.0, value=None, cancels=True, **stated) -> Truth:
    """By the dense formula; `value` replaces its value by that of the loops.

    Without `cancels` the gradient is measured by its own largest entry alone.
    """
    leaves = [torch.tensor(x, requires_grad=True) for x in inputs]
    result = FORMULAS[name](*leaves, *labels, **stated)
    upstream = torch.as_tensor(upstream, dtype=torch.float64).expand(result.shape)
    gradients = [g.numpy() for g in torch.autograd.grad(result, leaves, upstream)]

    defaults = {f.name: f.default for f in fields(getattr(nf, name))}
    units = {key: stated.get(key, defaults[key]) for key in ("similarity", "temperature")}
    rows = torch.cat([x.detach().reshape(-1, x.shape[-1]) for x in leaves])
    scores = dense.similarities(rows, rows, units["similarity"])
    if not stated.get("include_self"):
        scores.fill_diagonal_(0)
    softmax = dense.largest_softmax_gradient(rows, **units) if cancels else 0.0
    weight = float(upstream.abs().max()) * stated.get("scale", 1.0)
    if stated.get("reduction", "mean") == "mean":
        weight /= len(leaves[0]) if name == "InfoNCE" else len(rows)
    return Truth(
        value=result.detach().numpy() if value is None else np.asarray(value),
        gradients=gradients,
        largest_logit=float(scores.abs().max()) / units["temperature"],
        softmax_gradient=weight * softmax,
    )


def assert_value(framework, got, want: Truth, dtype, about=""):
    """Value, dtype and array type; `dtype` is that of the inputs."""
    assert framework.owns(got), f"{about}: a {type(got).__name__}"
    assert framework.dtype(got) == COMPUTE[dtype], about
    assert tuple(got.shape) == want.value.shape, about
    error = np.abs(framework.to_numpy(got) - want.value)
    allowed = TOLERANCE[dtype] * (np.maximum(1, np.abs(want.value)) + want.largest_logit)
    assert np.all(error <= allowed), f"{about}: {got}, expected {want.value}; off by {error}"


def assert_gradients(framework, got, want: Truth, dtype, about=""):
    assert len(got) == len(want.gradients), about
    largest = max(np.abs(g).max() for g in want.gradients)
    allowed = TOLERANCE[dtype] * (1 + want.largest_logit) * max(largest, want.softmax_gradient)
    allowed += SMALLEST[dtype]
    for at, (one, other) in enumerate(zip(got, want.gradients, strict=True)):
        assert framework.owns(one), f"{about}: a {type(one).__name__}"
        assert framework.dtype(one) == dtype, about
        assert tuple(one.shape) == other.shape, about
        error = np.abs(framework.to_numpy(one) - other).max()
        assert error <= allowed, f"{about}, input {at}: off by {error:.2e}, allowed {allowed:.2e}"


def check(framework, name, inputs, *labels, dtype="float64", about="", want=None, **stated):
    """Value and gradient of the mean (or sum) of a loss on `inputs` rounded to `dtype`."""
    arrays = [framework.asarray(x, dtype) for x in inputs]
    rounded = [framework.to_numpy(x) for x in arrays]
    want = want or truth(name, rounded, *labels, **stated)
    loss = getattr(nf, name)(**stated)
    value, gradients = framework.differentiate(
        loss, arrays, *(framework.labels(label) for label in labels)
    )
    assert_value(framework, value, want, dtype, about)
    assert_gradients(framework, gradients, want, dtype, about)
    return value, gradients

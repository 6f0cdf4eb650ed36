"""The library against the oracle, within the bounds that the library promises.

value     tol x (max(1, |L|) + largest |logit|)          for triplets the largest distance
gradient  tol x (1 + largest |logit|) x (largest entry of the gradient, or of one anchor's
          softmax gradient where the sum over the anchors cancels)

Bounds of losses of distances count those as the bounds of the others count logits.
"""

from dataclasses import dataclass, field, fields

import numpy as np
import torch
from oracles import dense

import nearfar as nf
from support.cases import LOSSES

TOLERANCE = {"float64": 1e-13, "float32": 2e-6, "float16": 2e-3, "bfloat16": 2e-2}
# Below these a gradient is denormal, or cannot be written down at all in its dtype.
SMALLEST = {"float64": 2.3e-308, "float32": 1.2e-38, "float16": 6e-8, "bfloat16": 1.2e-38}
COMPUTE = {"float64": "float64", "float32": "float32", "float16": "float32", "bfloat16": "float32"}
# Both views are anchors; in the other losses the rows of the first input are.
TWO_VIEWS = {"NTXent", "HCL", "DCL"}


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


def _truth(
    name, inputs, labels, *, upstream=1.0, value=None, by_loops=False, cancels=True, **stated
) -> Truth:
    """By the dense formula; `value` replaces its value by that of the loops, as `by_loops` does.

    Without `cancels` the gradient is measured by its own largest entry alone.
    """
    if by_loops:
        value = LOSSES[name].loops(*(x.tolist() for x in inputs), *labels, **stated)
    leaves = [torch.tensor(x, requires_grad=True) for x in inputs]
    result = LOSSES[name].dense(*leaves, *labels, **stated)
    upstream = torch.as_tensor(upstream, dtype=torch.float64).expand(result.shape)
    gradients = [g.numpy() for g in torch.autograd.grad(result, leaves, upstream)]

    largest_logit, softmax = _units(name, [x.detach() for x in leaves], cancels, stated)
    weight = float(upstream.abs().max()) * stated.get("scale", 1.0)
    if stated.get("scale_by") == "temperature":
        weight *= stated["temperature"]
    if stated.get("reduction", "mean") == "mean":
        weight /= len(leaves[0]) * (2 if name in TWO_VIEWS else 1)
    return Truth(
        value=result.detach().numpy() if value is None else np.asarray(value),
        gradients=gradients,
        largest_logit=largest_logit,
        softmax_gradient=weight * softmax,
    )


def _units(name, inputs, cancels, stated) -> tuple[float, float]:
    """The largest logit, and the largest entry of one anchor's softmax gradient."""
    defaults = {f.name: f.default for f in fields(getattr(nf, name))}
    stated = {**defaults, **stated}
    if "distance" in stated:
        anchor, *others = inputs
        if others:
            apart = torch.cat([dense.paired(anchor, x, stated["distance"]) for x in others])
        else:
            apart = dense.distances(anchor, anchor, stated["distance"])
        return float(apart.max()), 0.0
    rows = torch.cat([x.reshape(-1, x.shape[-1]) for x in inputs])
    units = {key: stated[key] for key in ("similarity", "temperature")}
    scores = dense.similarities(rows, rows, units["similarity"])
    if not stated.get("include_self"):
        scores.fill_diagonal_(0)
    largest = float(scores.abs().max()) / units["temperature"] + abs(stated.get("bias", 0.0))
    return largest, dense.largest_softmax_gradient(rows, **units) if cancels else 0.0


def assert_value(framework, got, want: Truth, dtype, about=""):
    """Value, dtype and array type; `dtype` is that of the inputs."""
    assert framework.owns(got), f"{about}: a {type(got).__name__}"
    assert framework.dtype(got) == COMPUTE[dtype], about
    assert tuple(got.shape) == want.value.shape, about
    error = np.abs(framework.read(got) - want.value)
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
        error = np.abs(framework.read(one) - other).max()
        assert error <= allowed, f"{about}, input {at}: off by {error:.2e}, allowed {allowed:.2e}"


def check(framework, name, inputs, *labels, dtype="float64", about="", want=None, **stated):
    """Value and gradient of the mean (or sum) of a loss on `inputs` rounded to `dtype`."""
    arrays = [framework.asarray(x, dtype) for x in inputs]
    rounded = [framework.read(x) for x in arrays]
    want = want or truth(name, rounded, *labels, **stated)
    loss = getattr(nf, name)(**stated)
    value, gradients = framework.differentiate(
        loss, arrays, *(framework.labels(label) for label in labels)
    )
    assert_value(framework, value, want, dtype, about)
    assert_gradients(framework, gradients, want, dtype, about)
    return value, gradients


def check_weighted(framework, loss, x, labels, want, dtype, upstream=1.0, about=""):
    """Value and, where the framework can, gradient under an upstream vector."""
    x, labels = framework.asarray(x, dtype), framework.labels(labels)
    if not framework.differentiable:
        assert_value(framework, loss(x, labels), want, dtype, about)
        if loss.reduction == "none":
            return
    value, gradients = framework.differentiate(loss, [x], labels, upstream=upstream)
    assert_value(framework, value, want, dtype, about)
    assert_gradients(framework, gradients, want, dtype, about)


def check_learned(framework, name, inputs, *labels, learned, **stated):
    """Scalars given at the call: their gradients come last, in the order of `learned`."""
    scalars = {key: torch.tensor(x, dtype=torch.float64) for key, x in learned.items()}
    leaves = [torch.tensor(np.asarray(x, dtype=np.float64)) for x in inputs]
    leaves = [x.requires_grad_() for x in (*leaves, *scalars.values())]
    result = LOSSES[name].dense(*leaves[: len(inputs)], *labels, **stated, **scalars)
    want = [g.numpy() for g in torch.autograd.grad(result, leaves)]

    loss = getattr(nf, name)(**stated)
    arrays = [framework.asarray(x) for x in (*inputs, *learned.values())]
    labels = [framework.labels(label) for label in labels]

    def call(*arrays):
        embeddings, scalars = arrays[: len(inputs)], arrays[len(inputs) :]
        return loss(*embeddings, *labels, **dict(zip(learned, scalars, strict=True)))

    value, gradients = loss.value_and_grad(
        *arrays[: len(inputs)], *labels, **dict(zip(learned, arrays[len(inputs) :], strict=True))
    )
    results = [(1.0, value, gradients)]
    if framework.differentiable:
        results.append((3.0, *framework.differentiate(call, arrays, upstream=3.0)))
    for upstream, value, gradients in results:
        assert abs(float(value) - float(result.detach())) < 1e-12 * max(1, abs(float(value)))
        assert len(gradients) == len(want)
        for got, other in zip(gradients, want, strict=True):
            assert framework.owns(got), f"a {type(got).__name__}"
            assert framework.dtype(got) == "float64"
            assert tuple(got.shape) == other.shape
            np.testing.assert_allclose(
                framework.read(got), upstream * other, rtol=1e-12, atol=1e-12
            )

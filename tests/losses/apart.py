"""Losses of distances against their oracles, within the bounds that the library promises."""

import numpy as np
import torch
from agreement import Truth, assert_gradients, assert_value
from oracles import batchtriplet, dense, pairmargin

_FORMULAS = {
    "BatchTriplet": (dense.batchtriplet, batchtriplet.batchtriplet),
    "PairMargin": (dense.pairmargin, pairmargin.pairmargin),
}
_KNOWN: dict[tuple, Truth] = {}


def exact(name, x, labels, **how) -> Truth:
    """See `_exact`; worked out once for all frameworks."""
    x, labels = np.array(x, dtype=np.float64, order="C"), np.asarray(labels).tolist()
    key = (name, x.shape, x.tobytes(), repr(labels), repr(how))
    if key not in _KNOWN:
        _KNOWN[key] = _exact(name, x, labels, **how)
    return _KNOWN[key]


def _exact(name, x, labels, *, upstream=1.0, by_loops=False, **stated) -> Truth:
    """By the dense formula, or the value by the loops."""
    formula, loops = _FORMULAS[name]
    leaf = torch.tensor(x, requires_grad=True)
    result = formula(leaf, labels, **stated)
    upstream = torch.as_tensor(upstream, dtype=torch.float64).expand(result.shape)
    (gradient,) = torch.autograd.grad(result, leaf, upstream)
    value = np.asarray(loops(x.tolist(), labels, **stated)) if by_loops else result.detach().numpy()
    apart = dense.distances(*[leaf.detach()] * 2, stated.get("distance", "euclidean"))
    # Its bounds count distances as those of the other losses count logits.
    return Truth(value, [gradient.numpy()], float(apart.max()), softmax_gradient=0.0)


def check(framework, loss, x, labels, want, dtype, upstream=1.0, about=""):
    """Value and, where the framework can, gradient under an upstream vector."""
    x, labels = framework.asarray(x, dtype), framework.labels(labels)
    if not framework.differentiable:
        assert_value(framework, loss(x, labels), want, dtype, about)
        if loss.reduction == "none":
            return
    value, gradients = framework.differentiate(loss, [x], labels, upstream=upstream)
    assert_value(framework, value, want, dtype, about)
    assert_gradients(framework, gradients, want, dtype, about)

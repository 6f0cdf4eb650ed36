"""SupCon in all its conventions: values of the loops, gradients of the dense formulas."""

from functools import cache

import numpy as np
import pytest
from oracles import conventions, differences, supcon
from support.agreement import Truth, assert_gradients, assert_value, truth
from support.backends import FLOAT_DTYPES, FRAMEWORKS
from support.covering import sampled

import nearfar as nf

RNG = np.random.default_rng(11)
# Rows of different norms, exact in float32; classes of three, two, one and one.
X = (RNG.normal(size=(7, 3)) * RNG.uniform(0.5, 2.0, size=(7, 1))).astype(np.float32)
LABELS = [1, 0, 0, 2, 1, 0, 3]
UPSTREAM = {"mean": 3.0, "sum": 3.0, "none": [3.0, -1.0, 0.5, 2.0, 1.5, -2.5, 4.0]}
STATED = {"temperature": 0.4, "scale": 1.25}

GROUPS = {}
for convention in conventions.SUPCON:
    shown = {key: convention[key] for key in ("similarity", "denominator", "positives", "average")}
    GROUPS.setdefault(conventions.name(shown), []).append(convention)


@cache
def expected(reduction, **fields) -> Truth:
    fields = {**fields, **STATED, "reduction": reduction}
    value = supcon.supcon(X.tolist(), LABELS, **fields)
    return truth("SupCon", [X], LABELS, upstream=UPSTREAM[reduction], value=value, **fields)


@sampled("framework, dtype, named", FRAMEWORKS.values(), FLOAT_DTYPES, GROUPS)
def test_values_and_gradients(framework, dtype, named):
    x, labels = framework.asarray(X, dtype), framework.labels(LABELS)
    for fields in GROUPS[named]:
        for reduction in conventions.REDUCTIONS:
            about = f"{conventions.name(fields)}-{reduction}"
            loss = nf.SupCon(**fields, **STATED, reduction=reduction)
            want = expected(reduction, **fields)
            if not framework.differentiable:
                assert_value(framework, loss(x, labels), want, dtype, about)
                if reduction == "none":
                    continue
            value, gradients = framework.differentiate(
                loss, [x], labels, upstream=UPSTREAM[reduction]
            )
            assert_value(framework, value, want, dtype, about)
            assert_gradients(framework, gradients, want, dtype, about)


@pytest.mark.parametrize("fields", conventions.SUPCON, ids=conventions.name)
def test_gradient_is_the_slope_of_the_loops(fields):
    x, labels = X[:6].astype(np.float64), [0, 1, 0, 2, 0, 1]
    _, (got,) = nf.SupCon(**fields, temperature=0.6).value_and_grad(x, labels)
    (want,) = differences.gradient(
        lambda rows: supcon.supcon(rows, labels, **fields, temperature=0.6), [x]
    )
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)


def test_value_and_grad_agrees_with_the_call(framework, dtype):
    x, labels = framework.asarray(X, dtype), framework.labels(LABELS)
    for reduction in ("mean", "sum"):
        loss = nf.SupCon(reduction=reduction)
        want = truth("SupCon", [X], LABELS, reduction=reduction)
        value, gradients = loss.value_and_grad(x, labels)
        assert isinstance(gradients, tuple)
        assert_value(framework, value, want, dtype)
        assert_gradients(framework, gradients, want, dtype)

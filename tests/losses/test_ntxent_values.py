"""NT-Xent in all its conventions, and against equation 1 written out on random views; DCL."""

import warnings
from functools import cache

import numpy as np
import pytest
from oracles import conventions, differences, ntxent
from support.agreement import Truth, assert_gradients, assert_value, check, check_learned, truth
from support.backends import FLOAT_DTYPES, FRAMEWORKS
from support.covering import sampled

import nearfar as nf

RNG = np.random.default_rng(12)
A = (RNG.normal(size=(4, 3)) * RNG.uniform(0.5, 2.0, size=(4, 1))).astype(np.float32)
B = (A + 0.8 * RNG.normal(size=(4, 3))).astype(np.float32)
UPSTREAM = {"mean": 3.0, "sum": 3.0, "none": [3.0, -1.0, 0.5, 2.0, 1.5, -2.5, 4.0, 1.0]}
STATED = {"temperature": 0.4, "scale": 1.25}


@cache
def expected(reduction, **fields) -> Truth:
    fields = {**fields, **STATED, "reduction": reduction}
    value = ntxent.ntxent(A.tolist(), B.tolist(), **fields)
    return truth("NTXent", [A, B], upstream=upstream(reduction, fields), value=value, **fields)


def upstream(reduction, fields):
    given = UPSTREAM[reduction]
    return given[:4] if reduction == "none" and fields.get("anchors") == "first" else given


@sampled(
    "framework, dtype, fields, reduction",
    FRAMEWORKS.values(),
    FLOAT_DTYPES,
    conventions.NTXENT,
    conventions.REDUCTIONS,
)
def test_values_and_gradients(framework, dtype, fields, reduction):
    views = [framework.asarray(A, dtype), framework.asarray(B, dtype)]
    loss = nf.NTXent(**fields, **STATED, reduction=reduction)
    want = expected(reduction, **fields)
    if not framework.differentiable:
        assert_value(framework, loss(*views), want, dtype)
        if reduction == "none":
            return
    given = upstream(reduction, fields)
    value, gradients = framework.differentiate(loss, views, upstream=given)
    assert_value(framework, value, want, dtype)
    assert_gradients(framework, gradients, want, dtype)


@pytest.mark.parametrize("fields", conventions.NTXENT, ids=conventions.name)
def test_gradient_is_the_slope_of_the_loops(fields):
    a, b = A[:3].astype(np.float64), B[:3].astype(np.float64)
    _, got = nf.NTXent(**fields, temperature=0.6).value_and_grad(a, b)
    want = differences.gradient(
        lambda *views: ntxent.ntxent(*views, **fields, temperature=0.6), [a, b]
    )
    for one, other in zip(got, want, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("shape", [(6, 5), (6, 4, 3)], ids=str)
def test_double_loop_over_two_n_anchors(framework, shape):
    """SimCLR eq. 1 with temperature 1; several feature axes are one long row."""
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=shape), rng.normal(size=shape)
    want = ntxent.ntxent(a.reshape(6, -1).tolist(), b.reshape(6, -1).tolist(), temperature=1.0)
    value = nf.NTXent(temperature=1.0)(framework.asarray(a), framework.asarray(b))
    assert abs(float(value) - want) < 1e-13


def test_one_positive_makes_own_positive_the_same_as_all(framework, dtype):
    views = [framework.asarray(A, dtype), framework.asarray(B, dtype)]
    want = truth("NTXent", [A, B], denominator="all", include_self=True)
    loss = nf.NTXent(denominator="own_positive", include_self=True)
    assert_value(framework, loss(*views), want, dtype)


def test_the_same_array_as_both_views(framework, dtype):
    """Each argument gets its own gradient; in torch the one tensor gets their sum."""
    check(framework, "NTXent", [A, A], dtype=dtype)
    x = framework.asarray(A, dtype)
    want = truth("NTXent", [A, A])
    value, gradients = nf.NTXent().value_and_grad(x, x)
    assert_value(framework, value, want, dtype)
    assert_gradients(framework, gradients, want, dtype)


@pytest.mark.parametrize("reduction", conventions.REDUCTIONS)
@pytest.mark.parametrize("fields", conventions.DCL, ids=conventions.name)
def test_dcl(framework, dtype, fields, reduction):
    """NT-Xent whose denominators are the negatives, to the last bit."""
    views = [framework.asarray(A, dtype), framework.asarray(B, dtype)]
    fields = {**fields, **STATED, "reduction": reduction}
    value = ntxent.dcl(A.tolist(), B.tolist(), **fields)
    want = truth("DCL", [A, B], upstream=UPSTREAM[reduction], value=value, **fields)
    results = []
    for loss in (nf.DCL(**fields), nf.NTXent(denominator="negatives", **fields)):
        if not framework.differentiable and reduction == "none":
            value, gradients = loss(*views), []
        else:
            value, gradients = framework.differentiate(loss, views, upstream=UPSTREAM[reduction])
            assert_gradients(framework, gradients, want, dtype)
        assert_value(framework, value, want, dtype)
        results.append([framework.read(x) for x in (value, *gradients)])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_dcl_defaults(framework, dtype):
    """Temperature 0.1, and the loss may be below 0."""
    value, _ = check(framework, "DCL", [A, B], dtype=dtype)
    assert abs(float(value) - ntxent.dcl(A.tolist(), B.tolist(), temperature=0.1)) < 1e-4
    with pytest.raises(TypeError, match="denominator"):
        nf.DCL(denominator="all")


def test_dcl_learned_temperature(framework):
    check_learned(framework, "DCL", [A, B], learned={"temperature": 0.7}, similarity="dot")


def test_dcl_of_one_pair(framework, dtype):
    """No negatives: as if the anchors had no positive."""
    views = [framework.asarray(x[:1], dtype) for x in (A, B)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value, gradients = nf.DCL().value_and_grad(*views)
    assert len(caught) == (framework.name == "numpy")
    assert float(value) == 0
    assert all((framework.read(g) == 0).all() for g in gradients)

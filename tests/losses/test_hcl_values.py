"""HCL and the debiased loss: both sides of the floor, weights with and without a gradient."""

from functools import cache

import numpy as np
import pytest
from oracles import conventions, differences, hcl
from support.agreement import Truth, assert_gradients, assert_value, check, check_learned, truth
from support.backends import FLOAT_DTYPES, FRAMEWORKS
from support.covering import sampled

import nearfar as nf

# With these views some anchors are at the floor of the estimate and some are not, under every
# similarity and every tau_plus above 0; none is so near that rounding could carry it across.
RNG = np.random.default_rng(105)
A = (RNG.normal(size=(4, 3)) * RNG.uniform(0.5, 2.0, size=(4, 1))).astype(np.float32)
B = (A + 0.8 * RNG.normal(size=(4, 3))).astype(np.float32)
UPSTREAM = {"mean": 3.0, "sum": 3.0, "none": [3.0, -1.0, 0.5, 2.0, 1.5, -2.5, 4.0, 1.0]}
STATED = {"temperature": 0.4, "scale": 1.25}
ATTACHED = [fields for fields in conventions.HCL if not fields["detach_weights"]]


@cache
def expected(reduction, **fields) -> Truth:
    fields = {**fields, **STATED, "reduction": reduction}
    value = hcl.hcl(A.tolist(), B.tolist(), **fields)
    return truth("HCL", [A, B], upstream=UPSTREAM[reduction], value=value, **fields)


def at_floor(*views, **fields) -> list[bool]:
    found = hcl.estimates(*(x.tolist() for x in views), **fields)
    assert min(abs(raw - floor) for _, raw, floor in found) > 0.05
    return [raw < floor for _, raw, floor in found]


@sampled("framework, dtype, fields", FRAMEWORKS.values(), FLOAT_DTYPES, conventions.HCL)
def test_values_and_gradients(framework, dtype, fields):
    views = [framework.asarray(A, dtype), framework.asarray(B, dtype)]
    clamped = at_floor(A, B, temperature=STATED["temperature"], **fields)
    assert fields["tau_plus"] == 0 or 0 < sum(clamped) < 8
    for reduction in conventions.REDUCTIONS:
        loss = nf.HCL(**fields, **STATED, reduction=reduction)
        want = expected(reduction, **fields)
        if not framework.differentiable:
            assert_value(framework, loss(*views), want, dtype, reduction)
            if reduction == "none":
                continue
        value, gradients = framework.differentiate(loss, views, upstream=UPSTREAM[reduction])
        assert_value(framework, value, want, dtype, reduction)
        assert_gradients(framework, gradients, want, dtype, reduction)


@pytest.mark.parametrize("fields", conventions.HCL, ids=conventions.name)
def test_gradient_is_the_slope_of_the_loops(fields):
    """Detached weights stay where they are while the rows move."""
    views = [A.astype(np.float64), B.astype(np.float64)]
    held = {"weights_at": views} if fields["detach_weights"] else {}
    _, got = nf.HCL(**fields, temperature=0.4).value_and_grad(*views)
    want = differences.gradient(
        lambda *rows: hcl.hcl(*rows, **fields, **held, temperature=0.4), views
    )
    for one, other in zip(got, want, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_without_correction_and_weights_it_is_ntxent(framework, reduction):
    views = [framework.asarray(A), framework.asarray(B)]
    fields = {"temperature": 0.4, "scale": 1.25, "reduction": reduction}
    value, gradients = nf.HCL(tau_plus=0.0, beta=0.0, **fields).value_and_grad(*views)
    want_value, want_gradients = nf.NTXent(**fields).value_and_grad(*views)
    assert abs(float(value) - float(want_value)) < 1e-12
    for got, want in zip(gradients, want_gradients, strict=True):
        np.testing.assert_allclose(framework.read(got), framework.read(want), rtol=0, atol=1e-12)


@pytest.mark.parametrize("tau_plus", [0.0, 0.1])
def test_detached_weights_change_the_gradient_and_not_the_value(framework, tau_plus):
    views = [framework.asarray(A), framework.asarray(B)]
    (value, moving), (same, held) = (
        nf.HCL(detach_weights=detach, tau_plus=tau_plus).value_and_grad(*views)
        for detach in (False, True)
    )
    assert float(value) == float(same)
    for one, other in zip(moving, held, strict=True):
        assert np.abs(framework.read(one) - framework.read(other)).max() > 1e-3


def test_equal_weights_have_no_gradient_to_detach(framework):
    views = [framework.asarray(A), framework.asarray(B)]
    _, moving = nf.HCL(beta=0.0).value_and_grad(*views)
    _, held = nf.HCL(beta=0.0, detach_weights=True).value_and_grad(*views)
    for one, other in zip(moving, held, strict=True):
        np.testing.assert_allclose(framework.read(one), framework.read(other), atol=1e-13)


@pytest.mark.parametrize("detach_weights", [False, True], ids=["moving", "detached"])
@pytest.mark.parametrize("tau_plus", [0.0, 0.1])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_learned_temperature(framework, similarity, tau_plus, detach_weights):
    """The floor moves with the temperature, and so does a clamped anchor's loss."""
    fields = {"similarity": similarity, "tau_plus": tau_plus}
    if tau_plus > 0:
        assert 0 < sum(at_floor(A, B, temperature=0.4, **fields)) < 8
    check_learned(
        *(framework, "HCL", [A, B]),
        learned={"temperature": 0.4},
        detach_weights=detach_weights,
        scale=1.25,
        **fields,
    )


def test_defaults(framework, dtype):
    """Temperature 0.5, tau_plus 0.1, beta 1."""
    value = hcl.hcl(A.tolist(), B.tolist())
    check(framework, "HCL", [A, B], dtype=dtype, want=truth("HCL", [A, B], value=value))


def far_views():
    """Eight directions and their second views at small angles, in rows of unequal length."""
    rng = np.random.default_rng(7)
    a = np.eye(8, 9) + 0.05 * rng.normal(size=(8, 9))
    b = np.eye(8, 9) + 0.05 * rng.normal(size=(8, 9))
    return [(x * rng.uniform(0.5, 2.0, size=(8, 1))).astype(np.float32) for x in (a, b)]


def test_every_anchor_at_the_floor(framework, dtype):
    """The loss is of the size of exp(-2 / temperature), keeps its digits, and pulls pairs only."""
    views = far_views()
    assert all(at_floor(*views, temperature=0.1))
    want = hcl.hcl(*(x.tolist() for x in views), temperature=0.1)
    exact = truth("HCL", views, temperature=0.1)
    assert 1e-8 < want < 1e-7
    arrays = [framework.asarray(x, dtype) for x in views]
    value, gradients = framework.differentiate(nf.HCL(temperature=0.1), arrays)
    relative = {"float32": 1e-5, "float64": 1e-11}[dtype]
    assert abs(float(value) / want - 1) < relative
    largest = max(np.abs(g).max() for g in exact.gradients)
    for got, other in zip(gradients, exact.gradients, strict=True):
        assert np.abs(framework.read(got) - other).max() < relative * largest
    # Row 0 is seen by its own second view alone.
    moved = [x.copy() for x in views]
    moved[0][0] += 0.1
    losses = [
        framework.read(
            nf.HCL(temperature=0.1, reduction="none")(*(framework.asarray(x) for x in both))
        )
        for both in (views, moved)
    ]
    assert [*np.flatnonzero(losses[0] != losses[1])] == [0, 8]


@pytest.mark.parametrize("temperature", [0.02, 0.005, 50.0])
@pytest.mark.parametrize(("tau_plus", "beta"), [(0.1, 1.0), (0.0, 1.0), (0.1, 0.0), (0.0, 3.0)])
def test_temperatures_whose_exponentials_leave_the_dtype(
    framework, dtype, temperature, tau_plus, beta
):
    """exp((1 + beta) / 0.005) is far outside float64."""
    check(
        *(framework, "HCL", [A, B]),
        dtype=dtype,
        temperature=temperature,
        tau_plus=tau_plus,
        beta=beta,
    )


def test_one_pair_of_views(framework, dtype):
    """No negatives: 0, and counted, so nobody is warned."""
    views = [framework.asarray(x[:1], dtype) for x in (A, B)]
    for fields in ATTACHED:
        value, gradients = nf.HCL(**fields).value_and_grad(*views)
        assert float(value) == 0
        assert framework.dtype(value) == dtype
        assert all((framework.read(g) == 0).all() for g in gradients)
        losses = framework.read(nf.HCL(**fields, reduction="none")(*views))
        assert losses.tolist() == [0, 0]


@sampled("framework, dtype, fields", FRAMEWORKS.values(), FLOAT_DTYPES, ATTACHED)
def test_the_same_array_as_both_views(framework, dtype, fields):
    check(framework, "HCL", [A, A], dtype=dtype, temperature=0.45, **fields)


def test_moco_and_the_easy_form_of_hcl(framework):
    """Cross-entropy with class 0 over [positive, negatives], and -log of the ratio: one loss."""
    rows, n = np.concatenate([A, B]), len(A)
    partners = np.roll(rows, n, axis=0)
    others = [[j for j in range(2 * n) if j % n != i % n] for i in range(2 * n)]
    views = [framework.asarray(x) for x in (A, B)]
    easy = float(nf.HCL(temperature=0.3, tau_plus=0.0, beta=0.0)(*views))
    moco = [framework.asarray(x) for x in (rows, partners, rows[np.array(others)])]
    assert abs(float(nf.InfoNCE(temperature=0.3)(*moco)) - easy) < 1e-12
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    e = np.exp(unit @ unit.T / 0.3)
    own = e[np.arange(2 * n), (np.arange(2 * n) + n) % (2 * n)]
    ratio = own / (own + np.array([e[i, j].sum() for i, j in enumerate(others)]))
    assert abs(-np.log(ratio).mean() - easy) < 1e-12

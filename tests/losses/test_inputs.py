"""Shapes, dtypes and memory layouts of the embeddings."""

import numpy as np
import pytest
import torch
from support.agreement import assert_gradients, assert_value, check, truth
from support.backends import FRAMEWORKS

import nearfar as nf

RNG = np.random.default_rng(41)
A, B = RNG.normal(size=(5, 6)), RNG.normal(size=(5, 6))
LABELS = [0, 1, 0, 1, 1]
TARGETS = [0.5, 1.0, 0.25, 4.0, 2.0]
EVERY = {
    "NTXent": ([A, B],),
    "InfoNCE": ([A, B],),
    "SupCon": ([A], LABELS),
    "HCL": ([A, B],),
    "DCL": ([A, B],),
    "CLIP": ([A, B],),
    "SigLIP": ([A, B],),
    "SupCR": ([A], TARGETS),
    "Triplet": ([A, B, B[::-1] + A],),
}
NUMPY, TORCH = FRAMEWORKS["numpy"], FRAMEWORKS["torch"]
HALVES = [
    pytest.param(framework, half, id=f"{framework.name}-{half}")
    for framework in FRAMEWORKS.values()
    for half in framework.half_dtypes
]


@pytest.mark.parametrize("name", [name for name, given in EVERY.items() if len(given) == 1])
def test_several_feature_axes(framework, dtype, name):
    """(N, 2, 3) is (N, 6), and the gradient comes back as (N, 2, 3); rows with labels or targets
    have two axes only, since further ones are views as often as features."""
    (inputs,) = EVERY[name]
    want = truth(name, [x.astype(dtype) for x in inputs])
    folded = [framework.asarray(x.reshape(5, 2, 3), dtype) for x in inputs]
    value, gradients = framework.differentiate(getattr(nf, name)(), folded)
    assert_value(framework, value, want, dtype)
    assert [tuple(g.shape) for g in gradients] == [(5, 2, 3)] * len(inputs)
    assert_gradients(framework, [g.reshape(5, 6) for g in gradients], want, dtype)


@pytest.mark.parametrize("spell", [np.asarray, lambda x: x.tolist()], ids=["array", "list"])
@pytest.mark.parametrize("name", EVERY)
def test_integers_and_lists_become_float64(name, spell):
    _, *labels = EVERY[name]
    rng = np.random.default_rng(42)
    inputs = [rng.integers(-5, 6, size=(5, 3)) for _ in EVERY[name][0]]
    want = truth(name, inputs, *labels)
    value, gradients = getattr(nf, name)().value_and_grad(*(spell(x) for x in inputs), *labels)
    assert_value(NUMPY, value, want, "float64")
    assert_gradients(NUMPY, gradients, want, "float64")


def test_small_integers_do_not_overflow():
    rows = np.array([[100, 100], [100, -100], [90, 110], [-100, 100]], dtype=np.int8)
    want = truth("SupCon", [rows], [0, 1, 0, 1], similarity="neg_sqeuclidean", temperature=1e4)
    value = nf.SupCon(similarity="neg_sqeuclidean", temperature=1e4)(rows, [0, 1, 0, 1])
    assert_value(NUMPY, value, want, "float64")


@pytest.mark.parametrize(("framework", "half"), HALVES)
@pytest.mark.parametrize("similarity", ["cosine", "dot", "neg_euclidean", "neg_sqeuclidean"])
def test_half_precision_is_computed_in_float32(framework, half, similarity):
    """Inputs are rounded once; value float32, gradients in the inputs' dtype."""
    fields = {"similarity": similarity, "temperature": 0.5}
    check(framework, "NTXent", [A, B], dtype=half, **fields)
    check(framework, "SupCon", [A], LABELS, dtype=half, denominator="own_positive", **fields)
    check(framework, "InfoNCE", [A, B, B[::-1] + A], dtype=half, **fields)
    for name in ("HCL", "DCL", "CLIP", "SigLIP"):
        check(framework, name, [A, B], dtype=half, about=name, **fields)
    check(framework, "SupCR", [A], TARGETS, dtype=half, **fields)


@pytest.mark.parametrize(("framework", "half"), HALVES)
@pytest.mark.parametrize("distance", ["euclidean", "sqeuclidean", "cityblock", "cosine"])
def test_half_precision_of_triplets(framework, half, distance):
    rows = [A, B, B[::-1] + A]
    check(framework, "Triplet", rows, dtype=half, distance=distance, margin=3.0)


@pytest.mark.parametrize(("framework", "half"), HALVES)
def test_half_precision_value_is_as_good_as_float32(framework, half):
    rounded = [framework.read(framework.asarray(x, half)) for x in (A, B)]
    want = truth("NTXent", rounded, temperature=0.05)
    got = nf.NTXent(temperature=0.05)(*(framework.asarray(x, half) for x in (A, B)))
    assert abs(float(got) - want.value) < 2e-6 * (1 + want.value + want.largest_logit)


def test_mixed_dtypes_are_computed_in_the_wider(framework):
    a, b = framework.asarray(A, "float32"), framework.asarray(B, "float64")
    want = truth("NTXent", [A.astype(np.float32), B])
    value, gradients = framework.differentiate(nf.NTXent(), [a, b])
    assert_value(framework, value, want, "float64")
    assert [framework.dtype(g) for g in gradients] == ["float32", "float64"]
    for got, exact in zip(gradients, want.gradients, strict=True):
        np.testing.assert_allclose(framework.read(got), exact, rtol=1e-6, atol=1e-7)


def test_mixed_halves_are_computed_in_float32():
    a, b = TORCH.asarray(A, "float16"), TORCH.asarray(B, "bfloat16")
    want = truth("NTXent", [TORCH.read(a), TORCH.read(b)])
    value, gradients = TORCH.differentiate(nf.NTXent(), [a, b])
    assert_value(TORCH, value, want, "float32")
    assert [TORCH.dtype(g) for g in gradients] == ["float16", "bfloat16"]


def test_read_only_and_strided_numpy():
    """Neither is written to; every layout gives the same number."""
    want = truth("NTXent", [A, B])
    read_only = [A.copy(), B.copy()]
    for x in read_only:
        x.flags.writeable = False
    strided = [np.repeat(x, 2, axis=1)[:, ::2] for x in (A, B)]
    fortran = [np.asfortranarray(x) for x in (A, B)]
    reversed_twice = [x[::-1].copy()[::-1] for x in (A, B)]
    for views in (read_only, strided, fortran, reversed_twice):
        value, gradients = nf.NTXent().value_and_grad(*views)
        assert_value(NUMPY, value, want, "float64")
        assert_gradients(NUMPY, gradients, want, "float64")


def test_strided_torch():
    want = truth("NTXent", [A, B])
    wide = [torch.tensor(np.repeat(x, 2, axis=1))[:, ::2].requires_grad_() for x in (A, B)]
    turned = [torch.tensor(x.T.copy()).T.requires_grad_() for x in (A, B)]
    for views in (wide, turned):
        assert not views[0].is_contiguous()
        value = nf.NTXent()(*views)
        assert_value(TORCH, value, want, "float64")
        assert_gradients(TORCH, torch.autograd.grad(value, views), want, "float64")


def test_inputs_are_left_alone(framework, dtype):
    """What the library reuses are its own buffers, float32 and float64 inputs included."""
    for similarity in ("cosine", "dot", "neg_euclidean", "neg_sqeuclidean"):
        x, y = framework.asarray(A, dtype), framework.asarray(B, dtype)
        before = framework.read(x).copy(), framework.read(y).copy()
        framework.differentiate(nf.NTXent(similarity=similarity), [x, y])
        framework.differentiate(nf.InfoNCE(similarity=similarity), [x, y])
        framework.differentiate(nf.SupCon(similarity=similarity), [x], LABELS)
        framework.differentiate(nf.HCL(similarity=similarity), [x, y])
        framework.differentiate(nf.CLIP(similarity=similarity), [x, y])
        framework.differentiate(nf.SigLIP(similarity=similarity), [x, y])
        framework.differentiate(nf.SupCR(similarity=similarity), [x], TARGETS)
        framework.differentiate(nf.Triplet(margin=3.0), [x, y, y])
        nf.NTXent(similarity=similarity).value_and_grad(x, y)
        np.testing.assert_array_equal(framework.read(x), before[0])
        np.testing.assert_array_equal(framework.read(y), before[1])


def test_targets_are_left_alone(framework):
    for targets in (np.array(TARGETS), np.array([[1, 2], [3, 4], [0, 1], [5, 5], [2, 2]])):
        for label_distance in ("l1", "l2"):
            given = framework.labels(targets.copy())
            loss = nf.SupCR(label_distance=label_distance)
            framework.differentiate(loss, [framework.asarray(A)], given)
            np.testing.assert_array_equal(np.asarray(framework.read(given)), targets)


def test_arrays_of_one_dimension_each(framework):
    """d = 1: the cosine is a sign."""
    x = np.array([[1.0], [-2.0], [0.5], [3.0]])
    check(framework, "SupCon", [x], [0, 1, 0, 1], temperature=0.5)
    check(framework, "NTXent", [x, -x + 0.1], similarity="neg_euclidean")
    check(framework, "HCL", [x, -x + 0.1])
    check(framework, "CLIP", [x, -x + 0.1], similarity="neg_euclidean")
    check(framework, "SigLIP", [x, -x + 0.1])
    check(framework, "SupCR", [x], [0.5, 1.0, 0.25, 4.0])
    check(framework, "Triplet", [x, -x + 0.1, x + 1])


@pytest.mark.parametrize("stored", [">f8", "<f8"])
@pytest.mark.parametrize("name", EVERY)
def test_either_byte_order(name, stored):
    """Files of other machines: computed in the precision they have, targets and labels too."""
    inputs, *rest = EVERY[name]
    loss = getattr(nf, name)()
    value, gradients = loss.value_and_grad(
        *(x.astype(stored) for x in inputs), *(np.asarray(x, dtype=stored) for x in rest)
    )
    want, wanted = loss.value_and_grad(*inputs, *rest)
    assert value.dtype == np.float64
    assert value == want
    for one, other in zip(gradients, wanted, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("stored", [">i4", ">f4", ">f8"])
def test_torch_with_targets_of_either_byte_order(stored):
    x, targets = torch.tensor(A), np.array([3, 1, 4, 1, 5])
    want = nf.SupCR()(x, torch.tensor(targets))
    assert nf.SupCR()(x, targets.astype(stored)) == want

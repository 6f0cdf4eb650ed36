"""Any temperature from 1e-3 to 1e3, rows of any length, logits of any size."""

import dataclasses
from functools import cache

import numpy as np
import pytest
from oracles import conventions
from support.agreement import Truth, assert_gradients, assert_value, check, truth
from support.backends import FLOAT_DTYPES, FRAMEWORKS
from support.covering import sampled

import nearfar as nf

RNG = np.random.default_rng(101)
X = (RNG.normal(size=(6, 4)) * RNG.uniform(0.5, 2.0, size=(6, 1))).astype(np.float32)
Y = RNG.normal(size=(6, 4)).astype(np.float32)
QUEUE = RNG.normal(size=(4, 4)).astype(np.float32)
LABELS = [0, 1, 0, 2, 0, 1]
TARGETS = [0.25, 1.0, 0.5, 1.0, -0.25, 2.5]
STATEMENTS = [
    ("NTXent", (X, Y), (), {}),
    ("NTXent", (X, Y), (), {"denominator": "negatives", "include_self": True}),
    ("InfoNCE", (X, Y), (), {}),
    ("InfoNCE", (X, Y, QUEUE), (), {}),
    *(
        ("SupCon", (X,), (LABELS,), {"denominator": denominator, "positives": positives})
        for denominator, positives in (
            ("all", "mean_log"),
            ("all", "log_sum"),
            ("own_positive", "mean_log"),
            ("own_positive", "log_mean"),
            ("negatives", "sum_log"),
            ("negatives", "log_mean"),
        )
    ),
    ("HCL", (X, Y), (), {}),
    ("HCL", (X, Y), (), {"tau_plus": 0.0, "beta": 0.5}),
    ("DCL", (X, Y), (), {}),
    ("CLIP", (X, Y), (), {}),
    ("SigLIP", (X, Y), (), {}),
    ("SupCR", (X,), (TARGETS,), {}),
    ("SupCR", (X,), (TARGETS,), {"order": "nearer"}),
]


@cache
def expected(at, **fields) -> Truth:
    name, inputs, labels, more = STATEMENTS[at]
    return truth(name, inputs, *labels, by_loops=True, **more, **fields)


@sampled(
    "framework, dtype, similarity, temperature",
    FRAMEWORKS.values(),
    FLOAT_DTYPES,
    conventions.SIMILARITIES,
    [1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3],
)
def test_temperatures(framework, dtype, similarity, temperature):
    for at, (name, inputs, labels, more) in enumerate(STATEMENTS):
        fields = {"similarity": similarity, "temperature": temperature}
        want = expected(at, **fields)
        about = f"{name} {more} {len(inputs)}"
        check(
            framework, name, inputs, *labels, dtype=dtype, about=about, want=want, **more, **fields
        )


@pytest.mark.parametrize("spread", [100, 200, 600, 1500])
def test_spread_of_the_logits(framework, dtype, spread):
    """Numbers past every overflow and underflow of exp: 88 in float32, 709 in float64."""
    rows = np.array([[1.0, 0], [-1, 0.1], [0.6, 0.8], [0, 1], [0.9, -0.1]]) * np.sqrt(spread)
    for denominator in conventions.DENOMINATORS:
        fields = {"similarity": "dot", "temperature": 1.0, "denominator": denominator}
        check(framework, "SupCon", [rows], [0, 0, 1, 1, 2], dtype=dtype, **fields)


@pytest.mark.parametrize("sign", [1, -1])
def test_logits_of_ten_thousand(framework, dtype, sign):
    """Dot products of +-1e4: the hardest pair keeps its gradient."""
    rows = np.array([[100.0, 0], [-100, 10], [60, 80], [-90, 30], [10, -99]])
    fields = {"similarity": "dot", "temperature": 1.0}
    labels = [0, 0, 1, 1, 2] if sign > 0 else [0, 1, 0, 1, 2]
    for denominator in conventions.DENOMINATORS:
        check(framework, "SupCon", [rows], labels, dtype=dtype, denominator=denominator, **fields)
    check(framework, "InfoNCE", [rows, sign * rows], dtype=dtype, **fields)


@pytest.mark.parametrize("size", [1e-20, 1e20])
def test_rows_of_any_length_under_cosine(framework, dtype, size):
    """Squares of such rows are 0 or infinite in float32; their direction is ordinary."""
    for name, inputs, labels, more in STATEMENTS:
        inputs = [x * size for x in inputs]
        fields = {"similarity": "cosine", "temperature": 0.2, **more}
        check(framework, name, inputs, *labels, dtype=dtype, about=name, **fields)


@pytest.mark.parametrize("size", [1e-150, 1e150])
def test_rows_of_any_length_in_float64(framework, size):
    check(framework, "NTXent", [np.float64(X) * size, np.float64(Y) * size], temperature=0.2)


def test_rows_of_different_lengths_under_cosine(framework, dtype):
    """Each row's gradient is right in its own unit, one over the row's length."""
    sizes = np.array([1e-20, 1e20, 1.0, 1e-10, 1e10, 1e-20])[:, None]
    x = framework.asarray(X * sizes, dtype)
    want = truth("SupCon", [framework.read(x)], LABELS)
    value, (got,) = framework.differentiate(nf.SupCon(), [x], framework.labels(LABELS))
    assert_value(framework, value, want, dtype)
    off = (framework.read(got) - want.gradients[0]) * sizes
    largest = np.abs(want.gradients[0] * sizes).max()
    assert np.abs(off).max() < {"float32": 2e-5, "float64": 1e-12}[dtype] * largest


@pytest.mark.parametrize("size", [1e-8, 1e8])
def test_distances_of_any_size(framework, dtype, size):
    """Scaling rows and temperature together changes nothing but the unit of the gradient."""
    for similarity, unit in (("neg_euclidean", size), ("neg_sqeuclidean", size**2)):
        fields = {"similarity": similarity, "temperature": 0.5 * unit}
        check(framework, "NTXent", [X * size, Y * size], dtype=dtype, **fields)


@pytest.mark.parametrize(
    ("framework", "half"),
    [(f, half) for f in FRAMEWORKS.values() for half in f.half_dtypes],
    ids=lambda x: getattr(x, "name", x),
)
@pytest.mark.parametrize("temperature", [0.09, 0.01, 0.001])
def test_half_precision_at_low_temperature(framework, half, temperature):
    """exp(1 / 0.09) is infinite in float16, and so is any large constant used as a mask."""
    for name, inputs, labels, more in STATEMENTS:
        about = f"{name} {more}"
        check(
            framework,
            name,
            inputs,
            *labels,
            dtype=half,
            about=about,
            temperature=temperature,
            **more,
        )


@pytest.mark.parametrize("size", [1e-20, 1e20])
def test_triplets_of_any_length_under_cosine(framework, dtype, size):
    rows = [X * size, Y * size, X[::-1] * size]
    check(framework, "Triplet", rows, dtype=dtype, distance="cosine", margin=0.5)


@pytest.mark.parametrize("size", [1e-15, 1e15])
def test_triplets_of_any_size(framework, dtype, size):
    """Squares of 1e30 and 1e-30 are still numbers of float32."""
    rows = [X * size, Y * size, X[::-1] * size]
    for distance, unit in (("euclidean", size), ("sqeuclidean", size**2), ("chebyshev", size)):
        fields = {"distance": distance, "margin": 0.5 * unit}
        check(framework, "Triplet", rows, dtype=dtype, about=distance, **fields)


@pytest.mark.parametrize("features", [4, 12])
@pytest.mark.parametrize("size", [1e-25, 1e20])
def test_distances_whose_squares_are_no_numbers(framework, dtype, size, features):
    x, y = (np.repeat(z, features // 4, axis=1) * size for z in (X, Y))
    check(
        framework, "Triplet", [x, y, x[::-1]], dtype=dtype, margin=0.5 * size, distance="euclidean"
    )
    for name in ("NTXent", "CLIP", "InfoNCE"):
        fields = {"similarity": "neg_euclidean", "temperature": 1.0}
        check(framework, name, [x, y], dtype=dtype, about=name, **fields)
    rows = framework.asarray(np.concatenate([x, y]), dtype)
    labels = framework.labels([0, 0, 1, 1, 2, 2] * 2)
    for mining in ("all", "hard"):
        loss = nf.BatchTriplet(mining=mining, margin=0.5 * size)
        value, (got,) = framework.differentiate(loss, [rows], labels)
        plain = nf.BatchTriplet(mining=mining, margin=0.5)
        wide = framework.read(rows) / size
        want, (gradient,) = plain.value_and_grad(wide, [0, 0, 1, 1, 2, 2] * 2)
        assert float(framework.read(value)) == pytest.approx(want * size, rel=1e-5)
        np.testing.assert_allclose(framework.read(got), gradient, atol=1e-6)


def test_distances_whose_sum_is_no_number(framework):
    z = np.random.default_rng(2).normal(size=(40, 12)) * 1.5e18
    loss = nf.BatchTriplet(mining="semihard", distance="sqeuclidean")
    labels = np.repeat(np.arange(20), 2)
    rows = framework.asarray(z, "float32")
    value, _ = framework.differentiate(loss, [rows], framework.labels(labels))
    assert float(framework.read(value)) == pytest.approx(float(loss(z, labels)), rel=1e-5)


@pytest.mark.parametrize("temperature", [0.07, 0.03, 0.02, 0.01])
def test_unrelated_rows_keep_their_digits(framework, temperature):
    """N31: no neighbour is near 1, so sums shifted by 1 / temperature would be denormal."""
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 64, 512)).astype(np.float32)
    want = truth("NTXent", [a, b], cancels=False, temperature=temperature)
    arrays = [framework.asarray(x, "float32") for x in (a, b)]
    value, gradients = framework.differentiate(nf.NTXent(temperature=temperature), arrays)
    assert_value(framework, value, want, "float32")
    assert_gradients(framework, gradients, want, "float32")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("temperature", [1e-3, 1.0])
def test_what_underflows_by_intent_is_no_error(dtype, temperature):
    """In programs that trap the errors of NumPy; rows far apart and exponentials of 0."""
    for name, inputs, labels, more in STATEMENTS:
        loss = getattr(nf, name)(temperature=temperature, **more)
        rows = [100 * x.astype(dtype) for x in inputs]
        for similarity in conventions.SIMILARITIES:
            one = dataclasses.replace(loss, similarity=similarity)
            with np.errstate(all="raise"):
                one(*rows, *labels)
                one.value_and_grad(*rows, *labels)

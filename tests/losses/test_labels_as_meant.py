"""Inputs that look like labels or rows and are meant otherwise: refused, or NaN, never taken."""

import operator

import numpy as np
import pytest
import torch
from support.backends import BACKENDS, DIFFERENTIABLE
from support.covering import sampled

import nearfar as nf

RNG = np.random.default_rng(91)
VIEWS = RNG.normal(size=(6, 3, 4))
LABELS = np.array([0, 1, 0, 2, 1, 0])
TARGETS = LABELS / 2
OF_LABELS = [nf.SupCon(temperature=0.5), nf.BatchTriplet(margin=1.0), nf.PairMargin()]
ALL = [*((loss, LABELS) for loss in OF_LABELS), (nf.SupCR(), TARGETS)]
COMPILED = {
    "torch": "torch.compile, dynamic batch", "tensorflow": "tf.function", "jax": "jit",
}  # fmt: skip
SOFT = {
    "smoothed": np.eye(3)[LABELS] * 0.9 + 0.1 / 3,
    "mixed": 0.7 * np.eye(3)[LABELS] + 0.3 * np.eye(3)[LABELS[::-1]],
    "counts": np.eye(3, dtype=np.int64)[LABELS] * 2,
    "negative": -np.eye(3)[LABELS],
}
each_backend = pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)


@each_backend
@pytest.mark.parametrize(("loss", "rest"), ALL, ids=lambda x: getattr(x, "family", None) and str(x))
def test_views_of_rows_are_refused_and_flatten_views_is_named(backend, loss, rest):
    features, beside = backend.asarray(VIEWS), backend.labels(rest)
    name = loss.inputs[1]
    message = rf"received \(6, 3, 4\).*\*nearfar.flatten_views\(embeddings, {name}\).*\(6, 12\)"
    calls = [loss, loss.explain, lambda *x: loss.value_and_grad(*x, wrt=(0,))]
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call(features, beside)


@each_backend
@pytest.mark.parametrize("given", ["framework", "list", "several"])
def test_flatten_views(backend, given):
    labels = {
        "framework": backend.labels(LABELS),
        "list": LABELS.tolist(),
        "several": backend.labels(np.eye(3, dtype=np.int64)[LABELS]),
    }[given]
    rows, repeated = nf.flatten_views(backend.asarray(VIEWS, "float32"), labels)
    assert backend.owns(rows)
    assert backend.dtype(rows) == "float32"
    assert tuple(rows.shape) == (18, 4)
    assert np.asarray(repeated).tolist() == np.repeat(np.asarray(labels), 3, axis=0).tolist()
    apart = np.concatenate([VIEWS[:, k] for k in range(3)]).astype(np.float32)
    want = nf.SupCon()(apart.astype(np.float64), np.tile(LABELS, 3))
    np.testing.assert_allclose(float(nf.SupCon()(rows, repeated)), want, rtol=1e-5)


def test_flatten_views_without_labels_makes_the_views_of_a_row_its_class():
    rows, labels = nf.flatten_views(VIEWS[:, :2])
    want = nf.NTXent(temperature=0.1)(VIEWS[:, 0], VIEWS[:, 1])
    np.testing.assert_allclose(nf.SupCon()(rows, labels), want, rtol=1e-12)


@pytest.mark.parametrize("backend", DIFFERENTIABLE.values(), ids=DIFFERENTIABLE)
def test_flatten_views_is_differentiable(backend):
    def loss(features):
        return nf.SupCon()(*nf.flatten_views(features, LABELS))

    _, (slope,) = backend.read_derivatives(loss, [backend.asarray(VIEWS)], upstream=3.0)
    _, (want,) = nf.SupCon().value_and_grad(VIEWS.reshape(18, 4), np.repeat(LABELS, 3))
    np.testing.assert_allclose(slope, 3 * want.reshape(VIEWS.shape), atol=1e-12)


@pytest.mark.parametrize(
    ("features", "labels", "words"),
    [
        (VIEWS[:, 0], None, r"\(n, views, d\); received \(6, 4\)"),
        (VIEWS, LABELS[:5], r"as many labels .* 6; received shape \(5,\)"),
    ],
)
def test_flatten_views_of_other_shapes(features, labels, words):
    with pytest.raises(ValueError, match=words):
        nf.flatten_views(features, labels)


@sampled("loss, kind, name", OF_LABELS, SOFT, COMPILED, ids=str)
def test_soft_labels(loss, kind, name):
    """Refused where the host reads them; NaN in programs that cannot, value and gradient."""
    backend, labels = BACKENDS[name], SOFT[kind]
    with pytest.raises(ValueError, match="labels with two axes to hold 0 and 1 only"):
        loss(backend.asarray(VIEWS[:, 0]), backend.labels(labels))
    value, (slope,) = backend.read_derivatives(
        loss, [backend.asarray(VIEWS[:, 0])], backend.labels(labels), mode=COMPILED[name]
    )
    assert np.isnan(value)
    assert np.isnan(slope).all()


@pytest.mark.parametrize("loss", OF_LABELS, ids=str)
def test_soft_labels_are_nan_after_simplification_too(loss):
    """PyTorch's default compiler, which takes long, folds products with 0, whatever the other."""
    products = []

    def simplify(graph, _):
        products.extend(
            node for node in graph.graph.nodes
            if node.target in (operator.mul, torch.mul, "mul", "mul_") and 0 in node.args
        )  # fmt: skip
        return graph.forward

    torch.compiler.reset()
    labels = torch.tensor(SOFT["smoothed"])
    assert torch.compile(loss, backend=simplify)(torch.tensor(VIEWS[:, 0]), labels).isnan()
    assert not products


@pytest.mark.long
@sampled("loss, kind, name", OF_LABELS, ["int64", "float32", "bool"], COMPILED, ids=str)
def test_several_labels_a_row_mean_the_same_when_compiled(loss, kind, name):
    backend, labels = BACKENDS[name], np.eye(4, dtype=kind)[:, :3][LABELS]
    labels[0, 2] = 1
    want, (slope,) = loss.value_and_grad(VIEWS[:, 0], labels)
    got, (one,) = backend.read_derivatives(
        loss, [backend.asarray(VIEWS[:, 0])], backend.labels(labels), mode=COMPILED[name]
    )
    np.testing.assert_allclose(got, want, rtol=1e-12)
    np.testing.assert_allclose(one, slope, atol=1e-12)


@each_backend
@pytest.mark.parametrize(
    "labels",
    [
        [None, "a", "b", "a", None, "b"],
        [0.0, 1.0, float("nan"), 1.0, 0.0, 2.0],
        np.array(["2020-01-01", "NaT", "2020-01-02"] * 2, dtype="M8[D]"),
        np.ma.masked_array(LABELS, [0, 0, 1, 0, 0, 1]),
    ],
    ids=["None", "NaN", "NaT", "masked"],
)
def test_missing_labels_are_no_class(backend, labels):
    with pytest.raises(ValueError, match=r"labels without NaN or others that are missing.*row"):
        nf.SupCon()(backend.asarray(VIEWS[:, 0]), labels)


@pytest.mark.long
@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.parametrize("loss", OF_LABELS, ids=str)
def test_nan_equals_nothing_in_compiled_programs_too(loss, name):
    """As where the host reads labels and is told to let NaN through."""
    backend, labels = BACKENDS[name], np.array([np.nan, 1.0, np.nan, 1.0, 2.0, 2.0])
    lax = loss.with_options(check_finite=False)
    want, (slope,) = lax.value_and_grad(VIEWS[:, 0], labels)
    got, (one,) = backend.read_derivatives(
        loss, [backend.asarray(VIEWS[:, 0])], backend.labels(labels), mode=COMPILED[name]
    )
    np.testing.assert_allclose(got, want, rtol=1e-12)
    np.testing.assert_allclose(one, slope, atol=1e-12)


def test_labels_before_embeddings():
    with pytest.raises(ValueError, match="labels and targets come after the embeddings"):
        nf.SupCon()(LABELS, VIEWS[:, 0])

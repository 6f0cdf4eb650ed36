"""nearfar.metrics of every framework's arrays: any dtype, with a gradient, on a device."""

import jax
import ml_dtypes
import numpy as np
import pandas
import pytest
import tensorflow as tf
import torch
from support.covering import sampled

from nearfar import metrics
from nearfar.frameworks import namespace_of
from nearfar.metrics import device, reach, search

jax.config.update("jax_enable_x64", True)

RNG = np.random.default_rng(5)
# Halves that bfloat16 holds exactly, so that every dtype has the same rows; many of them tie.
X = (RNG.integers(-6, 7, (60, 5)) / 2).astype(np.float64)
Y = np.repeat([0, 1, 2], 20)
X += Y[:, None]
OTHER = X[RNG.permutation(60)]

# Of each measure, how it is called with arrays made by `f` (embeddings) and `g` (labels).
CALLS = {
    "knn_accuracy": lambda f, g: metrics.knn_accuracy(f(X), g(Y)),
    "knn_r2": lambda f, g: metrics.knn_r2(f(X), f(X[:, 0] ** 2), k=4),
    "recall_at_k": lambda f, g: metrics.recall_at_k(f(X), g(Y), f(OTHER), g(Y), k=2),
    "map_at_r": lambda f, g: metrics.map_at_r(f(X), g(Y)),
    "r_precision": lambda f, g: metrics.r_precision(f(X), g(Y), metric="cityblock"),
    "alignment": lambda f, g: metrics.alignment(f(X), g(Y), alpha=1.5),
    "uniformity": lambda f, g: metrics.uniformity(f(X)),
    "effective_rank": lambda f, g: metrics.effective_rank(f(X)),
}
WANT = {name: call(np.asarray, np.asarray) for name, call in CALLS.items()}
NAMES = ("numpy", "torch", "tensorflow", "jax")


def of(framework, dtype):
    """How rows become arrays of it; PyTorch's want a gradient, as a model's outputs do."""
    if framework == "numpy":
        return lambda x: x.astype(getattr(ml_dtypes, dtype, None) or dtype)
    if framework == "torch":
        return lambda x: torch.tensor(x, dtype=getattr(torch, dtype)).requires_grad_()
    if framework == "tensorflow":
        return lambda x: tf.cast(x, dtype)
    return lambda x: jax.numpy.asarray(x, dtype)


def labels_of(framework):
    return {"numpy": np.asarray, "torch": torch.tensor, "tensorflow": tf.constant}.get(
        framework, jax.numpy.asarray
    )


def test_every_measure_is_called():
    assert set(CALLS) == set(metrics.__all__)


@sampled("name, framework, dtype", CALLS, NAMES, ["float16", "bfloat16", "float32", "float64"])
def test_any_dtype(name, framework, dtype):
    rows = of(framework, dtype)
    got = CALLS[name](rows, labels_of(framework))
    assert type(got) is float
    # Squares of the targets of knn_r2 are no halves; those of the embeddings are not rounded.
    assert got == pytest.approx(WANT[name], rel=1e-2 if name == "knn_r2" else 1e-12)


@pytest.mark.parametrize("name", CALLS)
def test_lists_of_tensors(name):
    rows, labels = of("torch", "bfloat16"), labels_of("torch")
    got = CALLS[name](lambda x: list(rows(x)), lambda y: list(labels(y)))
    assert got == pytest.approx(WANT[name], rel=1e-2 if name == "knn_r2" else 1e-12)


@pytest.mark.parametrize("framework", NAMES)
def test_not_finite_and_not_real_are_named(framework):
    rows = of(framework, "bfloat16")
    bad = X.copy()
    bad[7, 1] = np.nan
    with pytest.raises(ValueError, match=r"embeddings must be finite.*row 7"):
        metrics.uniformity(rows(bad))
    with pytest.raises(TypeError, match="embeddings must hold real numbers"):
        metrics.uniformity(labels_of(framework)(X + 1j))


MISSING = {
    "NaN": np.array([0, np.nan, 1.0]),
    "NaN among strings": np.array(["a", np.nan, "b"], dtype=object),
    "None": np.array(["a", None, "a"], dtype=object),
    "NaT": np.array(["2020-01-01", "NaT", "NaT"], dtype="datetime64[D]"),
    "masked": np.ma.array([0, 0, 1], mask=[False, True, False]),
    "pandas' NA": pandas.Series([0, None, 1], dtype="Int64"),
    "PyTorch's NaN": torch.tensor([0.0, torch.nan, 1.0]).bfloat16(),
}


@pytest.mark.parametrize("labels", MISSING.values(), ids=MISSING)
@pytest.mark.parametrize("name", sorted(set(CALLS) - {"knn_r2", "uniformity", "effective_rank"}))
def test_missing_labels_are_no_class(name, labels):
    with pytest.raises(ValueError, match="missing labels, received one in row 1"):
        getattr(metrics, name)(np.eye(3), labels)


def test_masked_rows_are_not_finite():
    with pytest.raises(ValueError, match=r"embeddings must be finite.*row 2"):
        metrics.uniformity(np.ma.masked_equal(np.arange(1, 9).reshape(4, 2), 6))


@pytest.fixture(params=["torch", "tensorflow", "jax"])
def on_device(request, monkeypatch):
    """Arrays that say they lie on an accelerator, and nothing that the host would do for them."""
    ns = namespace_of([("x", of(request.param, "float32")(X))])
    monkeypatch.setattr(type(ns), "accelerated", lambda self, x: True)

    def not_here(*_, **__):
        raise AssertionError("compared on the host")

    monkeypatch.setattr(reach.OnHost, "within_reach", not_here)
    monkeypatch.setattr(np.linalg, "svd", not_here)
    return request.param


@pytest.fixture(params=[True, False], ids=["float64", "no float64"])
def wide(request, on_device, monkeypatch):
    if not request.param:
        ns = namespace_of([("x", of(on_device, "float32")(X))])
        monkeypatch.setattr(type(ns), "double", lambda self, x: self.cast(x, self.xp.float32))
    return request.param


@sampled(
    "name, on_device, wide, tile",
    CALLS,
    ["torch", "tensorflow", "jax"],
    [True, False],
    [700, 2**20],
    indirect=["on_device", "wide"],
)
def test_on_a_device(name, on_device, wide, tile, monkeypatch):
    if name == "r_precision" and not wide:
        pytest.skip("other distances than Euclid's are the host's without float64")
    monkeypatch.setattr(device, "TILE", tile)
    got = CALLS[name](of(on_device, "float32"), labels_of(on_device))
    assert type(got) is float
    assert got == pytest.approx(WANT[name], rel=1e-6)


QUERIES, ROWS = X[:20], np.repeat(X[:8], 10, axis=0)
LABELS, WANTED = np.arange(80) % 7, np.arange(20) % 7


def recalls(f, metric):
    return [
        metrics.recall_at_k(f(QUERIES), WANTED, f(ROWS), LABELS, k=k, metric=metric)
        for k in (1, 4, 12)
    ]


TIED = {metric: recalls(np.asarray, metric) for metric in search.METRICS}


@pytest.mark.parametrize("metric", search.METRICS)
def test_ties_beyond_what_a_device_brings_back(metric, on_device, wide, monkeypatch):
    """More equal rows than are spared: their order is that of their places all the same."""
    if metric in ("cityblock", "chebyshev", "hamming") and not wide:
        pytest.skip("the host's without float64")
    monkeypatch.setattr(reach, "SPARE", 3)
    assert recalls(of(on_device, "float32"), metric) == TIED[metric]


@pytest.mark.parametrize("metric", ["cityblock", "chebyshev", "hamming"])
def test_the_host_compares_where_single_precision_would_not_do(metric, monkeypatch):
    ns = namespace_of([("x", of("torch", "float32")(X))])
    monkeypatch.setattr(type(ns), "accelerated", lambda self, x: True)
    monkeypatch.setattr(type(ns), "double", lambda self, x: self.cast(x, self.xp.float32))
    assert recalls(of("torch", "float32"), metric) == TIED[metric]

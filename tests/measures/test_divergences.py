"""Divergences and cross-entropies, against loops, SciPy and PyTorch."""

import numpy as np
import pytest
import torch
from oracles import differences, measures
from scipy.special import rel_entr
from support.backends import DIFFERENTIABLE, PROGRAMS

from nearfar import divergences

RNG = np.random.default_rng(6)
P, Q = RNG.dirichlet(np.ones(4), size=5), RNG.dirichlet(np.ones(4), size=5)
Y, R = RNG.uniform(0.1, 0.9, size=(2, 5, 4))
X = RNG.normal(size=(5, 4))
CLASSES = [0, 3, 1, 1, 2]
INF = float("inf")
UPSTREAM = 3.0


def from_logits(y, q, reduction="mean"):
    return divergences.binary_cross_entropy(y, q, from_logits=True, reduction=reduction)


CASES = {
    "kl": (divergences.kl, measures.kl, (P, Q)),
    "entropy": (divergences.entropy, measures.entropy, (P,)),
    "cross_entropy": (divergences.cross_entropy, measures.cross_entropy, (P, Q)),
    "binary": (divergences.binary_cross_entropy, measures.binary_cross_entropy, (Y, R)),
    "binary logits": (from_logits, measures.binary_cross_entropy_from_logits, (Y, X)),
    "softmax": (divergences.softmax_cross_entropy, measures.softmax_cross_entropy, (X, P)),
}
with_cases = pytest.mark.parametrize(
    ("function", "oracle", "arrays"), CASES.values(), ids=list(CASES)
)
with_gradients = pytest.mark.parametrize("backend", DIFFERENTIABLE.values(), ids=DIFFERENTIABLE)


def derivatives(backend, function, inputs, mode=None):
    """JAX compiles every operation by itself where it is eager."""
    mode = mode or ("jit" if backend.name == "jax" else "eager")
    return backend.read_derivatives(function, inputs, upstream=UPSTREAM, mode=mode)


@with_cases
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_values(backend, function, oracle, arrays, reduction):
    want = measures.reduce(oracle(*(x.tolist() for x in arrays)), reduction)
    for dtype, rtol in (("float64", 1e-13), ("float32", 2e-6)):
        found = function(*(backend.asarray(x, dtype) for x in arrays), reduction=reduction)
        assert backend.owns(found)
        assert backend.dtype(found) == dtype
        np.testing.assert_allclose(backend.read(found), want, rtol=rtol, atol=rtol)


@with_cases
@pytest.mark.parametrize(("backend", "mode"), PROGRAMS.values(), ids=PROGRAMS)
def test_gradients(backend, mode, function, oracle, arrays):
    value, found = derivatives(backend, function, [backend.asarray(x) for x in arrays], mode)

    def plain(*arrays):
        return measures.reduce(oracle(*arrays), "mean")

    np.testing.assert_allclose(value, plain(*(x.tolist() for x in arrays)), rtol=1e-13)
    slopes = differences.gradient(lambda *x: UPSTREAM * plain(*x), arrays)
    for g, slope in zip(found, slopes, strict=True):
        np.testing.assert_allclose(g, slope, rtol=1e-6, atol=1e-8)


def test_class_numbers(backend):
    want = measures.softmax_cross_entropy(X.tolist(), CLASSES)
    for classes in (backend.asarray(CLASSES, "int64"), CLASSES):
        found = divergences.softmax_cross_entropy(backend.asarray(X), classes, "none")
        np.testing.assert_allclose(backend.read(found), want, rtol=1e-13)


@pytest.mark.parametrize(("backend", "mode"), PROGRAMS.values(), ids=PROGRAMS)
def test_gradients_of_class_numbers(backend, mode):
    t = backend.asarray(CLASSES, "int64")
    _, (found,) = derivatives(
        backend,
        lambda x: divergences.softmax_cross_entropy(x, t),
        [backend.asarray(X)],
        mode,
    )
    soft = np.exp(X) / np.exp(X).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, UPSTREAM * (soft - np.eye(4)[CLASSES]) / 5, atol=1e-14)


def test_figure_entropy_and_divergence_add_up(backend):
    p, q = backend.asarray(P), backend.asarray(Q)
    parts = divergences.entropy(p) + divergences.kl(p, q)
    np.testing.assert_allclose(divergences.cross_entropy(p, q), parts, rtol=1e-14)


def test_public_implementations():
    p, q, x, y = (torch.tensor(v) for v in (P, Q, X, Y))
    np.testing.assert_allclose(divergences.kl(P, Q, "none"), rel_entr(P, Q).sum(1), rtol=1e-13)
    close = torch.testing.assert_close
    f = torch.nn.functional
    close(divergences.kl(p, q, "sum"), f.kl_div(q.log(), p, reduction="sum"))
    close(divergences.softmax_cross_entropy(x, p), f.cross_entropy(x, p))
    classes = torch.tensor(CLASSES)
    close(divergences.softmax_cross_entropy(x, classes), f.cross_entropy(x, classes))
    close(divergences.binary_cross_entropy(y, q), f.binary_cross_entropy(q, y))
    close(from_logits(y, x), f.binary_cross_entropy_with_logits(x, y))


ZEROS_P = np.array([[0.0, 1.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.5, 0.5]])
ZEROS_Q = np.array([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])


def test_zeros(backend):
    p, q = backend.asarray(ZEROS_P), backend.asarray(ZEROS_Q)
    for function in (divergences.kl, divergences.cross_entropy):
        np.testing.assert_array_equal(backend.read(function(p, q, "none")), [0, INF, INF])
    want = [0, np.log(2), np.log(2)]
    np.testing.assert_allclose(backend.read(divergences.entropy(p, "none")), want, rtol=1e-15)
    y, r = backend.asarray([0.0, 1.0, 0.0, 1.0, 0.5]), backend.asarray([0.0, 1.0, 1.0, 0.0, 0.0])
    found = divergences.binary_cross_entropy(y, r, reduction="none")
    np.testing.assert_array_equal(backend.read(found), [0, 0, INF, INF, INF])


@with_gradients
def test_gradients_at_zeros_are_numbers(backend):
    p, q = backend.asarray(ZEROS_P), backend.asarray(ZEROS_Q)
    y, r = backend.asarray([0.0, 1.0, 0.0, 1.0, 0.5]), backend.asarray([0.0, 1.0, 1.0, 0.0, 0.0])
    for function, inputs in (
        (divergences.kl, [p, q]),
        (divergences.cross_entropy, [p, q]),
        (divergences.entropy, [p]),
        (divergences.binary_cross_entropy, [y, r]),
    ):
        _, found = derivatives(backend, function, inputs)
        assert all(np.isfinite(g).all() for g in found)


@with_gradients
def test_logits_of_any_size(backend):
    x, y = np.array([-1e4, -40.0, 0.0, 40.0, 1e4]), np.array([1.0, 1.0, 1.0, 1.0, 0.0])
    value, (_, found) = derivatives(
        backend,
        lambda y, x: from_logits(y, x, "none"),
        [backend.asarray(y, "float32"), backend.asarray(x, "float32")],
    )
    np.testing.assert_allclose(value, [1e4, 40, np.log(2), np.exp(-40.0), 1e4], rtol=1e-6)
    sigmoid = [0, np.exp(-40.0), 0.5, 1, 1]
    np.testing.assert_allclose(found, UPSTREAM * (sigmoid - y), atol=1e-6)

    x = np.array([[1e4, 0.0, 0.0], [0.0, 40.0, -INF], [3.0, 3.0, 3.0]])
    for target in ([0, 1, 2], np.eye(3)):
        integers = isinstance(target, list)
        t = backend.asarray(target, "int32" if integers else "float32")
        value, (found,) = derivatives(
            backend,
            lambda x, t=t: divergences.softmax_cross_entropy(x, t, "none"),
            [backend.asarray(x, "float32")],
        )
        np.testing.assert_allclose(value, [0, np.exp(-40.0), np.log(3)], rtol=1e-6)
        small = np.exp(-40.0)
        want = [[0, 0, 0], [small, -small, 0], [1 / 3, 1 / 3, -2 / 3]]
        np.testing.assert_allclose(found, np.multiply(UPSTREAM, want), rtol=1e-5, atol=3e-7)
    forbidden = divergences.softmax_cross_entropy(backend.asarray(x), [0, 2, 2], "none")
    assert backend.read(forbidden)[1] == INF


def test_tiny_probabilities(backend):
    """p / q leaves float32; log(1 - q) of a small q is -q."""
    p, q = backend.asarray([1.0, 0.0], "float32"), backend.asarray([2e-38, 1.0], "float32")
    np.testing.assert_allclose(divergences.kl(p, q), -np.log(2e-38), rtol=1e-6)
    y, q = backend.asarray([0.0], "float32"), backend.asarray([1e-12], "float32")
    np.testing.assert_allclose(divergences.binary_cross_entropy(y, q), 1e-12, rtol=1e-6)


def test_near_distributions_keep_their_digits(backend):
    p = np.array([0.3, 0.7], dtype=np.float32)
    q = np.array([0.30001, 0.69999], dtype=np.float32)
    (want,) = measures.kl([p.tolist()], [q.tolist()])
    found = divergences.kl(backend.asarray(p, "float32"), backend.asarray(q, "float32"))
    assert abs(float(found) - want) < 1e-11


def test_integers_halves_and_shapes(backend):
    sure = backend.asarray([[1, 0, 0], [0, 0, 1]], "int32")
    found = divergences.cross_entropy(sure, backend.asarray(np.full((2, 3), 1 / 3)), "none")
    np.testing.assert_allclose(backend.read(found), np.log(3))
    assert divergences.entropy(sure) == 0
    half = divergences.entropy(backend.asarray([0.5, 0.5], "float16"))
    assert backend.dtype(half) == "float32"
    np.testing.assert_allclose(half, np.log(2), rtol=1e-6)
    cube = backend.asarray(np.stack([P, Q]))
    assert tuple(divergences.entropy(cube, "none").shape) == (2, 5)
    assert tuple(divergences.kl(cube, cube).shape) == ()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: divergences.kl(P, Q[:3]), ValueError, r"p and q.*\(5, 4\) and \(3, 4\)"),
        (lambda: divergences.kl(P, Q, "batchmean"), ValueError, "reduction.*'sum'.*batchmean"),
        (lambda: divergences.entropy(-P), ValueError, "p to hold probabilities.*-0"),
        (lambda: divergences.cross_entropy(P, Q * np.nan), ValueError, "q to hold.*nan"),
        (lambda: divergences.entropy(0.5), ValueError, r"p of shape.*\(\)"),
        (lambda: divergences.entropy(P[:, :0]), ValueError, r"p of shape.*\(5, 0\)"),
        (lambda: divergences.binary_cross_entropy(Y, X), ValueError, "q to hold.*0 to 1.*logits"),
        (lambda: divergences.binary_cross_entropy(2 * Y + 1, R), ValueError, "y to hold"),
        (lambda: divergences.binary_cross_entropy(Y, R, "yes"), TypeError, "from_logits.*'yes'"),
        (lambda: divergences.kl(P + 0j, Q), TypeError, "p to hold real.*complex128"),
        (lambda: divergences.kl(P, torch.tensor(Q)), TypeError, "numpy.*torch"),
        (
            lambda: divergences.softmax_cross_entropy(X, [0, 1]),
            ValueError,
            r"logits \(5, 4\) and target \(2,\)",
        ),
        (
            lambda: divergences.softmax_cross_entropy(X, [0.0, 1, 2, 3, 0]),
            TypeError,
            "target.*class numbers.*floats",
        ),
        (
            lambda: divergences.softmax_cross_entropy(
                torch.tensor(X), torch.tensor([0, 1, 4, 3, 0])
            ),
            ValueError,
            "target.*0 to 3.*received 4",
        ),
        (lambda: divergences.softmax_cross_entropy(X, -P), ValueError, "target to hold"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_unreadable_class_numbers_give_nan():
    import jax
    import jax.numpy as jnp

    found = jax.jit(lambda x, t: divergences.softmax_cross_entropy(x, t, "none"))(
        jnp.asarray(X), jnp.asarray([0, -1, 4, 1, 2])
    )
    np.testing.assert_array_equal(np.isnan(found), [False, True, True, False, False])

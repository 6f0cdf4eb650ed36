"""Distances of rows and norms of matrices, against loops and SciPy."""

import functools
import gc
import warnings
import weakref

import jax
import numpy as np
import pytest
import tensorflow as tf
import torch
from oracles import differences, measures
from scipy.spatial.distance import cdist
from support.backends import DIFFERENTIABLE, PROGRAMS
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nearfar import distances

RNG = np.random.default_rng(5)
A, B = RNG.normal(size=(5, 3)), RNG.normal(size=(4, 3))
METRICS = [
    ("euclidean", 2),
    ("sqeuclidean", 2),
    ("cityblock", 2),
    ("chebyshev", 2),
    ("minkowski", 3.5),
    ("minkowski", 1),
    ("minkowski", float("inf")),
    ("cosine", 2),
    ("hamming", 2),
]
SMOOTH = [(m, p) for m, p in METRICS if m != "hamming" and p not in (1, float("inf"))]
UPSTREAM = 3.0
# PyTorch's own transforms use it.
TORCH_SCRIPT = pytest.mark.filterwarnings(
    "ignore:.torch.jit.script. is deprecated:DeprecationWarning"
)
SCIPY = {"minkowski": lambda p: {"p": p}}
DUPLICATES = np.array([[1.0, 2.0, 2.0], [1.0, 2.0, 2.0], [0.0, 0.0, 0.0], [1.0, 3.0, 2.0]])


def derivatives(backend, function, inputs, mode="eager"):
    return backend.read_derivatives(function, inputs, upstream=UPSTREAM, mode=mode)


def quickest(backend):
    """JAX compiles every operation by itself where it is eager."""
    return "jit" if backend.name == "jax" else "eager"


def expected(a, b, metric, p):
    if metric == "minkowski" and p == float("inf"):
        metric = "chebyshev"
    return np.array(measures.pairwise(a.tolist(), b.tolist(), metric, p))


@pytest.mark.parametrize(("metric", "p"), METRICS)
def test_pairwise_and_paired(backend, metric, p):
    b = np.concatenate([B, A[:2]])  # equal rows among them
    want = expected(A, b, metric, p)
    for dtype, rtol in (("float64", 1e-13), ("float32", 2e-6)):
        x, y = backend.asarray(A, dtype), backend.asarray(b, dtype)
        found = distances.pairwise(x, y, metric, p)
        assert backend.owns(found)
        assert backend.dtype(found) == dtype
        np.testing.assert_allclose(backend.read(found), want, rtol=rtol, atol=rtol)
        found = distances.paired(x, y[:5], metric, p)
        assert backend.dtype(found) == dtype
        np.testing.assert_allclose(backend.read(found), want.diagonal(), rtol=rtol, atol=rtol)


@pytest.mark.parametrize(("metric", "p"), METRICS)
def test_scipy(metric, p):
    for a, b in ((A, B), (DUPLICATES[[0, 1, 3]], DUPLICATES[[3, 0, 1]])):
        want = cdist(a, b, metric, **SCIPY.get(metric, lambda p: {})(p))
        found = distances.pairwise(a, b, metric, p)
        np.testing.assert_allclose(found, want, rtol=1e-13, atol=1e-15)


GRADIENTS = [
    pytest.param(
        backend,
        mode,
        metric,
        p,
        id=f"{kind}-{metric}",
        # The metrics share their loop, so that one stands for all where compiling takes seconds.
        marks=[pytest.mark.long] * (mode != "eager" and metric != "minkowski"),
    )
    for kind, (backend, mode) in PROGRAMS.items()
    for metric, p in SMOOTH
]


@pytest.mark.parametrize(("backend", "mode", "metric", "p"), GRADIENTS)
def test_gradients(backend, mode, metric, p):
    for function, b in (("pairwise", B), ("paired", B)):
        a = A if function == "pairwise" else A[: len(b)]
        value, found = derivatives(
            backend,
            lambda x, y, f=function: getattr(distances, f)(x, y, metric, p),
            [backend.asarray(a), backend.asarray(b)],
            mode,
        )
        oracle = getattr(measures, function)
        np.testing.assert_allclose(value, oracle(a.tolist(), b.tolist(), metric, p), rtol=1e-13)
        slopes = differences.gradient(
            lambda x, y, o=oracle: UPSTREAM * np.sum(o(x, y, metric, p)), [a, b]
        )
        for g, slope in zip(found, slopes, strict=True):
            np.testing.assert_allclose(g, slope, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("backend", DIFFERENTIABLE.values(), ids=DIFFERENTIABLE)
@pytest.mark.parametrize(("metric", "p"), [*METRICS[:-1], ("minkowski", 0.5)])
def test_no_gradient_at_zero_distance(backend, metric, p):
    rows = backend.asarray(DUPLICATES[:3])
    for function in (distances.pairwise, distances.paired):
        _, (left, right) = derivatives(
            backend, lambda x, y, f=function: f(x, y, metric, p), [rows, rows], quickest(backend)
        )
        assert np.isfinite(left).all()
        np.testing.assert_allclose(left, right, atol=1e-12)
        if function is distances.paired:
            np.testing.assert_allclose(left, 0, atol=1e-15)


@pytest.mark.parametrize("backend", DIFFERENTIABLE.values(), ids=DIFFERENTIABLE)
def test_tied_largest_features_share_one_gradient(backend):
    a, b = backend.asarray([[1.0, -1.0, 0.5]]), backend.asarray([[0.0, 0.0, 0.0]])
    for function in (distances.pairwise, distances.paired):
        _, (g, _) = derivatives(
            backend, lambda x, y, f=function: f(x, y, "chebyshev"), [a, b], quickest(backend)
        )
        np.testing.assert_allclose(np.abs(g).sum(), UPSTREAM)
        assert g[0, 2] == 0


def test_duplicates_are_at_zero(backend):
    rows = np.random.default_rng(1).normal(size=(50, 64)).astype(np.float32)
    x = backend.asarray(np.concatenate([rows, rows]), "float32")
    for metric, _ in METRICS:
        found = backend.read(distances.pairwise(x, x, metric, 3))
        assert (found[np.arange(50), np.arange(50) + 50] == 0).all()


def test_near_rows_keep_their_digits(backend):
    """1,000 away from the origin, where the products of rows have lost all digits."""
    a = (1000 + RNG.normal(size=(4, 8))).astype(np.float32)
    b = (a + 1e-3 * RNG.normal(size=(4, 8))).astype(np.float32)
    want = cdist(a.astype(float), b.astype(float))
    x, y = backend.asarray(a, "float32"), backend.asarray(b, "float32")
    np.testing.assert_allclose(backend.read(distances.pairwise(x, y)), want, rtol=1e-6)


@pytest.mark.parametrize("size", [1e-30, 1e30])
@pytest.mark.parametrize(("metric", "p"), [("euclidean", 2), ("minkowski", 5), ("cosine", 2)])
def test_tiny_and_huge_rows(backend, size, metric, p):
    want = expected(A, B, metric, p) * (1 if metric == "cosine" else size)
    x, y = backend.asarray(size * A, "float32"), backend.asarray(size * B, "float32")
    np.testing.assert_allclose(
        backend.read(distances.pairwise(x, y, metric, p)), want, rtol=2e-6, atol=0
    )


def test_nearly_parallel_rows(backend):
    a, b = np.array([[1.0, 1e-4]]), np.array([[1.0, 0.0]])
    found = distances.paired(
        backend.asarray(a, "float32"), backend.asarray(7 * b, "float32"), "cosine"
    )
    np.testing.assert_allclose(backend.read(found), 0.5e-8, rtol=1e-3)


def test_figures_of_integers(backend):
    a, b = [[2, 3, 4, 5]] * 2, [[1, 2, 3, 4]] * 2
    ints = [backend.asarray(x, "int64") for x in (a, b)]
    found = distances.paired(*ints)
    assert backend.dtype(found) == ("float64" if backend.name == "numpy" else "float32")
    np.testing.assert_array_equal(backend.read(found), [2, 2])
    difference = backend.asarray(np.subtract(a, b), "int64")
    for ord in ("fro", "nuc", 2):  # rank one: all three agree
        np.testing.assert_allclose(distances.matrix_norm(difference, ord), 2.8284, atol=5e-5)

    a, b = [[1, 1, 1], [2, 2, 2]], [[2, 2, 2], [1, 1, 1]] * 2 + [[2, 2, 2]]
    found = distances.pairwise(backend.asarray(a, "int64"), backend.asarray(b, "int64"))
    want = [[1.7321, 0, 1.7321, 0, 1.7321], [0, 1.7321, 0, 1.7321, 0]]
    np.testing.assert_allclose(backend.read(found), want, atol=5e-5)

    a, b = backend.asarray([[0, 0, 2]], "int32"), backend.asarray([[0, 0, 1], [0, 1, 0]], "int32")
    found = backend.read(distances.pairwise(a, b, "hamming"))
    np.testing.assert_allclose(found, [[0.3333, 0.6667]], atol=5e-5)
    np.testing.assert_allclose(3 * found, [[1, 2]], rtol=1e-6)
    a = backend.asarray([[0, 0, 1], [0, 1, 0]], "int32")
    b = backend.asarray([[1, 0, 1], [0, 1, 0]], "int32")
    found = backend.read(distances.paired(a, b, "hamming"))
    np.testing.assert_allclose(found, [0.3333, 0], atol=5e-5)


def test_other_numbers():
    np.testing.assert_array_equal(distances.paired([[1, 2]], [[4, 6]]), [5])
    small = np.array([[250, 3]], dtype=np.uint8)
    np.testing.assert_array_equal(distances.paired(small[:, ::-1], small, "cityblock"), [494])
    great = np.array([[2**60, 1]])
    np.testing.assert_array_equal(
        distances.paired(great, great + np.array([1, 0]), "hamming"), [0.5]
    )
    np.testing.assert_array_equal(distances.paired([[True, False]], [[True, True]]), [1])
    found = distances.pairwise(torch.tensor(A, dtype=torch.float32), B.tolist())
    assert found.dtype == torch.float32


@pytest.mark.parametrize("stored", [">f8", ">f4", ">i4"])
def test_either_byte_order(stored):
    a, b = np.array([[250, 3], [1, 2]]), np.array([[0, 7]])
    found = distances.pairwise(a.astype(stored), b.astype(stored))
    assert found.dtype == (np.float32 if stored == ">f4" else np.float64)
    np.testing.assert_allclose(found, distances.pairwise(a, b), rtol=1e-6)


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(backend, half):
    if backend.name == "numpy" and half == "bfloat16":
        pytest.skip("NumPy has no bfloat16")
    a, b = backend.asarray(300 * np.ones((1, 9)), half), backend.asarray(np.zeros((1, 9)), half)
    found = distances.pairwise(a, b)
    assert backend.dtype(found) == "float32"
    np.testing.assert_allclose(backend.read(found), [[900]])
    assert backend.read(distances.pairwise(a, b, "sqeuclidean")) == 810_000


def test_no_array_of_three_axes():
    """400 x 300 distances of 200 features: the whole of the differences would be 183 MiB."""
    import tracemalloc

    a, b = np.ones((400, 200)), np.zeros((300, 200))
    tracemalloc.start()
    distances.pairwise(a, b)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * a.itemsize * 400 * 300


@pytest.mark.usefixtures("optimised")
@pytest.mark.parametrize("metric", ["sqeuclidean", "cityblock", "chebyshev", "minkowski"])
def test_the_gradient_keeps_no_array_of_three_axes(metric):
    """30 x 20 distances of 50 features: 120 KB in float32, of which the tape keeps a few."""
    kept = []

    def pack(x):
        kept.append(x.numel())
        return x

    x, y = (torch.ones(n, 50, requires_grad=True) for n in (30, 20))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        distances.pairwise(x, y, metric, 3)
    assert sum(kept) < 10 * 30 * 20

    def total(x, y):
        return distances.pairwise(x, y, metric, 3).sum()

    arrays = [jax.numpy.ones((n, 50), "float32") for n in (300, 200)]
    compiled = jax.jit(jax.grad(total, (0, 1))).lower(*arrays).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 12 * 4 * 300 * 200


def torch_eager(function, x, y):
    x, y = x.requires_grad_(), y.requires_grad_()
    return torch.autograd.grad(function(x, y).sum(), (x, y))


def torch_func(function, x, y):
    return torch.func.grad(lambda x, y: function(x, y).sum(), (0, 1))(x, y)


def torch_vmap(function, x, y):
    found = torch.func.vmap(lambda x, y: torch_func(function, x, y))(x[None], y[None])
    return [g[0] for g in found]


def torch_forward(function, x, y):
    return torch.func.jvp(function, (x, y), (x, y))[1]


class Alive(TorchDispatchMode):
    """The most bytes that PyTorch's operations have made and that were in use at one time."""

    def __init__(self):
        super().__init__()
        self.sizes, self.peak = {}, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for x in tree_leaves(out):
            if isinstance(x, torch.Tensor):
                storage = x.untyped_storage()
                if storage._cdata not in self.sizes:
                    self.sizes[storage._cdata] = storage.nbytes()
                    weakref.finalize(storage, self.sizes.pop, storage._cdata, None)
        self.peak = max(self.peak, sum(self.sizes.values()))
        return out


N, M, FEATURES = 60, 50, 40
MATRIX = 4 * N * M
FEATUREWISE = ["euclidean", "sqeuclidean", "cityblock", "chebyshev", "minkowski", "cosine"]
MANY, OTHERS = (RNG.normal(size=(n, FEATURES)).astype("f4") for n in (N, M))


@TORCH_SCRIPT
@pytest.mark.parametrize("derive", [torch_eager, torch_func, torch_vmap, torch_forward])
@pytest.mark.parametrize("metric", FEATUREWISE)
def test_torch_holds_a_few_matrices(metric, derive):
    function = functools.partial(distances.pairwise, metric=metric, p=3)
    with Alive() as alive:
        derive(function, torch.tensor(MANY), torch.tensor(OTHERS))
    assert MATRIX < alive.peak < FEATURES / 2 * MATRIX


@pytest.mark.parametrize("metric", FEATUREWISE)
def test_the_tape_of_tensorflow_holds_a_few_matrices(metric):
    kind = type(tf.constant(0.0))

    def alive():
        arrays = [x for x in gc.get_objects() if type(x) is kind]
        return sum(int(np.prod(x.shape)) * x.dtype.size for x in arrays)

    x, y = tf.constant(MANY), tf.constant(OTHERS)
    gc.collect()
    before = alive()
    with tf.GradientTape() as tape:
        tape.watch([x, y])
        found = distances.pairwise(x, y, metric, 3)
        kept = alive() - before
    assert tape.gradient(found, [x, y])[1].shape == y.shape
    assert MATRIX <= kept < FEATURES / 2 * MATRIX


@pytest.mark.parametrize("metric", FEATUREWISE)
def test_graphs_of_tensorflow_list_nothing_for_the_way_back(metric):
    """Where the gradient of a loop needs what its steps have made, the graph holds lists."""

    def slopes(x, y):
        with tf.GradientTape() as tape:
            tape.watch([x, y])
            value = distances.pairwise(x, y, metric, 3)
        return tape.gradient(value, [x, y])

    rows = tf.TensorSpec([None, FEATURES])
    program = tf.function(slopes, [rows, rows], autograph=False).get_concrete_function()
    graph = program.graph.as_graph_def()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    assert any("While" in node.op for node in nodes)
    assert not [node.name for node in nodes if "TensorList" in node.op]


@pytest.mark.parametrize(("metric", "p"), [("euclidean", 2), ("minkowski", 5), ("minkowski", 0.5)])
def test_gradients_of_tiny_rows(metric, p):
    """1 over a nearly subnormal difference overflows. Other frameworks take such numbers for 0."""
    rows = [torch.tensor(1e-38 * x, dtype=torch.float32) for x in (A, B)]
    function = functools.partial(distances.pairwise, metric=metric, p=p)
    found = torch_eager(function, *(x.clone() for x in rows))
    want = torch_eager(function, *(x.double() for x in rows))
    for g, slope in zip(found, want, strict=True):
        torch.testing.assert_close(g, slope.float(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", ["torch", "tensorflow"])
@pytest.mark.parametrize(("metric", "p"), METRICS[:-1])
def test_nan_has_a_gradient_of_nan(kind, metric, p):
    """Scalers of mixed precision look for it there."""
    backend, spoiled = DIFFERENTIABLE[kind], B.copy()
    spoiled[1, 1] = np.nan
    for function, a in ((distances.pairwise, A), (distances.paired, A[:4])):
        rows = [backend.asarray(a), backend.asarray(spoiled)]
        _, (left, right) = derivatives(backend, lambda x, y, f=function: f(x, y, metric, p), rows)
        assert np.isnan(left).any()
        np.testing.assert_array_equal(np.isnan(right).any(axis=1), [False, True, False, False])


@pytest.mark.parametrize(("n", "m"), [(0, 2), (2, 0)])
def test_graphs_of_tensorflow_take_a_batch_of_no_rows(n, m):
    def slopes(x, y):
        with tf.GradientTape() as tape:
            tape.watch([x, y])
            value = distances.pairwise(x, y, "chebyshev")
        return tape.gradient(value, [x, y])

    rows = tf.TensorSpec([None, 3])
    found = tf.function(slopes, [rows, rows], autograph=False)(tf.ones([n, 3]), tf.ones([m, 3]))
    for g, size in zip(found, (n, m), strict=True):
        np.testing.assert_array_equal(g, np.zeros((size, 3)))


@TORCH_SCRIPT
@pytest.mark.long
@pytest.mark.parametrize("metric", ["euclidean", "chebyshev"])
def test_transforms_in_a_compiler(metric):
    x, y = torch.tensor(A), torch.tensor(B)
    derive = functools.partial(torch_func, functools.partial(distances.pairwise, metric=metric))
    found = torch.compile(derive, backend="aot_eager", fullgraph=True)(x, y)
    for g, slope in zip(found, derive(x, y), strict=True):
        torch.testing.assert_close(g, slope)


@TORCH_SCRIPT
@pytest.mark.parametrize("derive", [torch_func, torch_vmap])
@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize(("metric", "p"), METRICS[:-1])
def test_transforms_of_torch(derive, paired, metric, p):
    x, y = torch.tensor(A[:4]), torch.tensor(B)
    measure = functools.partial(distances.paired if paired else distances.pairwise, p=p)
    function = functools.partial(measure, metric=metric)
    want = torch_eager(function, x.clone(), y.clone())
    for g, slope in zip(derive(function, x, y), want, strict=True):
        torch.testing.assert_close(g, slope)
    value, change = torch.func.jvp(function, (x, y), (x, 2 * y))
    torch.testing.assert_close(value, function(x, y))
    torch.testing.assert_close(change.sum(), (want[0] * x).sum() + 2 * (want[1] * y).sum())


@TORCH_SCRIPT
@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize(("metric", "p"), SMOOTH)
def test_second_derivatives(metric, p, paired):
    """Of a weighted sum, against central differences of the gradient."""
    x, y = torch.tensor(A[:4]), torch.tensor(B)
    weights = torch.tensor(RNG.normal(size=4 if paired else (4, 4)))
    measure = distances.paired if paired else distances.pairwise

    def slope(x):
        def total(x):
            return (weights * measure(x, y, metric, p)).sum()

        return torch.func.grad(total)(x)

    step = 1e-6 * torch.tensor(RNG.normal(size=(4, 3)))
    want = (slope(x + step) - slope(x - step)).sum() / 2e-6
    ready = x.clone().requires_grad_()
    found = (weights * measure(ready, y, metric, p)).sum()
    (first,) = torch.autograd.grad(found, ready, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), ready)
    expected = pytest.approx(want.item(), rel=1e-6, abs=1e-8)
    assert (second * step / 1e-6).sum().item() == expected
    for outer in (torch.func.jacfwd, torch.func.jacrev):
        found = outer(lambda x: slope(x).sum())(x)
        torch.testing.assert_close(found, second)
    t, others = tf.constant(x.numpy()), tf.constant(y.numpy())
    with tf.GradientTape() as above:
        above.watch(t)
        with tf.GradientTape() as tape:
            tape.watch(t)
            value = tf.reduce_sum(weights.numpy() * measure(t, others, metric, p))
        first = tf.reduce_sum(tape.gradient(value, t))
    np.testing.assert_allclose(above.gradient(first, t), second, rtol=1e-9, atol=1e-12)


def test_programs_do_not_grow_with_the_features():
    sizes = []
    for d in (4, 40):
        x = np.ones((3, d))
        jaxpr = str(jax.make_jaxpr(distances.pairwise)(x.astype("f4") + jax.numpy.ones(()), x[:2]))
        graph = tf.function(distances.pairwise, autograph=False).get_concrete_function(
            tf.TensorSpec([None, d]), tf.TensorSpec([None, d])
        )
        sizes.append((jaxpr.count("\n"), len(graph.graph.as_graph_def().node)))
    assert sizes[0] == sizes[1]


# -- norms -----------------------------------------------------------------------------------------

FULL = RNG.normal(size=(4, 3))


def norm(x, ord):
    return np.linalg.norm(np.asarray(x), ord)


@pytest.mark.parametrize("ord", ["fro", "nuc", 2])
@pytest.mark.parametrize(("backend", "mode"), PROGRAMS.values(), ids=PROGRAMS)
def test_matrix_norm(backend, mode, ord):
    value, (found,) = derivatives(
        backend, lambda x: distances.matrix_norm(x, ord), [backend.asarray(FULL)], mode
    )
    np.testing.assert_allclose(value, norm(FULL, ord), rtol=1e-13)
    (slope,) = differences.gradient(lambda x: UPSTREAM * norm(x, ord), [FULL])
    np.testing.assert_allclose(found, slope, rtol=1e-7, atol=1e-8)


def test_norms_differ_on_a_full_rank_matrix(backend):
    x = backend.asarray(np.stack([FULL, 1e3 * FULL]), "float32")
    values = [distances.matrix_norm(x, ord) for ord in ("fro", "nuc", 2)]
    assert all(backend.dtype(v) == "float32" and v.shape == (2,) for v in values)
    want = [[norm(FULL, ord), 1e3 * norm(FULL, ord)] for ord in ("fro", "nuc", 2)]
    values = [backend.read(v) for v in values]
    np.testing.assert_allclose(values, want, rtol=1e-5)
    assert values[2][0] < values[0][0] < values[1][0]


@pytest.mark.parametrize("ord", ["fro", "nuc", 2])
@pytest.mark.parametrize("backend", DIFFERENTIABLE.values(), ids=DIFFERENTIABLE)
def test_norms_without_full_rank(backend, ord):
    function = lambda x: distances.matrix_norm(x, ord)  # noqa: E731
    _, (zero,) = derivatives(backend, function, [backend.asarray(np.zeros((3, 2)))])
    np.testing.assert_array_equal(zero, 0)
    # Of rank one, every norm has the gradient u v'.
    u, v = np.array([0.6, 0.8]), np.array([1, 2, 2]) / 3
    ones = backend.asarray(5 * np.outer(u, v))
    _, (found,) = derivatives(backend, function, [ones])
    np.testing.assert_allclose(found, UPSTREAM * np.outer(u, v), atol=1e-12)


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: distances.pairwise(A, B, "manhattan"), ValueError, "metric.*cityblock.*manhattan"),
        (lambda: distances.pairwise(A, B[:, :2]), ValueError, r"a and b.*\(5, 3\) and \(4, 2\)"),
        (lambda: distances.paired(A, B), ValueError, r"\(5, 3\) and \(4, 3\).*pairwise"),
        (lambda: distances.paired(A, A[0]), ValueError, r"\bb\b.*\(3,\).*None"),
        (lambda: distances.pairwise(A[:, :0], A), ValueError, r"\ba\b.*\(5, 0\)"),
        (lambda: distances.pairwise(A[:0], A), ValueError, r"\ba\b.*\(0, 3\)"),
        (lambda: distances.pairwise(A, B, "minkowski", 0), ValueError, "p to be.*above 0.*hamming"),
        (lambda: distances.pairwise(A, B, "minkowski", "2"), TypeError, "p to be.*'2'"),
        (lambda: distances.pairwise(A + 1j, B), TypeError, r"\ba\b.*complex128"),
        (lambda: distances.pairwise(torch.tensor(A) + 1j, B), TypeError, "frameworks|several|one"),
        (lambda: distances.pairwise([["u"]], B), TypeError, r"\ba\b.*U1"),
        (lambda: distances.pairwise([[1], [1, 2]], B), ValueError, r"\ba\b.*equally long"),
        (lambda: distances.pairwise(A, A * [[1], [1], [np.nan], [1], [1]]), ValueError, "b.*row 2"),
        (lambda: distances.pairwise(A, torch.tensor(A)), TypeError, "numpy.*torch"),
        (lambda: distances.matrix_norm(A, "max"), ValueError, "ord.*'nuc'.*'max'"),
        (lambda: distances.matrix_norm(A, True), ValueError, "ord"),
        (lambda: distances.matrix_norm(A[0]), ValueError, r"x of shape.*\(3,\)"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_other_frameworks_let_nan_through():
    x = torch.tensor([[1.0, float("nan"), 0.0]])
    for metric, p in METRICS[:-1]:
        for function in (distances.pairwise, distances.paired):
            assert function(x, torch.ones(1, 3), metric, p).isnan().all(), metric


def test_numpy_stays_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for metric, p in METRICS:
            distances.pairwise(DUPLICATES, DUPLICATES, metric, p)

"""EmbeddingQueue against a plain list, and across processes, in all four frameworks."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest
import tensorflow as tf
import torch
from support.backends import BACKENDS, DIFFERENTIABLE

from nearfar import InfoNCE
from nearfar.queue import EmbeddingQueue

# float64 queues must stay float64, which JAX has only when told so.
jax.config.update("jax_enable_x64", True)

RNG = np.random.default_rng(11)
HALVES = [
    (name, dtype)
    for name in BACKENDS
    for dtype in ("float16", "bfloat16")
    if (name, dtype) != ("numpy", "bfloat16")
]
over_halves = pytest.mark.parametrize(("name", "half"), HALVES)
NOT_REFUSED = pytest.fail.Exception


def make_queue(backend, size, dim, dtype="float64"):
    return EmbeddingQueue(size, dim, like=backend.asarray(np.zeros((1, dim)), dtype))


def values(x):
    """As float64, which holds every other dtype exactly; bfloat16 is none of NumPy's."""
    if isinstance(x, torch.Tensor):
        x = x.double().numpy()
    return np.asarray(x).astype(np.float64)


def by_first_feature(rows):
    return rows[np.argsort(rows[:, 0])]


def numbered(start, n, dim=2):
    """Rows that tell when they came: k, k + 1/2, ..."""
    return np.arange(start, start + n)[:, None] + np.linspace(0, 0.5, dim)


def assert_holds(backend, queue, rows, dtype="float64"):
    """These rows, in any order, in the right kind of array."""
    held = queue.embeddings
    assert backend.owns(held)
    assert backend.dtype(held) == dtype
    assert tuple(held.shape) == (len(rows), queue.dim)
    assert len(queue) == len(rows)
    np.testing.assert_array_equal(
        by_first_feature(values(held)), by_first_feature(np.asarray(rows, dtype=np.float64))
    )


class TestFirstInFirstOut:
    @pytest.mark.parametrize(
        "batches",
        [
            [3] * 6,
            [2, 5, 1, 7, 6, 4, 3, 7, 1],
            [1] * 16,
            [7, 7, 7],
            [6, 2, 6, 6],
            [8, 1],
            [2, 20, 3],
            [5, 7, 1],
            [14, 6],
        ],
        ids=str,
    )
    def test_against_a_list(self, backend, batches):
        queue, rows, count = make_queue(backend, 7, 2), [], 0
        for n in batches:
            batch = numbered(count, n)
            count += n
            queue.push(backend.asarray(batch))
            rows = (rows + list(batch))[-7:]
            assert_holds(backend, queue, rows)

    @pytest.mark.parametrize("seed", range(5))
    def test_any_sizes_in_any_order(self, seed):
        rng = np.random.default_rng(seed)
        for size in range(1, 12):
            queue, rows, count = make_queue(BACKENDS["numpy"], size, 2), [], 0
            for n in rng.integers(1, 2 * size + 2, 30):
                batch = numbered(count, n)
                count += n
                queue.push(batch)
                rows = (rows + list(batch))[-size:]
                assert_holds(BACKENDS["numpy"], queue, rows)

    def test_partly_filled_it_shows_no_empty_rows(self, backend):
        queue = make_queue(backend, 5, 3, "float32")
        assert_holds(backend, queue, np.zeros((0, 3)), "float32")
        queue.push(backend.asarray(np.ones((2, 3)), "float32"))
        assert_holds(backend, queue, np.ones((2, 3)), "float32")

    def test_one_row(self, backend):
        queue = make_queue(backend, 1, 1)
        for k in range(3):
            queue.push(backend.asarray([[k], [k + 0.5]]))
            assert_holds(backend, queue, [[k + 0.5]])

    def test_numpy_takes_integers_and_lists(self):
        queue = make_queue(BACKENDS["numpy"], 3, 2, "float32")
        queue.push([[1, 2]])
        queue.push(np.array([[3, 4]]))
        assert_holds(BACKENDS["numpy"], queue, [[1, 2], [3, 4]], "float32")

    def test_numpy_integers_name_the_size(self):
        queue = EmbeddingQueue(np.int64(3), np.int32(2), like=np.zeros(1))
        assert (type(queue.size), type(queue.dim)) == (int, int)
        assert (queue.size, queue.dim) == (3, 2)


class TestDtypesAndDevices:
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_kept(self, backend, dtype):
        queue = make_queue(backend, 3, 2, dtype)
        x = RNG.normal(size=(5, 2))
        queue.push(backend.asarray(x, dtype))
        assert_holds(backend, queue, x[-3:].astype(dtype), dtype)

    @over_halves
    def test_halves_kept(self, name, half):
        backend = BACKENDS[name]
        queue, x = make_queue(backend, 3, 2, half), backend.asarray(RNG.normal(size=(5, 2)), half)
        for _ in range(2):  # while filling up, and around the end
            queue.push(x)
            assert_holds(backend, queue, values(x)[-3:], half)

    @over_halves
    def test_halves_into_float32(self, name, half):
        backend = BACKENDS[name]
        queue, x = make_queue(backend, 3, 2, "float32"), RNG.normal(size=(2, 2))
        for _ in range(2):
            queue.push(backend.asarray(x, half))
            assert backend.dtype(queue.embeddings) == "float32"
        want = values(backend.asarray(x, half))
        assert_holds(backend, queue, [*want, want[-1]], "float32")

    @over_halves
    def test_float32_into_halves(self, name, half):
        backend = BACKENDS[name]
        queue, x = make_queue(backend, 2, 2, half), RNG.normal(size=(2, 2))
        queue.push(backend.asarray(x, "float32"))
        assert_holds(backend, queue, values(backend.asarray(x, half)), half)

    def test_torch_device(self):
        """PyTorch's device without data stands for an accelerator."""
        queue = EmbeddingQueue(3, 2, like=torch.zeros(1, 2, device="meta"))
        assert queue.embeddings.device.type == "meta"
        for _ in range(3):
            queue.push(torch.ones(2, 2))
            assert queue.embeddings.device.type == "meta"
        queue.load_state_dict(
            {"size": 3, "dim": 2, "next": 0, "embeddings": np.ones((3, 2), np.float32)}
        )
        assert queue.embeddings.device.type == "meta"

    def test_cpu_stays_on_the_cpu(self):
        queue = make_queue(BACKENDS["jax"], 3, 2)
        queue.push(BACKENDS["jax"].asarray(np.ones((4, 2))))
        assert queue.embeddings.devices() == {jax.devices("cpu")[0]}
        queue = make_queue(BACKENDS["torch"], 3, 2)
        queue.push(torch.ones(4, 2))
        assert queue.embeddings.device == torch.device("cpu")

    @pytest.mark.long
    @pytest.mark.parametrize("framework", ["tensorflow", "jax"])
    def test_second_device(self, framework):
        """Two devices made of one CPU, which takes a process of its own."""
        run(SECOND_DEVICE, framework)


SECOND_DEVICE = """
import os, sys
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
from nearfar.queue import EmbeddingQueue
if sys.argv[1] == "jax":
    import jax, jax.numpy as jnp
    first, second = (jax.device_put(jnp.ones((2, 2)), device) for device in jax.devices())
    where = lambda x: x.devices()
else:
    import tensorflow as tf
    one = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [one] * 2)
    with tf.device("CPU:0"):
        first = tf.ones((2, 2))
    with tf.device("CPU:1"):
        second = tf.ones((2, 2))
    where = lambda x: x.device
assert where(first) != where(second)
queue = EmbeddingQueue(3, 2, like=second)
assert where(queue.embeddings) == where(second)
for x in (second, first):
    queue.push(x)
    assert where(queue.embeddings) == where(second)
"""


class TestGradients:
    def test_torch_stores_none(self):
        queue = EmbeddingQueue(3, 2, like=torch.zeros(1, 2, requires_grad=True))
        for n in (2, 3, 5):
            leaf = torch.ones(n, 2, requires_grad=True)
            queue.push(leaf * 2)
            assert not queue.embeddings.requires_grad
            assert queue.embeddings.grad_fn is None
        assert not queue.state_dict()["embeddings"].requires_grad

    def test_tensorflow_stores_none(self):
        queue, x = make_queue(BACKENDS["tensorflow"], 3, 2), tf.ones((4, 2), tf.float64)
        with tf.GradientTape() as tape:
            tape.watch(x)
            queue.push(x * 2)
            value = tf.reduce_sum(queue.embeddings * x[:3])
        # Of the product only the right factor depends on x: 2, and not 4.
        want = [[2.0, 2.0]] * 3 + [[0.0, 0.0]]
        np.testing.assert_array_equal(tf.convert_to_tensor(tape.gradient(value, x)), want)

    def test_jax_stores_none(self):
        queue, x = make_queue(BACKENDS["jax"], 3, 2), jax.numpy.ones((4, 2))

        def function(x):
            queue.push(x * 2)
            return (queue.embeddings * x[:3]).sum()

        want = [[2.0, 2.0]] * 3 + [[0.0, 0.0]]
        np.testing.assert_array_equal(jax.grad(function)(x), want)
        # An array, and not a tracer that ends with the differentiation.
        assert_holds(BACKENDS["jax"], queue, np.full((3, 2), 2.0))

    def test_tensorflow_variables_are_taken_as_they_are_now(self):
        variable = tf.Variable(tf.ones((2, 2)))
        queue = EmbeddingQueue(3, 2, like=variable)
        queue.push(variable)
        variable.assign(variable * 5)
        assert_holds(BACKENDS["tensorflow"], queue, np.ones((2, 2)), "float32")

    def test_pushing_changes_no_array_that_was_handed_out(self, backend):
        queue, batches = make_queue(backend, 5, 2), [3, 4, 2, 5, 6]
        seen = []
        for k, n in enumerate(batches):
            queue.push(backend.asarray(numbered(10 * k, n)))
            seen.append((queue.embeddings, values(queue.embeddings).copy()))
        for held, was in seen:
            np.testing.assert_array_equal(values(held), was)

    @pytest.mark.parametrize("name", ["numpy", "torch"])
    @pytest.mark.parametrize("n", [2, 3, 5])
    def test_the_batch_is_copied(self, name, n):
        """Writing to the batch afterwards, as in-place optimisers do, reaches no stored row."""
        backend = BACKENDS[name]
        queue = make_queue(backend, 3, 2)
        for k in range(3):
            x = backend.asarray(numbered(10 * k, n))
            queue.push(x)
            was = values(queue.embeddings).copy()
            x[:] = -1
            np.testing.assert_array_equal(values(queue.embeddings), was)

    def test_torch_differentiates_after_the_push(self):
        rng = np.random.default_rng(0)
        queue = make_queue(BACKENDS["torch"], 6, 3)
        queue.push(torch.from_numpy(rng.normal(size=(6, 3))))
        query, key = (torch.from_numpy(rng.normal(size=(4, 3))) for _ in range(2))
        query.requires_grad_()
        plain = torch.from_numpy(values(queue.embeddings).copy())
        (want,) = torch.autograd.grad(InfoNCE()(query, key, plain), query)
        value = InfoNCE()(query, key, queue.embeddings)
        queue.push(key)
        (found,) = torch.autograd.grad(value, query)
        assert torch.equal(found, want)
        assert want.abs().max() > 1e-3

    @pytest.mark.parametrize("pushed", [4, 6, 9])
    def test_infonce_as_with_a_plain_array(self, backend, pushed):
        """Exactly so in the queue's order; in the order of arrival up to rounding."""
        rng = np.random.default_rng(pushed)
        a, b = (backend.asarray(rng.normal(size=(4, 3))) for _ in range(2))
        rows = rng.normal(size=(pushed, 3))
        queue = make_queue(backend, 6, 3)
        for start in range(0, pushed, 2):
            queue.push(backend.asarray(rows[start : start + 2]))
        value, gradients = InfoNCE().value_and_grad(a, b, queue.embeddings)
        same = InfoNCE().value_and_grad(a, b, backend.asarray(values(queue.embeddings)))
        assert values(value) == values(same[0])
        for g, s in zip(gradients, same[1], strict=True):
            np.testing.assert_array_equal(values(g), values(s))
        plain = InfoNCE().value_and_grad(a, b, backend.asarray(rows[-6:]), wrt=(0, 1))
        np.testing.assert_allclose(values(value), values(plain[0]), rtol=1e-13)
        for g, s in zip(gradients, plain[1], strict=False):
            np.testing.assert_allclose(values(g), values(s), rtol=1e-10, atol=1e-13)

    @pytest.mark.parametrize("backend", DIFFERENTIABLE.values(), ids=DIFFERENTIABLE)
    def test_infonce_in_the_framework_itself(self, backend):
        rng = np.random.default_rng(1)
        queue = make_queue(backend, 6, 3)
        queue.push(backend.asarray(rng.normal(size=(8, 3))))
        inputs = [backend.asarray(rng.normal(size=(4, 3))) for _ in range(2)]
        plain = backend.asarray(values(queue.embeddings))
        found, want = (
            backend.read_derivatives(lambda a, b, n=n: InfoNCE()(a, b, n), inputs, upstream=3.0)
            for n in (queue.embeddings, plain)
        )
        np.testing.assert_array_equal(found[0], want[0])
        np.testing.assert_array_equal(found[1], want[1])
        assert np.abs(want[1]).max() > 1e-3


# Run here and in the new process: it goes on with the queue and tells all numbers that come out.
GO_ON = """
def go_on(queue, make):
    rng = np.random.default_rng(8)
    a, b, x = (make(rng.normal(size=(3, 4)).astype(np.float32)) for _ in range(3))
    found = {"held": queue.embeddings}
    queue.push(x)
    value, gradients = InfoNCE().value_and_grad(a, b, queue.embeddings)
    found |= {"pushed": queue.embeddings, "value": value}
    found |= {f"gradient {k}": g for k, g in enumerate(gradients)}
    found["next value"] = InfoNCE()(a - 0.5 * gradients[0], b, queue.embeddings)
    return {key: np.asarray(array) for key, array in found.items()}
"""
FRAMEWORK = """
import sys
import numpy as np
if sys.argv[1] == "torch":
    import torch
    make = torch.from_numpy
elif sys.argv[1] == "tensorflow":
    import tensorflow
    make = tensorflow.constant
elif sys.argv[1] == "jax":
    import jax
    jax.config.update("jax_enable_x64", True)
    make = jax.numpy.asarray
else:
    make = np.asarray
from nearfar import InfoNCE
from nearfar.queue import EmbeddingQueue
"""
NEW_PROCESS = f"""{FRAMEWORK}{GO_ON}
queue = EmbeddingQueue(7, 4, like=make(np.zeros((1, 4), np.float32)))
with np.load(sys.argv[2]) as state:
    queue.load_state_dict(dict(state))
np.savez(sys.argv[3], **go_on(queue, make))
"""


def run(program, *arguments):
    """What a fresh process prints."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    # On a machine with an accelerator the frameworks would choose different devices.
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def filled(backend, size=7, dim=4, dtype="float32", pushes=3, seed=2):
    queue, rng = make_queue(backend, size, dim, dtype), np.random.default_rng(seed)
    for _ in range(pushes):
        queue.push(backend.asarray(rng.normal(size=(3, dim)), dtype))
    return queue


class TestState:
    @pytest.mark.parametrize("pushes", [2, 4], ids=["partly filled", "around the end"])
    @pytest.mark.parametrize(
        "name",
        [
            "numpy",
            "torch",
            *(pytest.param(n, marks=pytest.mark.long) for n in ("tensorflow", "jax")),
        ],
    )
    def test_a_new_process_goes_on_bit_for_bit(self, name, pushes, tmp_path):
        backend = BACKENDS[name]
        queue = filled(backend, pushes=pushes)
        np.savez(tmp_path / "state.npz", **queue.state_dict())
        scope = {"np": np, "InfoNCE": InfoNCE}
        exec(GO_ON, scope)
        want = scope["go_on"](queue, lambda x: backend.asarray(x, "float32"))
        run(NEW_PROCESS, name, tmp_path / "state.npz", tmp_path / "found.npz")
        with np.load(tmp_path / "found.npz") as found:
            assert set(found) == set(want)
            for key, array in want.items():
                assert found[key].dtype == array.dtype == np.float32
                if name == "jax":  # XLA compiles anew, and has rounded the last bit otherwise
                    np.testing.assert_allclose(found[key], array, rtol=2e-6, atol=1e-6)
                else:
                    assert found[key].tobytes() == array.tobytes(), key

    @pytest.mark.parametrize("pushes", range(5))
    @pytest.mark.parametrize("size", [6, 7])  # batches of 3 end where the queue ends, or do not
    def test_another_queue_goes_on(self, backend, size, pushes):
        queue, other = filled(backend, size, pushes=pushes), filled(backend, size, seed=3)
        other.load_state_dict(queue.state_dict())
        for k in range(4):
            np.testing.assert_array_equal(values(other.embeddings), values(queue.embeddings))
            x = backend.asarray(numbered(10 * k, 2, 4), "float32")
            queue.push(x)
            other.push(x)

    @pytest.mark.parametrize("dtype", ["float16", "float64"])
    def test_files_of_other_dtypes(self, backend, dtype, tmp_path):
        queue, other = filled(backend, dtype=dtype), filled(backend, dtype=dtype, seed=3)
        np.savez(tmp_path / "state.npz", **queue.state_dict())
        with np.load(tmp_path / "state.npz") as state:
            assert state["embeddings"].dtype == dtype
            other.load_state_dict(dict(state))
        assert_holds(backend, other, values(queue.embeddings), dtype)

    def test_a_file_is_cast_to_the_dtype_of_the_queue(self, backend):
        state = filled(backend, dtype="float64").state_dict()
        queue = make_queue(backend, 7, 4, "float32")
        queue.load_state_dict(state | {"embeddings": values(state["embeddings"])})
        want = values(state["embeddings"]).astype(np.float32)
        assert_holds(backend, queue, want, "float32")

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
    def test_torch_files(self, dtype, tmp_path):
        backend = BACKENDS["torch"]
        queue, other = filled(backend, dtype=dtype), filled(backend, dtype=dtype, seed=3)
        torch.save(queue.state_dict(), tmp_path / "state.pt")
        other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        assert other.embeddings.dtype == getattr(torch, dtype)
        assert torch.equal(other.embeddings, queue.embeddings)
        for q in (queue, other):
            q.push(backend.asarray(numbered(0, 2, 4), dtype))
        assert torch.equal(other.embeddings, queue.embeddings)

    def test_a_state_does_not_change_with_its_queue(self, backend):
        queue = filled(backend)
        state = queue.state_dict()
        was, following = values(state["embeddings"]).copy(), state["next"]
        queue.push(backend.asarray(numbered(0, 5, 4), "float32"))
        np.testing.assert_array_equal(values(state["embeddings"]), was)
        assert state["next"] == following

    @pytest.mark.parametrize("name", ["numpy", "torch"])
    def test_a_loaded_array_is_copied(self, name):
        backend = BACKENDS[name]
        queue = make_queue(backend, 3, 2)
        rows = np.ones((2, 2))
        queue.load_state_dict({"size": 3, "dim": 2, "next": 0, "embeddings": rows})
        rows[:] = 7
        assert_holds(backend, queue, np.ones((2, 2)))

    def test_a_loaded_tensor_has_no_gradient(self):
        queue = make_queue(BACKENDS["torch"], 3, 2)
        rows = torch.ones((2, 2), dtype=torch.float64, requires_grad=True)
        queue.load_state_dict({"size": 3, "dim": 2, "next": 0, "embeddings": rows})
        assert not queue.embeddings.requires_grad

    def test_a_file_mapped_into_memory(self, tmp_path):
        queue = make_queue(BACKENDS["torch"], 3, 2)
        np.save(tmp_path / "rows.npy", np.ones((2, 2)))
        rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
        queue.load_state_dict({"size": 3, "dim": 2, "next": 0, "embeddings": rows})
        assert_holds(BACKENDS["torch"], queue, np.ones((2, 2)))


class TestRefused:
    @pytest.mark.parametrize("argument", ["size", "dim"])
    @pytest.mark.parametrize(
        ("number", "error"),
        [(0, ValueError), (-1, ValueError), (True, TypeError), (2.0, TypeError), ("2", TypeError)],
    )
    def test_sizes(self, argument, number, error):
        sizes = {"size": 2, "dim": 2} | {argument: number}
        with pytest.raises(error, match=rf"expected {argument} to be a whole number above 0"):
            EmbeddingQueue(**sizes, like=np.zeros(1))

    def test_like_without_a_floating_dtype(self, backend):
        with pytest.raises(TypeError, match=r"expected like to be an array of a floating dtype"):
            EmbeddingQueue(2, 2, like=backend.asarray([[1, 2]], "int32"))

    @pytest.mark.parametrize("like", [[[1.0]], 1.0, None, "cpu", np.ones(1, complex)])
    def test_like_that_is_no_array(self, like):
        with pytest.raises(TypeError, match=r"expected like to be an array of a floating dtype"):
            EmbeddingQueue(2, 2, like=like)

    def push_refused(self, backend, x, error, message):
        """Both while it fills up and when it is full."""
        for pushes in (1, 3):
            queue = filled(backend, pushes=pushes)
            held, state = queue.embeddings, queue.state_dict()
            was = values(held).copy()
            with pytest.raises(error, match=message):
                queue.push(x)
            assert queue.embeddings is held
            np.testing.assert_array_equal(values(held), was)
            assert queue.state_dict()["next"] == state["next"]

    @pytest.mark.parametrize("shape", [(2, 3), (2, 5), (2, 1), (2, 2, 2), (2, 4, 1)])
    def test_another_width(self, backend, shape):
        message = r"expected x of shape \(n, 4\), rows of the queue; received \("
        self.push_refused(backend, backend.asarray(np.ones(shape)), ValueError, message)

    @pytest.mark.parametrize("shape", [(), (4,)])
    def test_no_rows(self, backend, shape):
        x = backend.asarray(np.ones(shape), "float32")
        self.push_refused(backend, x, ValueError, r"expected x to have rows and features")

    def test_empty_batch(self, backend):
        x = backend.asarray(np.ones((0, 4)), "float32")
        self.push_refused(backend, x, ValueError, r"expected x to have at least one row")

    @pytest.mark.parametrize(
        ("name", "other"), [(a, b) for a in BACKENDS for b in BACKENDS if a != b]
    )
    def test_another_framework(self, name, other):
        backend, x = BACKENDS[name], BACKENDS[other].asarray(np.ones((2, 4)), "float32")
        message = rf"x is a {other} array and the queue is a {name} array"
        self.push_refused(backend, x, TypeError, message)

    @pytest.mark.parametrize("backend", DIFFERENTIABLE.values(), ids=DIFFERENTIABLE)
    def test_integers(self, backend):
        x = backend.asarray(np.ones((2, 4)), "int32")
        message = rf"expected x to be a {backend.name} array of a floating dtype"
        self.push_refused(backend, x, TypeError, message)
        message = rf"expected x to be a {backend.name} array like the other embeddings"
        self.push_refused(backend, [[1.0] * 4], TypeError, message)

    @pytest.mark.parametrize("dtype", [complex, bool, object])
    def test_numpy_dtypes(self, dtype):
        x = np.ones((2, 4), dtype)
        message = r"expected x to hold real numbers"
        self.push_refused(BACKENDS["numpy"], x, TypeError, message)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_numpy_refuses_what_is_not_finite(self, bad):
        x = np.ones((3, 4))
        x[1, 2] = bad
        message = r"expected x to be finite; .*first in row 1 \(1 of 3 rows\)"
        self.push_refused(BACKENDS["numpy"], x, ValueError, message)


class TestStateRefused:
    def load_refused(self, backend, change, message, error=ValueError):
        """A queue that holds other rows keeps them, and goes on as if nothing had come."""
        queue, twin = filled(backend, seed=3), filled(backend, seed=3)
        state = filled(backend).state_dict()
        change(state)
        held = queue.embeddings
        with pytest.raises(error, match=message):
            queue.load_state_dict(state)
        assert queue.embeddings is held
        for q in (queue, twin):
            q.push(backend.asarray(numbered(0, 2, 4), "float32"))
        np.testing.assert_array_equal(values(queue.embeddings), values(twin.embeddings))

    @pytest.mark.parametrize("key", ["size", "dim", "next", "embeddings"])
    def test_a_missing_key(self, backend, key):
        message = rf"expected the state of an EmbeddingQueue; received one without {key};"
        self.load_refused(backend, lambda state: state.pop(key), message)

    def test_nothing_of_it(self, backend):
        message = r"received one without dim, embeddings, next, size;"
        self.load_refused(backend, dict.clear, message)

    @pytest.mark.parametrize(
        ("change", "received"),
        [({"size": 6}, "6 x 4"), ({"size": 8}, "8 x 4"), ({"dim": 3}, "7 x 3")],
    )
    def test_another_size(self, backend, change, received):
        message = rf"expected the state of a queue of 7 x 4; received {received};"
        self.load_refused(backend, lambda state: state.update(change), message)

    @pytest.mark.parametrize("shape", [(8, 4), (7, 3), (7, 5), (28,), (), (7, 4, 1)])
    def test_rows_of_another_shape(self, backend, shape):
        rows = backend.asarray(np.ones(shape), "float32")
        message = r"expected at most 7 rows of 4 and the place of the next one; received \("
        self.load_refused(backend, lambda state: state.update(embeddings=rows), message)

    @pytest.mark.parametrize("following", [-1, 7, 100])
    def test_another_next(self, backend, following):
        message = rf"the place of the next one; received \(7, 4\) and {following};"
        self.load_refused(backend, lambda state: state.update(next=following), message)

    def test_next_inside_a_queue_that_is_not_full(self, backend):
        """Accepted, the rows would leave in another order than they came."""

        def change(state):
            state.update(next=3, embeddings=backend.asarray(np.ones((2, 4)), "float32"))

        self.load_refused(backend, change, r"place of the next one")

    @pytest.mark.parametrize("following", [1.5, True])
    def test_next_that_is_no_whole_number(self, following):
        backend = BACKENDS["numpy"]
        error = (TypeError, ValueError)
        self.load_refused(backend, lambda s: s.update(next=following), "next", error)

    def test_numpy_rows_that_are_not_finite(self):
        rows = np.full((7, 4), np.nan)
        self.load_refused(BACKENDS["numpy"], lambda s: s.update(embeddings=rows), "finite")

    def test_complex_rows(self, backend):
        rows = np.ones((7, 4), complex)
        error = (TypeError, ValueError)
        self.load_refused(backend, lambda s: s.update(embeddings=rows), "embeddings|rows", error)


MEMORY = f"""{FRAMEWORK}

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def rows(n):
    return make(rng.standard_normal((n, 128), dtype=np.float32))


def step(queue):
    value, (gradient,) = InfoNCE().value_and_grad(query, key, queue.embeddings, wrt=(0,))
    queue.push(key)
    # Waits for them, where they are computed meanwhile.
    float(value), np.asarray(gradient), np.asarray(queue.embeddings[:1])


rng = np.random.default_rng(0)
query, key = rows(256), rows(256)
small = EmbeddingQueue(1024, 128, like=query)
queue = EmbeddingQueue(65_536, 128, like=query)
for _ in range(5):  # full, and beginning anew
    small.push(rows(256))
    queue.push(rows(16_384))
# JAX compiles for these sizes, the others load their libraries.
step(queue if sys.argv[1] == "jax" else small)
assert tuple(queue.embeddings.shape) == (65_536, 128)
with open("/proc/self/clear_refs", "w") as counters:
    counters.write("5")  # sets the peak back to what is in use now
before = peak()
step(queue)
print((peak() - before) // 1024)
"""


@pytest.mark.long
@pytest.mark.parametrize("framework", BACKENDS)
def test_memory_of_a_step(framework):
    """The queue takes 32 MiB; all similarities of a step take 64, and their gradient another."""
    if not sys.platform.startswith("linux"):
        pytest.skip("reads the peak from /proc")
    # What TensorFlow's threads keep of their arenas varies by 50 MiB from process to process.
    attempts = 3 if framework == "tensorflow" else 1
    assert any(int(run(MEMORY, framework)) < 160 for _ in range(attempts))


class TestLabels:
    """Every row keeps its own, whatever is pushed out."""

    @pytest.mark.parametrize("batches", [[3] * 5, [2, 5, 1, 7, 6], [8, 1], [2, 20, 3]], ids=str)
    def test_each_row_keeps_its_label(self, backend, batches):
        queue = EmbeddingQueue(7, 2, like=backend.asarray(np.zeros((1, 2))), labels=True)
        plain = make_queue(backend, 7, 2)
        assert tuple(queue.labels.shape) == (0,)
        count = 0
        for n in batches:
            x = backend.asarray(numbered(count, n))
            queue.push(x, backend.labels(np.arange(count, count + n)))
            plain.push(x)
            count += n
            assert backend.owns(queue.labels)
            np.testing.assert_array_equal(values(queue.embeddings), values(plain.embeddings))
            np.testing.assert_array_equal(values(queue.labels), values(queue.embeddings)[:, 0])

    def test_lists_and_marks_and_targets(self, backend):
        for first, second in (
            ([1, 2], [3]),
            ([[1, 0], [0, 1]], [[1, 1]]),
            ([0.5, 1.5], [2.5]),
        ):
            queue = EmbeddingQueue(3, 2, like=backend.asarray(np.zeros((1, 2))), labels=True)
            queue.push(backend.asarray(numbered(0, 2)), first)
            queue.push(backend.asarray(numbered(2, 1)), second)
            np.testing.assert_array_equal(values(queue.labels), np.array([*first, *second]))

    def test_text(self):
        queue = EmbeddingQueue(3, 2, like=np.zeros((1, 2)), labels=True)
        queue.push(numbered(0, 2), ["a", "bc"])
        queue.push(numbered(2, 2), ["long", "d"])
        assert sorted(queue.labels) == ["bc", "d", "long"]

    def test_a_state_has_them(self, backend, tmp_path):
        like = backend.asarray(np.zeros((1, 2), np.float32), "float32")
        queue, other = (EmbeddingQueue(4, 2, like=like, labels=True) for _ in range(2))
        for k in range(3):
            queue.push(backend.asarray(numbered(2 * k, 2), "float32"), [k, k + 10])
        np.savez(tmp_path / "state.npz", **queue.state_dict())
        with np.load(tmp_path / "state.npz") as state:
            other.load_state_dict(dict(state))
        for k in range(2):
            np.testing.assert_array_equal(values(other.labels), values(queue.labels))
            np.testing.assert_array_equal(values(other.embeddings), values(queue.embeddings))
            assert backend.owns(other.labels)
            for q in (queue, other):
                q.push(backend.asarray(numbered(k, 3), "float32"), [7, 8, 9])

    def test_what_was_handed_out_stays(self, backend):
        queue = EmbeddingQueue(3, 2, like=backend.asarray(np.zeros((1, 2))), labels=True)
        queue.push(backend.asarray(numbered(0, 3)), [0, 1, 2])
        held = queue.labels
        queue.push(backend.asarray(numbered(3, 2)), [3, 4])
        np.testing.assert_array_equal(values(held), [0, 1, 2])

    def test_what_is_no_label(self):
        like = np.zeros((1, 2))
        queue, plain = EmbeddingQueue(3, 2, like=like, labels=True), EmbeddingQueue(3, 2, like=like)
        x = numbered(0, 2)
        queue.push(x, [0, 1])
        was = queue.state_dict()
        for labels, error, words in (
            (None, ValueError, "expected labels of the 2 rows; received none"),
            ([1], ValueError, r"labels of shape \(2,\).*received \(1,\)"),
            ([[1], [2]], ValueError, r"labels of shape \(2,\).*received \(2, 1\)"),
            (["a", "b"], TypeError, "labels that are whole numbers"),
            ([0.5, 1.0], TypeError, "labels that are whole numbers"),
        ):
            with pytest.raises(error, match=words):
                queue.push(x, labels)
        np.testing.assert_array_equal(queue.labels, was["labels"])
        with pytest.raises(ValueError, match="expected no labels"):
            plain.push(x, [0, 1])
        with pytest.raises(ValueError, match="a queue with labels"):
            plain.labels  # noqa: B018
        with pytest.raises(ValueError, match="without labels"):
            queue.load_state_dict(plain.state_dict())
        with pytest.raises(ValueError, match="a queue without labels"):
            plain.load_state_dict(was)
        with pytest.raises(ValueError, match="labels of the 2 rows in the state"):
            queue.load_state_dict(was | {"labels": np.arange(3)})
        other = EmbeddingQueue(3, 2, like=torch.zeros(1, 2), labels=True)
        with pytest.raises(TypeError, match="number the classes"):
            other.push(torch.zeros(1, 2), ["a"])

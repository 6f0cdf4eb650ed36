"""What compilers are handed: no n x n array, and no loop unrolled."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf
import torch
from functorch.compile import aot_module_simplified, make_boxed_func

import nearfar as nf

MIB = 2**20
LOSS = nf.NTXent()


def views(rows, features=64):
    rng = np.random.default_rng(0)
    return [rng.normal(size=(rows, features)).astype(np.float32) for _ in range(2)]


def dense(a, b):
    z = jnp.concatenate([a, b])
    z = z / jnp.linalg.norm(z, axis=1, keepdims=True)
    n = len(z)
    logits = jnp.where(jnp.eye(n, dtype=bool), -jnp.inf, z @ z.T / 0.5)
    partner = logits[jnp.arange(n), (jnp.arange(n) + n // 2) % n]
    return (jax.nn.logsumexp(logits, axis=1) - partner).mean()


def dense_clip(x, y):
    x, y = (z / jnp.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
    logits = x @ y.T / 0.07
    both = jax.nn.logsumexp(logits, axis=1) + jax.nn.logsumexp(logits, axis=0)
    return (both / 2 - jnp.diagonal(logits)).mean()


def temporary_bytes(function):
    inputs = [jnp.asarray(x) for x in views(4096)]
    compiled = jax.jit(jax.grad(function, (0, 1))).lower(*inputs).compile()
    return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize(
    ("formula", "loss", "square"),
    [(dense, LOSS, 256), (dense_clip, nf.CLIP(), 64)],
    ids=["ntxent", "clip"],
)
@pytest.mark.usefixtures("optimised")
def test_jax_keeps_no_square(formula, loss, square):
    """A square of both views, of 8,192 rows, takes 256 MiB; that of two towers 64."""
    assert temporary_bytes(formula) > 1.9 * square * MIB
    assert temporary_bytes(loss) < square / 4 * MIB


TENSORFLOW = """
import numpy as np
import tensorflow as tf
import nearfar as nf

rng = np.random.default_rng(0)
a, b = (tf.constant(rng.normal(size=(4096, 64)).astype(np.float32)) for _ in range(2))
signature = [tf.TensorSpec([None, 64], tf.float32)] * 2


@tf.function(input_signature=signature, autograph=False)
def gradient(a, b):
    with tf.GradientTape() as tape:
        tape.watch([a, b])
        value = nf.NTXent()(a, b)
    return tape.gradient(value, [a, b])


def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


gradient(a[:8], b[:8])
with open("/proc/self/clear_refs", "w") as counters:
    counters.write("5")
before = peak()
gradient(a, b)
print((peak() - before) // 1024)
"""


@pytest.mark.long
def test_tensorflow_keeps_no_square():
    command = [sys.executable, "-c", TENSORFLOW]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    # One 8,192 x 8,192 array of float32 alone is 256.
    assert int(done.stdout) < 64


def loop_sizes(statement, rows):
    """Equations of the JAX program, nodes of the TensorFlow graph, of the PyTorch graph."""
    arrays = views(rows, 8)
    loss = statement.with_options(tile=16)

    inputs = [jnp.asarray(x) for x in arrays]
    program = str(jax.make_jaxpr(jax.grad(loss, (0, 1)))(*inputs))

    def gradient(a, b):
        with tf.GradientTape() as tape:
            tape.watch([a, b])
            value = loss(a, b)
        return tape.gradient(value, [a, b])

    signature = [tf.TensorSpec(x.shape, tf.float32) for x in arrays]
    graph = tf.function(gradient, autograph=False).get_concrete_function(*signature).graph
    nodes = graph.as_graph_def()
    inner = sum(len(f.node_def) for f in nodes.library.function)

    sizes = []

    def count(module, _):
        sizes.append(len(module.graph.nodes))
        return module.forward

    torch.compile(loss, fullgraph=True, backend=count)(*(torch.tensor(x) for x in arrays))
    torch.compiler.reset()
    return [program.count("\n"), len(nodes.node) + inner, sum(sizes)]


@pytest.mark.parametrize(
    ("loss", "few", "many"),
    [(LOSS, 16, 88), pytest.param(nf.CLIP(), 32, 176, marks=pytest.mark.long)],
    ids=["ntxent", "clip"],
)
def test_programs_do_not_grow_with_the_number_of_tiles(loss, few, many):
    """From 2 blocks a side to 11: from 3 tiles to 66, with two towers from 4 to 121."""
    for small, large in zip(loop_sizes(loss, few), loop_sizes(loss, many), strict=True):
        assert small > 0
        assert large <= 1.1 * small


ONE_PROGRAM = """
import torch
import nearfar as nf

programs = []

def count(module, inputs):
    programs.append(module)
    return module.forward

loss = nf.NTXent()
compiled = torch.compile(loss, fullgraph=True, dynamic=True, backend=count)
for rows in (6, 9, 700):
    a, b = torch.randn(rows, 8), torch.randn(rows, 8)
    torch.testing.assert_close(compiled(a, b), loss(a, b))
print(len(programs))
"""


def test_one_program_for_every_batch_size():
    """Also where nothing was called before: nothing that a first call changes is looked at."""
    command = [sys.executable, "-c", ONE_PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) == 1


def test_one_operator_but_for_few_rows():
    """Few rows are written out, which a compiler makes faster than an operator begins."""
    programs = []

    def traced(module, inputs):
        def keep(graph, _):
            programs.append({str(node.target) for node in graph.graph.nodes})
            return make_boxed_func(graph.forward)

        return aot_module_simplified(module, inputs, fw_compiler=keep)

    def targets(rows):
        torch.compiler.reset()
        torch.compile(LOSS, backend=traced)(*map(torch.tensor, views(rows)))
        return programs.pop()

    operator = "nearfar.value.default"
    assert operator not in targets(6)
    assert operator in targets(300)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert operator in targets(6)  # whose products keep all digits
    finally:
        torch.set_float32_matmul_precision(before)


FEW = {
    "views": nf.NTXent(),
    "guarded": nf.CLIP(temperature=0.005),
    "several sums": nf.HCL(),
    "labels": nf.SupCon(),
    "guarded labels": nf.SupCon(temperature=0.005),
}


@pytest.mark.parametrize("case", FEW)
def test_few_rows(case):
    """One of the rows is alone in its class; a learned temperature where exponentials are not
    guarded without."""
    loss = FEW[case]
    a, b = (torch.tensor(x) for x in views(6, 5))
    given = (a, torch.tensor([0, 0, 3, 3, 3, 7])) if "labels" in case else (a, b)
    temperature = torch.tensor(0.3) if case in ("views", "labels") else None

    def of(function):
        leaves = [x.clone().requires_grad_(x.is_floating_point()) for x in given]
        named = {}
        if temperature is not None:
            named["temperature"] = temperature.clone().requires_grad_()
        value = function(*leaves, **named)
        (3 * value).backward()
        return value.detach(), *(x.grad for x in (*leaves, *named.values()) if x.requires_grad)

    torch.compiler.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", torch.bfloat16):
        found = of(compiled)
    torch.testing.assert_close(found, of(loss))


def test_few_rows_in_transforms():
    torch.compiler.reset()
    a, b = (torch.tensor(x) for x in views(6, 5))
    gradient = torch.func.vmap(torch.func.grad(lambda x: LOSS(x, b)))
    several = torch.stack([a, 2 * b, a + b])
    compiled = torch.compile(gradient, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(several), gradient(several))


# It follows the plan without its cache, and says so.
@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`:UserWarning")
@pytest.mark.parametrize("loss", [nf.SupCon(), nf.BatchTriplet(mining="hard")], ids=repr)
def test_value_and_grad_in_a_program(loss):
    torch.compiler.reset()
    given = torch.tensor(views(12, 5)[0]), torch.arange(12) % 3
    compiled = torch.compile(loss.value_and_grad, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*given), loss.value_and_grad(*given))


def test_tensorflow_traces_once_for_every_batch_size():
    traced = []

    @tf.function(input_signature=[tf.TensorSpec([None, 8], tf.float32)] * 2, autograph=False)
    def value(a, b):
        traced.append(1)
        return LOSS(a, b)

    for rows in (6, 9, 700):
        a, b = views(rows, 8)
        np.testing.assert_allclose(value(a, b), LOSS(a, b), rtol=1e-5)
    assert len(traced) == 1


@pytest.mark.parametrize("mode", ["jit", "function"])
def test_a_check_of_values_says_that_it_has_none(mode):
    compiled, array = (jax.jit, jnp.asarray) if mode == "jit" else (tf.function, tf.constant)
    loss = nf.NTXent().with_options(check_finite=True)

    def call(a, b):
        return loss(a, b)

    with pytest.raises(TypeError, match=r"(?s)expected a with values.*check_finite"):
        compiled(call)(*map(array, views(4)))

"""The frameworks under test: how each makes an array, reads one and differentiates a function.

A further one is one class and one entry of BACKENDS. Frameworks that are slow to import are
imported at their first use. The README's table of modes is made from `modes`; see readme.py.
"""

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np
import torch

FLOAT_DTYPES = ("float32", "float64")
Result = tuple[Any, Sequence[Any]]
Mode = Callable[..., Result]


class Backend:
    name: ClassVar[str]
    title: ClassVar[str]
    half_dtypes: ClassVar[tuple[str, ...]] = ("float16", "bfloat16")
    modes: ClassVar[dict[str, Mode]]
    slow: ClassVar[frozenset[str]] = frozenset()
    """Modes that compile for seconds."""
    alike: ClassVar[frozenset[str]] = frozenset()
    """Modes that run the same programs as another one."""
    differentiable: ClassVar[bool] = True

    def asarray(self, x, dtype="float64"):
        raise NotImplementedError

    def labels(self, x):
        """Labels or targets in a dtype of their own."""
        raise NotImplementedError

    def owns(self, x) -> bool:
        raise NotImplementedError

    def dtype(self, x) -> str:
        raise NotImplementedError

    def read(self, x) -> np.ndarray:
        """In float64, as which every float is exact; integers and Booleans as they are."""
        x = self._numpy(x)
        return x if x.dtype.kind in "iub" else x.astype(np.float64)

    def _numpy(self, x) -> np.ndarray:
        return np.asarray(x)

    def differentiate(
        self, function, inputs, *rest, upstream=1.0, mode="eager", **options
    ) -> Result:
        """Value of `function(*inputs, *rest)`, and the gradient of upstream * value by `inputs`.

        `upstream` may be a vector where the value is one.
        """
        bound = partial(function, **options) if options else function
        return self.modes[mode](self, bound, inputs, rest, upstream)

    def read_derivatives(self, function, inputs, *rest, **how):
        """As `differentiate`, as arrays of NumPy."""
        value, gradients = self.differentiate(function, inputs, *rest, **how)
        return self.read(value), [self.read(g) for g in gradients]


class NumPy(Backend):
    name = "numpy"
    title = "NumPy"
    half_dtypes = ("float16",)
    modes: ClassVar = {}
    # Calling a loss gives its value; derivatives come from value_and_grad, for upstream 1.
    differentiable = False

    def asarray(self, x, dtype="float64"):
        return np.asarray(x, dtype=dtype)

    def labels(self, x):
        return np.asarray(x)

    def owns(self, x):
        """NumPy's scalars are generics, its vectors arrays."""
        return isinstance(x, np.generic if np.ndim(x) == 0 else np.ndarray)

    def dtype(self, x):
        return str(x.dtype)

    def differentiate(self, loss, inputs, *rest, upstream=1.0, mode="eager", **options):
        value, gradients = loss.value_and_grad(*inputs, *rest, **options)
        return value, [g if upstream == 1.0 else (upstream * g).astype(g.dtype) for g in gradients]


class Torch(Backend):
    name = "torch"
    title = "PyTorch"
    slow = frozenset({"torch.compile, dynamic batch"})

    def __init__(self):
        accelerator = torch.accelerator.is_available()
        self.device = torch.accelerator.current_accelerator() if accelerator else "cpu"

    def asarray(self, x, dtype="float64"):
        device = "cpu" if (str(self.device), dtype) == ("mps", "float64") else self.device
        return torch.tensor(np.array(x, order="C"), dtype=getattr(torch, dtype), device=device)

    def labels(self, x):
        x = np.asarray(x)
        return x if x.dtype.kind == "U" else torch.tensor(x, device=self.device)

    def owns(self, x):
        return isinstance(x, torch.Tensor)

    def dtype(self, x):
        return str(x.dtype).removeprefix("torch.")

    def _numpy(self, x):
        x = x.detach().cpu()
        return (x.double() if x.is_floating_point() else x).numpy()

    def eager(self, function, inputs, rest, upstream):
        leaves = [x.detach().clone().requires_grad_() for x in inputs]
        value = function(*leaves, *rest)
        upstream = torch.as_tensor(upstream, dtype=value.dtype, device=value.device)
        gradients = torch.autograd.grad(value, leaves, upstream.expand(value.shape))
        return value.detach(), gradients

    def compiled(self, function, inputs, rest, upstream):
        torch.compiler.reset()  # every loss would be one more program of the same function
        compiled = torch.compile(
            lambda *arrays: function(*arrays), fullgraph=True, dynamic=True, backend="aot_eager"
        )
        return self.eager(compiled, inputs, rest, upstream)

    def func_grad(self, function, inputs, rest, upstream):
        gradients, (_, value) = self._func(function, len(inputs), rest, upstream)(*inputs)
        return value, gradients

    def func_vmap(self, function, inputs, rest, upstream):
        """Two copies of the batch, the second with its features reversed; the first is given."""
        run = torch.func.vmap(self._func(function, len(inputs), rest, upstream))
        gradients, (_, values) = run(*(torch.stack([x, x.flip(1)]) for x in inputs))
        return values[0], [g[0] for g in gradients]

    def _func(self, function, count, rest, upstream):
        def scaled(*arrays):
            value = function(*arrays, *rest)
            return upstream * value, value

        return torch.func.grad_and_value(scaled, argnums=tuple(range(count)), has_aux=True)

    modes: ClassVar = {
        "eager": eager,
        "torch.func.grad": func_grad,
        "torch.func.vmap": func_vmap,
        "torch.compile, dynamic batch": compiled,
    }


class TensorFlow(Backend):
    name = "tensorflow"
    title = "TensorFlow"
    slow = frozenset({"tf.function", "tf.function, unknown batch", "tf.function, XLA"})
    alike = frozenset({"tf.function", "tf.Variable"})

    @cached_property
    def tf(self):
        import tensorflow

        return tensorflow

    def asarray(self, x, dtype="float64"):
        return self.tf.constant(np.asarray(x), dtype=dtype)

    def labels(self, x):
        return self.tf.constant(np.asarray(x))

    def owns(self, x):
        return isinstance(x, self.tf.Tensor)

    def dtype(self, x):
        return x.dtype.name

    def eager(self, function, inputs, rest, upstream, wrap=lambda run, _: run):
        count = len(inputs)

        def run(*arrays):
            with self.tf.GradientTape() as tape:
                tape.watch(arrays[:count])
                value = function(*arrays)
            return value, self._slopes(tape, value, arrays[:count], upstream)

        arrays = (*inputs, *rest)
        return wrap(run, arrays)(*arrays)

    def _slopes(self, tape, value, inputs, upstream):
        weights = self.tf.zeros_like(value) + self.tf.constant(upstream, value.dtype)
        return tape.gradient(value, inputs, output_gradients=weights)

    def variable(self, function, inputs, rest, upstream):
        variables = [self.tf.Variable(x) for x in inputs]
        with self.tf.GradientTape() as tape:
            value = function(*variables, *rest)
        return value, self._slopes(tape, value, variables, upstream)

    def traced(self, function, inputs, rest, upstream, **options):
        def wrap(run, arrays):
            return self.tf.function(run, autograph=False, **options)

        return self.eager(function, inputs, rest, upstream, wrap)

    def unknown_batch(self, function, inputs, rest, upstream):
        signature = [self.tf.TensorSpec([None, *x.shape[1:]], x.dtype) for x in (*inputs, *rest)]
        return self.traced(function, inputs, rest, upstream, input_signature=signature)

    modes: ClassVar = {
        "eager": eager,
        "tf.Variable": variable,
        "tf.function": traced,
        "tf.function, unknown batch": unknown_batch,
        "tf.function, XLA": partial(traced, jit_compile=True),
    }


class Jax(Backend):
    name = "jax"
    title = "JAX"
    slow = frozenset({"jit, static loss"})
    alike = frozenset({"eager", "jit, static loss", "vmap"})

    @cached_property
    def jax(self):
        import jax

        # Most comparisons are in float64, which JAX has only when told so.
        jax.config.update("jax_enable_x64", True)
        return jax

    def asarray(self, x, dtype="float64"):
        return self.jax.numpy.asarray(x, dtype=dtype)

    def labels(self, x):
        return self.jax.numpy.asarray(x)

    def owns(self, x):
        return isinstance(x, self.jax.Array)

    def dtype(self, x):
        return str(x.dtype)

    def _pulled(self, function, count, upstream):
        def run(*arrays):
            inputs, rest = arrays[:count], arrays[count:]
            value, pull = self.jax.vjp(lambda *inputs: function(*inputs, *rest), *inputs)
            return value, pull(self.jax.numpy.full_like(value, upstream))

        return run

    def eager(self, function, inputs, rest, upstream):
        return self._pulled(function, len(inputs), upstream)(*inputs, *rest)

    def jit(self, function, inputs, rest, upstream):
        return self.jax.jit(self._pulled(function, len(inputs), upstream))(*inputs, *rest)

    def static(self, function, inputs, rest, upstream):
        def run(function, *arrays):
            return self._pulled(function, len(inputs), upstream)(*arrays)

        return self.jax.jit(run, static_argnums=0)(function, *inputs, *rest)

    def vmap(self, function, inputs, rest, upstream):
        pairs = [self.jax.numpy.stack([x, x[:, ..., ::-1]]) for x in inputs]
        axes = (0,) * len(inputs) + (None,) * len(rest)
        run = self.jax.vmap(self._pulled(function, len(inputs), upstream), axes)
        values, gradients = self.jax.jit(run)(*pairs, *rest)
        return values[0], [g[0] for g in gradients]

    modes: ClassVar = {"eager": eager, "jit": jit, "jit, static loss": static, "vmap": vmap}


BACKENDS = {backend.name: backend for backend in (NumPy(), Torch(), TensorFlow(), Jax())}
FRAMEWORKS = {name: BACKENDS[name] for name in ("numpy", "torch")}
"""Those that most tests run on: NumPy's own gradients, and one autograd."""
DIFFERENTIABLE = {name: b for name, b in BACKENDS.items() if b.differentiable}
_KINDS = {
    "eager": "eager",
    "torch.compile, dynamic batch": "compiled",
    "tf.function": "compiled",
    "tf.function, unknown batch": "unknown batch",
    "jit": "compiled",
}
PROGRAMS = {
    f"{b.name}-{_KINDS[mode]}": (b, mode)
    for b in DIFFERENTIABLE.values()
    for mode in b.modes
    # JAX compiles eager operations one by one, which takes longest; tests of every framework do it.
    if mode in _KINDS and (b.name, mode) != ("jax", "eager")
}
"""One mode of each kind, for functions that are no losses."""
COMPILED = {name: program for name, program in PROGRAMS.items() if program[1] != "eager"}
"""Without those that tests of every framework run anyhow."""
# Kernels of fused operations take XLA most of a small program's time; without them it computes the
# same. TensorFlow reads the flag too, so that it is for processes of JAX alone.
QUICK_JAX = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_cpu_use_fusion_emitters=false"}

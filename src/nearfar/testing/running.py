"""How each framework runs a loss: eager and compiled, first and second derivatives."""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from nearfar.frameworks import to_host

Arrays = Sequence[Any]
Run = Callable[[Any, Arrays, Arrays, str, float], tuple[Any, Arrays]]
"""Value, and upstream times its gradients, of a loss on embeddings and the rest, in a dtype."""


class Framework(NamedTuple):
    name: str
    modes: dict[str, Run]
    upstream: Callable[[Any, Arrays, Arrays, Any], Arrays] | None
    """Gradients of the weighted sum of a vector of losses."""
    second: Callable[[Any, Arrays, Arrays, Arrays], Arrays] | None
    """Gradients of the product of the gradients with directions."""
    left_out: tuple[str, ...] = ()
    """Modes that cannot be tried here, and why."""


def installed(name: str) -> Framework | None:
    """None without the package."""
    # torch.compile imports Triton, which has to come before TensorFlow (see `triton_is_late`).
    if name == "tensorflow" and name not in sys.modules and find_spec("triton"):
        import_module("triton")
    try:
        module = import_module(name)
    except ImportError:
        return None
    return _MAKERS[name](module)


def _numpy(np_: Any) -> Framework:
    def eager(loss: Any, x: Arrays, rest: Arrays, dtype: str, factor: float) -> Any:
        value, found = loss.value_and_grad(*(z.astype(dtype) for z in x), *rest)
        return value, [(factor * g).astype(g.dtype) for g in found]

    return Framework("NumPy", {"eager": eager}, None, None)


def _torch(torch: Any) -> Framework:
    from nearfar.frameworks.torch.device import triton_is_late

    def leaves(x: Arrays, dtype: str) -> list[Any]:
        return [torch.tensor(z).to(getattr(torch, dtype)).requires_grad_() for z in x]

    def run(function: Any, x: Arrays, rest: Arrays, dtype: str, factor: float) -> Any:
        inputs = leaves(x, dtype)
        value = function(*inputs, *map(torch.tensor, rest))
        return value.detach(), torch.autograd.grad(factor * value, inputs)

    def compiled(loss: Any, x: Arrays, rest: Arrays, dtype: str, factor: float) -> Any:
        torch.compiler.reset()
        program = torch.compile(
            lambda *given: loss(*given), fullgraph=True, dynamic=True, backend="aot_eager"
        )
        return run(program, x, rest, dtype, factor)

    def vector(loss: Any, x: Arrays, rest: Arrays, weights: Any) -> Arrays:
        inputs = leaves(x, "float64")
        values = loss(*inputs, *map(torch.tensor, rest))
        found: Arrays = torch.autograd.grad(values, inputs, torch.tensor(weights))
        return found

    def second(loss: Any, x: Arrays, rest: Arrays, directions: Arrays) -> Arrays:
        inputs = leaves(x, "float64")
        value = loss(*inputs, *map(torch.tensor, rest))
        first = torch.autograd.grad(value, inputs, create_graph=True)
        along = sum((g * torch.tensor(d)).sum() for g, d in zip(first, directions, strict=True))
        found: Arrays = torch.autograd.grad(along, inputs)
        return found

    if triton_is_late():
        why = "torch.compile: TensorFlow was imported before Triton; import triton first"
        return Framework("PyTorch", {"eager": run}, vector, second, (why,))
    return Framework("PyTorch", {"eager": run, "torch.compile": compiled}, vector, second)


def _tensorflow(tf: Any) -> Framework:
    def eager(
        loss: Any, x: Arrays, rest: Arrays, dtype: str, factor: float, wrap: Any = None
    ) -> Any:
        count = len(x)

        def run(*arrays: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(arrays[:count])
                value = loss(*arrays)
                scaled = factor * value
            return value, tape.gradient(scaled, arrays[:count])

        arrays = (*(tf.cast(tf.constant(z), dtype) for z in x), *map(tf.constant, rest))
        return (wrap(run, arrays) if wrap else run)(*arrays)

    def function(loss: Any, x: Arrays, rest: Arrays, dtype: str, factor: float) -> Any:
        def wrap(run: Any, arrays: Any) -> Any:
            signature = [tf.TensorSpec([None, *z.shape[1:]], z.dtype) for z in arrays]
            return tf.function(run, autograph=False, input_signature=signature)

        return eager(loss, x, rest, dtype, factor, wrap)

    return Framework("TensorFlow", {"eager": eager, "tf.function": function}, None, None)


def _jax(jax: Any) -> Framework:
    def eager(
        loss: Any, x: Arrays, rest: Arrays, dtype: str, factor: float, wrap: Any = None
    ) -> Any:
        def scaled(*arrays: Any) -> Any:
            value = loss(*arrays)
            return factor * value, value

        gradient = jax.value_and_grad(scaled, tuple(range(len(x))), has_aux=True)
        arrays = (*(jax.numpy.asarray(z).astype(dtype) for z in x), *map(jax.numpy.asarray, rest))
        (_, value), found = (wrap(gradient) if wrap else gradient)(*arrays)
        return value, found

    def jit(loss: Any, x: Arrays, rest: Arrays, dtype: str, factor: float) -> Any:
        return eager(loss, x, rest, dtype, factor, jax.jit)

    return Framework("JAX", {"eager": eager, "jit": jit}, None, None)


_MAKERS: dict[str, Callable[[Any], Framework]] = {
    "numpy": _numpy,
    "torch": _torch,
    "tensorflow": _tensorflow,
    "jax": _jax,
}
FRAMEWORKS = tuple(_MAKERS)


def read(x: Any) -> Any:
    """In float64."""
    return np.asarray(to_host(x), dtype=np.float64)


def dtype_name(x: Any) -> str:
    return str(getattr(x.dtype, "name", x.dtype)).removeprefix("torch.")

"""How each framework runs a loss: eager and compiled, first and second derivatives."""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from nearfar.frameworks import to_host

Arrays = Sequence[Any]
Run = Callable[[Arrays, Arrays, str, float], tuple[Any, Arrays]]
"""Value, and upstream times its gradients, of a loss on embeddings and the rest, in a dtype."""
Mode = Callable[[Any], Run]
"""Makes a loss ready; what it compiles serves all batches that the program takes."""


class Framework(NamedTuple):
    name: str
    modes: dict[str, Mode]
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
    def eager(loss: Any) -> Run:
        def run(x: Arrays, rest: Arrays, dtype: str, factor: float) -> tuple[Any, Arrays]:
            value, found = loss.value_and_grad(*(z.astype(dtype) for z in x), *rest)
            return value, [(factor * g).astype(g.dtype) for g in found]

        return run

    return Framework("NumPy", {"eager": eager}, None, None)


def _torch(torch: Any) -> Framework:
    from nearfar.frameworks.torch.device import triton_is_late

    def leaves(x: Arrays, dtype: str) -> list[Any]:
        return [torch.tensor(z).to(getattr(torch, dtype)).requires_grad_() for z in x]

    def eager(function: Any) -> Run:
        def run(x: Arrays, rest: Arrays, dtype: str, factor: float) -> tuple[Any, Arrays]:
            inputs = leaves(x, dtype)
            value = function(*inputs, *map(torch.tensor, rest))
            return value.detach(), torch.autograd.grad(factor * value, inputs)

        return run

    def compiled(loss: Any) -> Run:
        torch.compiler.reset()
        return eager(
            torch.compile(
                lambda *given: loss(*given), fullgraph=True, dynamic=True, backend="aot_eager"
            )
        )

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
        return Framework("PyTorch", {"eager": eager}, vector, second, (why,))
    return Framework("PyTorch", {"eager": eager, "torch.compile": compiled}, vector, second)


def _tensorflow(tf: Any) -> Framework:
    def differentiated(loss: Any, count: int, factor: float) -> Any:
        def run(*arrays: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(arrays[:count])
                value = loss(*arrays)
                scaled = factor * value
            return value, tape.gradient(scaled, arrays[:count])

        return run

    def given(x: Arrays, rest: Arrays, dtype: str) -> list[Any]:
        return [*(tf.cast(tf.constant(z), dtype) for z in x), *map(tf.constant, rest)]

    def eager(loss: Any) -> Run:
        def run(x: Arrays, rest: Arrays, dtype: str, factor: float) -> tuple[Any, Arrays]:
            found: tuple[Any, Arrays] = differentiated(loss, len(x), factor)(*given(x, rest, dtype))
            return found

        return run

    def function(loss: Any) -> Run:
        programs: dict[Any, Any] = {}

        def run(x: Arrays, rest: Arrays, dtype: str, factor: float) -> tuple[Any, Arrays]:
            arrays = given(x, rest, dtype)
            signature = [tf.TensorSpec([None, *z.shape[1:]], z.dtype) for z in arrays]
            key = (len(x), factor, *signature)
            if key not in programs:
                programs[key] = tf.function(
                    differentiated(loss, len(x), factor),
                    autograph=False,
                    input_signature=signature,
                )
            found: tuple[Any, Arrays] = programs[key](*arrays)
            return found

        return run

    return Framework("TensorFlow", {"eager": eager, "tf.function": function}, None, None)


def _jax(jax: Any) -> Framework:
    def eager(loss: Any, wrap: Any = lambda gradient: gradient) -> Run:
        def run(x: Arrays, rest: Arrays, dtype: str, factor: float) -> tuple[Any, Arrays]:
            def scaled(*arrays: Any) -> Any:
                value = loss(*arrays)
                return factor * value, value

            gradient = wrap(jax.value_and_grad(scaled, tuple(range(len(x))), has_aux=True))
            inputs = (jax.numpy.asarray(z).astype(dtype) for z in x)
            (_, value), found = gradient(*inputs, *map(jax.numpy.asarray, rest))
            return value, found

        return run

    def jit(loss: Any) -> Run:
        return eager(loss, jax.jit)

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

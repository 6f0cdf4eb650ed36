"""Calling a function in a framework: arrays in, value and gradients out as NumPy."""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nearfar.check.target.calls import Call
from nearfar.check.target.returned import Value, framework_of, loss_of, to_numpy, value_of

FRAMEWORKS = ("numpy", "torch", "tensorflow", "jax")
DTYPES = ("float64", "float32", "bfloat16", "float16")

Gradients = list[np.ndarray | None]


def coarser(given: str, returned: str) -> str:
    """What a loss computes in: some take float64 and go on in float32."""
    ranks = [DTYPES.index(name) if name in DTYPES else 0 for name in (given, returned)]
    return DTYPES[max(ranks)]


def call(fn: Callable[..., Any], asked: Call) -> tuple[Value, Gradients]:
    """The value, and a gradient for each embedding argument, None where there is none."""
    if asked.unit:
        rows = asked.embeddings[:-1] if asked.learned else asked.embeddings
        fn = _on_unit_rows(fn, rows)
    return _CALLS[asked.framework](fn, asked)


def _on_unit_rows(fn: Callable[..., Any], embeddings: Sequence[int]) -> Callable[..., Any]:
    """The function after its embeddings are normalised, which gradients go through."""

    def composed(*arrays: Any) -> Any:
        return fn(*(_unit(x) if k in embeddings else x for k, x in enumerate(arrays)))

    return composed


def _unit(x: Any) -> Any:
    if framework_of(x) == "tensorflow":
        return x / importlib.import_module("tensorflow").norm(x, axis=-1, keepdims=True)
    if framework_of(x) == "torch":
        return x / x.norm(dim=-1, keepdim=True)
    return x / (x * x).sum(axis=-1, keepdims=True) ** 0.5


def _numpy(fn: Callable[..., Any], asked: Call) -> tuple[Value, Gradients]:
    if asked.dtype == "bfloat16":
        raise TypeError("NumPy has no bfloat16")
    given = [x.astype(asked.dtype) if x.dtype.kind == "f" else x.copy() for x in asked.arrays]
    return value_of(fn(*given)), [None for _ in asked.embeddings]


def _torch(fn: Callable[..., Any], asked: Call) -> tuple[Value, Gradients]:
    torch = importlib.import_module("torch")
    dtype = getattr(torch, asked.dtype)
    given = [
        torch.tensor(x, dtype=dtype) if x.dtype.kind == "f" else torch.tensor(x)
        for x in asked.arrays
    ]
    for k in asked.embeddings if asked.gradient else ():
        given[k].requires_grad_(True)
    out = fn(*given)
    value = value_of(out)
    found: Gradients = [None for _ in asked.embeddings]
    loss, _ = loss_of(out)
    if asked.gradient and value.framework == "torch" and loss.requires_grad:
        wanted = [given[k] for k in asked.embeddings]
        grads = torch.autograd.grad(loss.sum(), wanted, allow_unused=True)
        found = [None if g is None else to_numpy(g) for g in grads]
    return value, found


def _tensorflow(fn: Callable[..., Any], asked: Call) -> tuple[Value, Gradients]:
    tf = importlib.import_module("tensorflow")
    dtype = getattr(tf, asked.dtype)
    given = [
        tf.constant(x, dtype=dtype) if x.dtype.kind == "f" else tf.constant(x) for x in asked.arrays
    ]
    wanted = [given[k] for k in asked.embeddings]
    with tf.GradientTape() as tape:
        for x in wanted if asked.gradient else ():
            tape.watch(x)
        out = fn(*given)
        loss, _ = loss_of(out)
        total = tf.reduce_sum(loss) if framework_of(loss) == "tensorflow" else None
    found: Gradients = [None for _ in asked.embeddings]
    if asked.gradient and total is not None:
        grads = tape.gradient(total, wanted)
        found = [None if g is None else to_numpy(tf.convert_to_tensor(g)) for g in grads]
    return value_of(out), found


def _jax(fn: Callable[..., Any], asked: Call) -> tuple[Value, Gradients]:
    jax = importlib.import_module("jax")
    given = [
        jax.numpy.asarray(x, dtype=asked.dtype) if x.dtype.kind == "f" else jax.numpy.asarray(x)
        for x in asked.arrays
    ]
    nothing: Gradients = [None for _ in asked.embeddings]
    if not asked.gradient:
        return value_of(fn(*given)), nothing

    def total(*wanted: Any) -> Any:
        inputs = list(given)
        for k, x in zip(asked.embeddings, wanted, strict=True):
            inputs[k] = x
        return jax.numpy.sum(loss_of(fn(*inputs))[0])

    wanted = [given[k] for k in asked.embeddings]
    try:
        grads = jax.grad(total, argnums=tuple(range(len(wanted))))(*wanted)
    except (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError):
        return value_of(fn(*given)), nothing
    return value_of(fn(*given)), [to_numpy(g) for g in grads]


_CALLS: dict[str, Callable[[Callable[..., Any], Call], tuple[Value, Gradients]]] = {
    "numpy": _numpy, "torch": _torch, "tensorflow": _tensorflow, "jax": _jax,
}  # fmt: skip

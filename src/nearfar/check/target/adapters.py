"""Calling a function in a framework: arrays in, value and gradients out as NumPy."""

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

FRAMEWORKS = ("numpy", "torch", "tensorflow", "jax")
DTYPES = ("float64", "float32", "bfloat16", "float16")

Value = tuple[np.ndarray, str, str]


def coarser(given: str, returned: str) -> str:
    """What a loss computes in: some take float64 and go on in float32."""
    ranks = [DTYPES.index(name) if name in DTYPES else 0 for name in (given, returned)]
    return DTYPES[max(ranks)]


def framework_of(x: Any) -> str | None:
    """Whose array it is; plain numbers are NumPy's."""
    torch, tf, jax = (sys.modules.get(m) for m in ("torch", "tensorflow", "jax"))
    if torch is not None and isinstance(x, torch.Tensor):
        return "torch"
    if tf is not None and isinstance(x, (tf.Tensor, tf.Variable)):
        return "tensorflow"
    if jax is not None and isinstance(x, jax.Array):
        return "jax"
    if isinstance(x, (np.ndarray, np.generic, float, int)) and not isinstance(x, bool):
        return "numpy"
    return None


def loss_of(x: Any) -> Any:
    """The loss, where it comes with other things: the first of a tuple, ``loss`` of a mapping."""
    for _ in range(2):
        if isinstance(x, (tuple, list)) and x and framework_of(x[0]) is not None:
            x = x[0]
        elif isinstance(x, dict):
            names = [k for k in x if "loss" in str(k).lower()]
            x = x[names[0]] if names else next(iter(x.values()), None)
    return x


def to_numpy(x: Any) -> np.ndarray:
    """Any array as NumPy float64."""
    kind = framework_of(x)
    if kind == "torch":
        x = x.detach().cpu().double().numpy()
    elif kind == "tensorflow":
        tf = sys.modules["tensorflow"]
        x = tf.cast(x, tf.float64).numpy()
    return np.asarray(x, dtype=np.float64)


def call(
    fn: Callable[..., Any],
    framework: str,
    arrays: Sequence[np.ndarray],
    embeddings: Sequence[int],
    dtype: str,
    gradient: bool,
) -> tuple[np.ndarray, str, str, list[np.ndarray | None]]:
    """Value (float64), its framework and dtype, and a gradient for each embedding argument."""
    return _CALLS[framework](fn, arrays, embeddings, dtype, gradient)


def _numpy(
    fn: Callable[..., Any], arrays: Sequence[np.ndarray], embeddings: Sequence[int], dtype: str,
    gradient: bool,
) -> tuple[np.ndarray, str, str, list[np.ndarray | None]]:  # fmt: skip
    if dtype == "bfloat16":
        raise TypeError("NumPy has no bfloat16")
    given = [x.astype(dtype) if x.dtype.kind == "f" else x.copy() for x in arrays]
    out = fn(*given)
    value, kind, name = _value(out)
    return value, kind, name, [None for _ in embeddings]


def _value(out: Any) -> Value:
    loss = loss_of(out)
    kind = framework_of(loss)
    if kind is None:
        raise TypeError(f"returned {type(loss).__name__}, expected a number or an array")
    dtype = getattr(loss, "dtype", np.dtype(np.float64))
    name = getattr(dtype, "name", str(dtype).rpartition(".")[2])  # PyTorch's have no name
    if name.startswith("complex"):
        raise TypeError("returned a complex number, expected a real one")
    return to_numpy(loss), kind, name


def _torch(
    fn: Callable[..., Any], arrays: Sequence[np.ndarray], embeddings: Sequence[int], dtype: str,
    gradient: bool,
) -> tuple[np.ndarray, str, str, list[np.ndarray | None]]:  # fmt: skip
    torch = importlib.import_module("torch")
    given = [
        torch.tensor(x, dtype=getattr(torch, dtype)) if x.dtype.kind == "f" else torch.tensor(x)
        for x in arrays
    ]
    for k in embeddings if gradient else ():
        given[k].requires_grad_(True)
    out = fn(*given)
    value, kind, name = _value(out)
    found: list[np.ndarray | None] = [None for _ in embeddings]
    loss = loss_of(out)
    if gradient and kind == "torch" and loss.requires_grad:
        wanted = [given[k] for k in embeddings]
        grads = torch.autograd.grad(loss.sum(), wanted, allow_unused=True)
        found = [None if g is None else to_numpy(g) for g in grads]
    return value, kind, name, found


def _tensorflow(
    fn: Callable[..., Any], arrays: Sequence[np.ndarray], embeddings: Sequence[int], dtype: str,
    gradient: bool,
) -> tuple[np.ndarray, str, str, list[np.ndarray | None]]:  # fmt: skip
    tf = importlib.import_module("tensorflow")
    given = [
        tf.constant(x, dtype=getattr(tf, dtype)) if x.dtype.kind == "f" else tf.constant(x)
        for x in arrays
    ]
    wanted = [given[k] for k in embeddings]
    with tf.GradientTape() as tape:
        for x in wanted if gradient else ():
            tape.watch(x)
        out = fn(*given)
        loss = loss_of(out)
        total = tf.reduce_sum(loss) if framework_of(loss) == "tensorflow" else None
    value, kind, name = _value(out)
    found: list[np.ndarray | None] = [None for _ in embeddings]
    if gradient and total is not None:
        grads = tape.gradient(total, wanted)
        found = [None if g is None else to_numpy(tf.convert_to_tensor(g)) for g in grads]
    return value, kind, name, found


def _jax(
    fn: Callable[..., Any], arrays: Sequence[np.ndarray], embeddings: Sequence[int], dtype: str,
    gradient: bool,
) -> tuple[np.ndarray, str, str, list[np.ndarray | None]]:  # fmt: skip
    jax = importlib.import_module("jax")
    given = [
        jax.numpy.asarray(x, dtype=dtype) if x.dtype.kind == "f" else jax.numpy.asarray(x)
        for x in arrays
    ]
    if not gradient:
        return (*_value(fn(*given)), [None for _ in embeddings])
    seen: list[Any] = []

    def total(*wanted: Any) -> Any:
        inputs = list(given)
        for k, x in zip(embeddings, wanted, strict=True):
            inputs[k] = x
        loss = loss_of(fn(*inputs))
        seen.append(loss)
        return jax.numpy.sum(loss)

    wanted = [given[k] for k in embeddings]
    try:
        grads = jax.grad(total, argnums=tuple(range(len(wanted))))(*wanted)
    except (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError):
        return (*_value(fn(*given)), [None for _ in embeddings])
    return (*_value(fn(*given)), [to_numpy(g) for g in grads])


_CALLS: dict[str, Callable[..., tuple[np.ndarray, str, str, list[np.ndarray | None]]]] = {
    "numpy": _numpy, "torch": _torch, "tensorflow": _tensorflow, "jax": _jax,
}  # fmt: skip

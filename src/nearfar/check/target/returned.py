"""What a target returned as a value: a number or an array, its framework and its dtype."""

import sys
from typing import Any, NamedTuple

import numpy as np

CROSS_ENTROPY = "it returns logits and labels, of which the mean cross-entropy is taken"


class Value(NamedTuple):
    """float64, whatever it was; `note` where it had to be made of what came."""

    array: np.ndarray
    framework: str
    dtype: str
    note: str = ""


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


def loss_of(x: Any) -> tuple[Any, str]:
    """The loss, where it comes with other things, and what was done to have it.

    The first of a tuple, ``loss`` of a mapping; of logits (N, M) beside integer labels (N,) the
    cross-entropy, which people take outside.
    """
    for _ in range(2):
        if isinstance(x, (tuple, list)) and x and framework_of(x[0]) is not None:
            if len(x) > 1 and _are_logits(x[0], x[1]):
                return _cross_entropy(x[0], x[1]), CROSS_ENTROPY
            x = x[0]
        elif isinstance(x, dict):
            names = [k for k in x if "loss" in str(k).lower()]
            x = x[names[0]] if names else next(iter(x.values()), None)
    return x, ""


def value_of(out: Any) -> Value:
    """Read what came back."""
    loss, note = loss_of(out)
    kind = framework_of(loss)
    if kind is None:
        raise TypeError(f"returned {type(loss).__name__}, expected a number or an array")
    dtype = getattr(loss, "dtype", np.dtype(np.float64))
    name = _dtype_name(dtype)
    if name.startswith("complex"):
        raise TypeError("returned a complex number, expected a real one")
    return Value(to_numpy(loss), kind, name, note)


def to_numpy(x: Any) -> np.ndarray:
    """Any array as NumPy float64."""
    kind = framework_of(x)
    if kind == "torch":
        x = x.detach().cpu().double().numpy()
    elif kind == "tensorflow":
        tf = sys.modules["tensorflow"]
        x = tf.cast(x, tf.float64).numpy()
    return np.asarray(x, dtype=np.float64)


def _dtype_name(dtype: Any) -> str:
    return str(getattr(dtype, "name", str(dtype).rpartition(".")[2]))  # PyTorch's have no name


def _are_logits(logits: Any, labels: Any) -> bool:
    if framework_of(logits) is None or framework_of(logits) != framework_of(labels):
        return False
    shapes = [tuple(getattr(x, "shape", ())) for x in (logits, labels)]
    names = [_dtype_name(getattr(x, "dtype", "")) for x in (logits, labels)]
    matched = len(shapes[0]) == 2 and shapes[1] == shapes[0][:1]
    return matched and "float" in names[0] and names[1].startswith(("int", "uint"))


def _cross_entropy(logits: Any, labels: Any) -> Any:
    kind = framework_of(logits)
    if kind == "torch":
        return sys.modules["torch"].nn.functional.cross_entropy(logits, labels.long())
    if kind == "tensorflow":
        tf = sys.modules["tensorflow"]
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
    xp: Any = np if kind == "numpy" else sys.modules["jax"].numpy
    top = logits.max(axis=1, keepdims=True)
    below = xp.log(xp.exp(logits - top).sum(axis=1)) + top[:, 0]
    return (below - logits[xp.arange(len(logits)), labels]).mean()

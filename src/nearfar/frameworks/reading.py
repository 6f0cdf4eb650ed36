"""Values on the host, of whatever holds numbers or labels."""

import sys
from typing import Any

import numpy as np

from nearfar.frameworks.dispatch import framework_name, namespace_of


def unwrapped(x: Any) -> Any:
    """`x`, or the array of its framework that it holds: a variable of Keras."""
    variable = getattr(sys.modules.get("keras"), "Variable", None)
    return x.value if variable is not None and isinstance(x, variable) else x


def to_host(x: Any) -> np.ndarray:
    """A NumPy array of `x`: an array of any framework on any device, a list of those, or a list.

    It waits for the values and cuts them from any gradient. Floats narrower than NumPy knows them
    (bfloat16) come as float32, as do float16 of other frameworks. Masks stay; see `missing`.

    Raises
    ------
    ValueError
        For rows of unequal length.
    """
    x = unwrapped(x)
    if framework_name(x) not in (None, "numpy"):
        ns = namespace_of([("x", x)])
        x = ns.stop_gradient(x)
        return ns.to_numpy(ns.cast(x, ns.compute_dtype(x)) if ns.is_floating(x) else x)
    if _holds_arrays(x):
        return np.asarray([to_host(part) for part in x])
    array = np.asanyarray(x) if isinstance(x, np.ma.MaskedArray) else np.asarray(x)
    # The dtypes of ml_dtypes, which JAX and TensorFlow give NumPy, are of no kind of its own.
    narrow = array.dtype.kind == "V" and array.dtype.name.startswith(("bfloat", "float"))
    return array.astype(np.float32) if narrow else array


def _holds_arrays(x: Any) -> bool:
    while isinstance(x, list | tuple) and x:
        x = x[0]
    return framework_name(x) not in (None, "numpy")


def missing(labels: np.ndarray) -> np.ndarray:
    """Which labels (n,) are none: NaN, NaT, None, pandas' NA, masked places."""
    absent: np.ndarray
    if labels.dtype.kind == "O":
        absent = np.array([_is_missing(label) for label in np.ma.getdata(labels)], dtype=bool)
    else:
        # NaN and NaT are unequal to themselves.
        absent = np.asarray(np.ma.getdata(labels) != np.ma.getdata(labels))
    return absent | np.ma.getmaskarray(labels)


def _is_missing(label: Any) -> bool:
    if label is None:
        return True
    try:
        return bool(label != label)
    except (TypeError, ValueError):  # pandas' NA is neither equal nor unequal to itself
        return type(label).__name__ == "NAType"

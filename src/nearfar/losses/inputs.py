"""Embeddings as a loss takes them, or a message with the remedy."""

from collections.abc import Mapping
from sys import modules
from typing import Any

import numpy as np

from nearfar.frameworks import Array, Namespace


def embeddings(
    ns: Namespace, name: str, x: Any, check_finite: bool | None, may_be_empty: bool = False
) -> Array:
    """Rows of real numbers, (n, d) or (n, f1, ..., fk)."""
    if ns.on_host:
        x = _numpy_embeddings(name, x)
    elif not ns.is_array(x):
        raise TypeError(
            f"expected {name} to be a {ns.name} array like the other embeddings; received "
            f"{type(x).__name__}; convert it first"
        )
    elif not ns.is_floating(x):
        raise TypeError(
            f"expected {name} to be a {ns.name} array of a floating dtype; received {x.dtype}; "
            "convert it, for instance to float32"
        )
    elif not ns.is_dense(x):
        raise TypeError(
            f"expected {name} to be a dense {ns.name} array, its rows of one length; received a "
            "sparse or nested one; convert it, for instance by to_dense()"
        )
    shape = tuple(x.shape)
    if len(shape) < 2:
        # Keras calls losses with the labels first, and so do people who come from it.
        keras = "; in Keras wrap the loss, nearfar.keras.Loss(loss)" if "keras" in modules else ""
        raise ValueError(
            f"expected {name} to have rows and features, (n, d); received shape {shape}; labels "
            f"and targets come after the embeddings{keras}"
        )
    if 0 in (shape[1:] if may_be_empty else shape):
        raise ValueError(
            f"expected {name} to have at least one row and one feature; received shape {shape}"
        )
    refuse_infinite(ns, name, x, check_finite)
    return x


def refuse_several_devices(ns: Namespace, arrays: Mapping[str, Array]) -> None:
    """Embeddings and learned parameters are computed on where they lie."""
    if len(arrays) < 2:
        return
    places = {name: ns.place(x) for name, x in arrays.items()}
    if len(set(places.values())) < 2:
        return
    listed = " and ".join(f"{name} on {place}" for name, place in places.items())
    raise ValueError(
        f"expected arrays on one device; received {listed}; move them to the device of the model"
    )


def host_array(name: str, x: Any) -> np.ndarray:
    """In the machine's byte order, which the other frameworks and BLAS know alone."""
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise ValueError(
            f"expected {name} to have rows of equal length; received ragged lists; make them "
            "equally long"
        ) from error
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _numpy_embeddings(name: str, x: Any) -> Array:
    x = host_array(name, x)
    if x.dtype.kind in "iu":
        return x.astype(np.float64)
    if x.dtype.kind != "f" or x.dtype.itemsize > 8:
        raise TypeError(
            f"expected {name} to hold real numbers (float16, float32, float64 or integers); "
            f"received dtype {x.dtype}; convert it with {name}.astype(float)"
        )
    return x


def refuse_infinite(ns: Namespace, name: str, x: Array, check_finite: bool | None) -> None:
    """By default where `Namespace.checks_values`, which is NumPy."""
    if not (ns.checks_values if check_finite is None else check_finite):
        return
    if ns.surely_finite(x):
        return
    good = ns.xp.isfinite(x)
    try:
        fine = bool(ns.xp.all(good))
    except TypeError as error:  # the values are symbols
        raise TypeError(
            f"expected {name} with values to look at for check_finite=True; received one of a "
            "function that is being compiled; call the loss outside of it, or leave check_finite "
            "out of with_options"
        ) from error
    if not fine:
        refuse_rows(name, x, ns.to_numpy(good))


def refuse_rows(name: str, x: Array, good: np.ndarray) -> None:
    rows = np.flatnonzero(~good.all(axis=tuple(range(1, good.ndim))))
    if not rows.size:
        return
    raise ValueError(
        f"expected {name} to be finite; received NaN or infinity, first in row {rows[0]} "
        f"({len(rows)} of {x.shape[0]} rows); repair those rows, or pass check_finite=False to "
        "with_options to let them through"
    )

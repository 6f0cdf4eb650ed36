"""Embeddings, labels and targets as a loss takes them, or a message with the remedy."""

from collections.abc import Mapping
from sys import modules
from typing import Any

import numpy as np

from nearfar.frameworks import Array, Namespace, framework_name, missing


def embeddings(ns: Namespace, name: str, x: Any, check_finite: bool | None) -> Array:
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
    if 0 in shape:
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


def _host_array(name: str, x: Any) -> np.ndarray:
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
    x = _host_array(name, x)
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
        _refuse_rows(name, x, ns.to_numpy(good))


def _refuse_rows(name: str, x: Array, good: np.ndarray) -> None:
    rows = np.flatnonzero(~good.reshape(len(good), -1).all(axis=1))
    if not rows.size:
        return
    raise ValueError(
        f"expected {name} to be finite; received NaN or infinity, first in row {rows[0]} "
        f"({len(rows)} of {x.shape[0]} rows); repair those rows, or pass check_finite=False to "
        "with_options to let them through"
    )


def _numbered(x: np.ndarray, absent: np.ndarray) -> np.ndarray:
    """Objects as class numbers: they have equality, but those of several types have no order.

    A missing label equals none, as NaN.
    """
    numbers: dict[Any, float] = {}
    nan = float("nan")
    return np.array(
        [
            nan if no else numbers.setdefault(v, len(numbers))
            for v, no in zip(x, absent, strict=True)
        ]
    )


def labels(ns: Namespace, name: str, x: Any, like: Array, check_finite: bool | None) -> Array:
    """Labels (n,) of any dtype with equality, or (n, c) in {0, 1}, beside the embeddings."""
    foreign = ns.on_host or framework_name(x) != ns.name
    masked = isinstance(x, np.ma.MaskedArray)
    given, x = x, _host_array(name, x) if foreign else ns.beside(x, like)
    shape, n = tuple(x.shape), like.shape[0]
    if len(shape) == 2 and shape[1] == 1:
        raise ValueError(
            f"expected {name} of shape (n,), or (n, c) with several columns of 0 and 1; received "
            f"{shape}: pass {name}.ravel()"
        )
    if len(shape) not in (1, 2) or shape[0] != n:
        raise ValueError(
            f"expected {name} of shape ({n},) or ({n}, c), one row per embedding; received {shape}"
        )
    if foreign and (len(shape) == 1 or x.dtype.kind == "f"):
        absent = missing(given if masked else x)
        if check_finite is not False and absent.any():
            row = int(np.flatnonzero(absent.reshape(n, -1).any(axis=1))[0])
            raise ValueError(
                f"expected {name} without NaN or others that are missing (None, NaT, NA, masked), "
                f"which equal nothing; received one in row {row}; leave such rows out, or give "
                "each a label of its own"
            )
        if len(shape) == 1 and (x.dtype.kind == "O" or masked):
            x = _numbered(x, absent)
    if len(shape) == 2:
        _refuse_other_than_marks(ns, name, x, foreign)
        return ns.asarray(x, like) if foreign else x
    if foreign and not ns.on_host:
        # Class numbers serve every dtype that the framework may lack, strings included.
        return ns.asarray(np.unique(x, return_inverse=True)[1], like, ns.xp.int64)
    return x


def _refuse_other_than_marks(ns: Namespace, name: str, x: Array, foreign: bool) -> None:
    known = x if foreign else ns.peek(x)
    if known is not None and (known.dtype.kind not in "biuf" or not np.isin(known, (0, 1)).all()):
        raise ValueError(
            f"expected {name} with two axes to hold 0 and 1 only, marking the labels of each row; "
            "received other values; pass class labels along one axis, "
            f"({x.shape[0]},)"
        )


def unless_marks(ns: Namespace, x: Array, labels: Array) -> Array:
    """Embeddings, NaN where labels with two axes hold other values than 0 and 1.

    Where the host can read them they were refused. Elsewhere (in compiled programs, on a GPU) soft
    labels would put all rows into one class without a word.
    """
    if len(labels.shape) == 1 or labels.dtype == ns.xp.bool or ns.peek(labels) is not None:
        return x
    marks = ns.xp.all((labels == 0) | (labels == 1))
    spoiled = 1 - ns.cast(marks, x.dtype)
    return x + 0 * (spoiled / (1 - spoiled))


def targets(ns: Namespace, name: str, x: Any, like: Array, check_finite: bool | None) -> Array:
    """Targets (n,) or (n, t) of real numbers, in their own dtype, beside the embeddings."""
    foreign = ns.on_host or framework_name(x) != ns.name
    x = _host_array(name, x) if foreign else ns.beside(x, like)
    shape, n = tuple(x.shape), like.shape[0]
    if len(shape) not in (1, 2) or shape[0] != n or 0 in shape:
        raise ValueError(
            f"expected {name} of shape ({n},) or ({n}, t), one row per embedding; received {shape}"
        )
    floating = x.dtype in (np.float16, np.float32, np.float64) if foreign else ns.is_floating(x)
    whole = any(kind in str(x.dtype) for kind in ("int", "bool"))
    if not (floating or whole):
        raise TypeError(
            f"expected {name} to hold real numbers, whose distances are ranked; received dtype "
            f"{x.dtype}; convert it, or take a loss of labels such as SupCon"
        )
    if foreign and floating and check_finite is not False:
        _refuse_rows(name, x, np.isfinite(x))
    elif floating:
        refuse_infinite(ns, name, x, check_finite)
    if foreign and not ns.on_host:
        return ns.asarray(x, like, getattr(ns.xp, x.dtype.name) if floating else ns.xp.int64)
    return x if floating else ns.cast(x, ns.xp.int64)


FACTS = {"labels": labels, "targets": targets}
"""By the names of the inputs that are no embeddings."""

"""Labels and ids: facts of which it matters only who equals whom, whatever they are."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from nearfar.frameworks import Array, Namespace, missing
from nearfar.losses.fact_arrays import Call, fits, taken


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


def _class_numbers(call: Call, given: Any) -> Array:
    """Whole numbers (n,) from 0 on and below the number of proxies."""
    x, foreign = taken(call, "labels", given)
    ns, shape = call.ns, tuple(x.shape)
    n, classes = call.like.shape[0], call.embeddings["proxies"].shape[0]
    if not fits(x, (n,)):
        raise ValueError(
            f"expected labels of shape ({n},), the number of each row's proxy; received {shape}"
        )
    if not any(kind in str(x.dtype) for kind in ("int",)):
        raise TypeError(
            "expected labels of whole numbers, which are rows of proxies; received dtype "
            f"{x.dtype}; number the classes, for instance by numpy.unique(..., return_inverse=True)"
        )
    known = x if foreign else ns.peek(x)
    if known is not None and isinstance(classes, int):
        beside = (known < 0) | (known >= classes)
        if beside.any():
            row = int(np.flatnonzero(beside)[0])
            raise ValueError(
                f"expected labels from 0 to {classes - 1}, which are rows of proxies; received "
                f"{known[row]} in row {row}"
            )
    return ns.asarray(x, call.like, ns.xp.int64) if foreign else ns.cast(x, ns.xp.int64)


class _Equal(NamedTuple):
    """Values of which equality matters, along one axis, or marks along two."""

    x: Any
    foreign: bool
    absent: Any
    """Where a value is missing; None where the framework holds the array."""


def labels(call: Call, given: Mapping[str, Any]) -> dict[str, Array]:
    """Labels (n,) of any dtype with equality, or (n, c) in {0, 1}, of the rows and of a reference.

    Those of both are numbered together. Beside proxies they are numbers of those.
    """
    if "proxies" in call.embeddings:
        return {"labels": _class_numbers(call, given["labels"])}
    found = {}
    for name, x in given.items():
        rows = call.rows_of(name)
        found[name] = _labels(call, name, x, rows)
    first = found["labels"]
    for name, each in found.items():
        # What a queue has before anything is pushed.
        if len(first.x.shape) == 2 and tuple(each.x.shape) == (0,):
            found[name] = first._replace(x=first.x[:0])
    axes = {name: len(each.x.shape) for name, each in found.items()}
    if len(set(axes.values())) > 1:
        told = " and ".join(f"{name} with {count}" for name, count in axes.items())
        raise ValueError(
            f"expected labels of one kind, (n,) or multi-hot (n, c); received {told} axes; give "
            "both the same way"
        )
    if any(count == 2 for count in axes.values()):
        widths = {each.x.shape[1] for each in found.values()}
        if len(widths) > 1:
            raise ValueError(
                "expected multi-hot labels with one column for each label, as many for the "
                f"reference; received {' and '.join(map(str, sorted(widths)))} columns"
            )
        for name, each in found.items():
            _refuse_other_than_marks(call.ns, name, each.x, each.foreign)
        ns, like = call.ns, call.like
        return {
            k: ns.asarray(e.x, like) if e.foreign else ns.beside(e.x, like)
            for k, e in found.items()
        }
    return _equal(call, found)


def _labels(call: Call, name: str, x: Any, rows: Array) -> _Equal:
    given = x
    x, foreign = taken(call, name, x, may_stay=True)
    shape, n = tuple(x.shape), rows.shape[0]
    if len(shape) == 2 and shape[1] == 1:
        raise ValueError(
            f"expected {name} of shape (n,), or (n, c) with several columns of 0 and 1; received "
            f"{shape}: pass {name}.ravel()"
        )
    if len(shape) not in (1, 2) or shape[0] != n:
        raise ValueError(
            f"expected {name} of shape ({n},) or ({n}, c), one row per embedding; received {shape}"
        )
    if not foreign or (len(shape) == 2 and x.dtype.kind != "f"):
        return _Equal(x, foreign, None)
    return _Equal(x, foreign, _absent(call, name, x, given, "label"))


def _absent(call: Call, name: str, x: np.ndarray, given: Any, one: str) -> np.ndarray:
    masked = isinstance(given, np.ma.MaskedArray)
    absent: np.ndarray = missing(given if masked else x)
    if call.check_finite is not False and absent.any():
        row = int(np.flatnonzero(absent.reshape(len(x), -1).any(axis=1))[0])
        raise ValueError(
            f"expected {name} without NaN or others that are missing (None, NaT, NA, masked), "
            f"which equal nothing; received one in row {row}; leave such rows out, or give "
            f"each {'a' if one == 'label' else 'an'} {one} of its own"
        )
    return absent if masked or x.dtype.kind == "O" else np.zeros_like(absent)


def _equal(call: Call, found: Mapping[str, _Equal]) -> dict[str, Array]:
    """Arrays (n,) that are compared with each other, in a dtype that the framework has."""
    ns, like = call.ns, call.like
    host = {name: each for name, each in found.items() if each.foreign}
    if len(host) < len(found) and any(each.x.dtype.kind not in "biuf" for each in host.values()):
        told = " and ".join(f"{name} of dtype {each.x.dtype}" for name, each in found.items())
        raise TypeError(
            f"expected labels that can be compared; received {told}; number the classes, alike in "
            "both"
        )
    stay = all(ns.stays(each.x, like) for each in found.values())
    if not host:
        return {name: each.x if stay else ns.beside(each.x, like) for name, each in found.items()}
    arrays = _comparable({name: each.x for name, each in host.items()})
    objects = any(x.dtype.kind == "O" for x in arrays.values()) or any(
        each.absent is not None and each.absent.any() for each in host.values()
    )
    together = np.concatenate(list(arrays.values()))
    if objects:
        absent = [
            np.zeros(len(each.x), bool) if each.absent is None else each.absent
            for each in host.values()
        ]
        together = _numbered(together, np.concatenate(absent))
    elif ns.on_host:
        return arrays
    ends = np.cumsum([len(x) for x in arrays.values()])[:-1]
    if not ns.on_host and len(host) == len(found):
        # Class numbers serve every dtype that the framework may lack, strings included.
        together = np.unique(together, return_inverse=True, equal_nan=False)[1]
    parts = dict(zip(arrays, np.split(together, ends), strict=True))
    if ns.on_host:
        return parts
    if stay and len(host) == len(found):
        return {name: ns.placed(x) for name, x in parts.items()}
    dtype = ns.xp.int64 if together.dtype.kind in "biu" else None
    read = {name: ns.asarray(x, like, dtype) for name, x in parts.items()}
    return {
        name: read[name] if name in read else ns.beside(each.x, like)
        for name, each in found.items()
    }


def _comparable(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Raise TypeError for text beside numbers, of which NumPy would make text."""
    some = next((x for x in arrays.values() if len(x)), None)
    if some is not None:
        # An empty list has a dtype that nobody meant.
        arrays = {name: x if len(x) else x.astype(some.dtype) for name, x in arrays.items()}
    text = {x.dtype.kind in "US" for x in arrays.values()}
    if len(text) > 1:
        told = " and ".join(f"{name} of dtype {x.dtype}" for name, x in arrays.items())
        raise TypeError(
            f"expected labels that can be compared; received {told}; give both as text or both as "
            "numbers"
        )
    return arrays


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
    # No product with 0, which PyTorch's compiler folds. The root of -1 reaches the gradient too.
    return x + ns.xp.sqrt(ns.cast(marks, x.dtype) - 1)


def ids(call: Call, given: Mapping[str, Any]) -> dict[str, Array]:
    """Ids (N,) of any dtype with equality, for both sides or one for each."""
    x = given["ids"]
    sides = list(call.embeddings)[:2]
    parts = {"ids": x}
    alone = (str, bytes, int, float, np.generic)
    if isinstance(x, tuple) and len(x) == 2 and not any(isinstance(part, alone) for part in x):
        if "x" not in call.embeddings:
            raise ValueError(
                "expected ids of shape (N,), one for each row of the batch; received a pair of "
                "arrays, which two sides take"
            )
        parts = dict(zip(("ids.0", "ids.1"), x, strict=True))
    found = {}
    for k, (name, part) in enumerate(parts.items()):
        array, foreign = taken(call, name, part, may_stay=True)
        n = call.embeddings[sides[k]].shape[0]
        if not fits(array, (n,)):
            raise ValueError(
                f"expected {name} of shape ({n},), one for each row of {sides[k]}; received "
                f"{tuple(array.shape)}"
            )
        absent = _absent(call, name, array, part, "id") if foreign else None
        found[name] = _Equal(array, foreign, absent)
    return _equal(call, found)

"""Facts about rows as a loss takes them, or a message with the remedy: labels, targets, ids,
weights, frequencies, a guide's embeddings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from nearfar.frameworks import Array, Namespace, framework_name, missing
from nearfar.losses.inputs import host_array, refuse_infinite, refuse_rows


@dataclass(frozen=True)
class Call:
    """What is known of a call before its facts are read."""

    ns: Namespace
    embeddings: Mapping[str, Array]
    check_finite: bool | None
    both: bool = False
    """Whether the batch is among the candidates beside a reference."""

    @property
    def like(self) -> Array:
        return next(iter(self.embeddings.values()))

    def rows_of(self, name: str) -> Array:
        """The embeddings that labels or targets belong to."""
        return self.embeddings["reference"] if name.startswith("reference_") else self.like


def read(call: Call, given: Mapping[str, Any]) -> dict[str, Array]:
    """Facts by name. One that is several arrays has a name for each: "guide.0", "guide.1"."""
    found: dict[str, Array] = {}
    for names, reader in _READERS:
        some = {name: given[name] for name in names if name in given}
        if some:
            found |= reader(call, some)
    return found


def _fits(x: Array, shape: tuple[Any, ...]) -> bool:
    """Whether an array has a shape, as far as both are known."""
    known = tuple(x.shape)
    return len(known) == len(shape) and all(
        a is None or b is None or a == b for a, b in zip(known, shape, strict=True)
    )


def _taken(call: Call, name: str, x: Any) -> tuple[Array, bool]:
    """An array of the host, or one of the framework; and whether it is the former."""
    ns = call.ns
    foreign = ns.on_host or framework_name(x) != ns.name
    return (host_array(name, x) if foreign else ns.beside(x, call.like)), foreign


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
    x, foreign = _taken(call, "labels", given)
    ns, shape = call.ns, tuple(x.shape)
    n, classes = call.like.shape[0], call.embeddings["proxies"].shape[0]
    if not _fits(x, (n,)):
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
        return {k: ns.asarray(e.x, like) if e.foreign else e.x for k, e in found.items()}
    return _equal(call, found)


def _labels(call: Call, name: str, x: Any, rows: Array) -> _Equal:
    given = x
    x, foreign = _taken(call, name, x)
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
    if not host:
        return {name: each.x for name, each in found.items()}
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
    dtype = ns.xp.int64 if together.dtype.kind in "biu" else None
    read = {name: ns.asarray(x, like, dtype) for name, x in parts.items()}
    return {name: read.get(name, each.x) for name, each in found.items()}


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
    spoiled = 1 - ns.cast(marks, x.dtype)
    return x + 0 * (spoiled / (1 - spoiled))


def _targets(ns: Namespace, name: str, x: Any, like: Array, check_finite: bool | None) -> Array:
    """Targets (n,) or (n, t) of real numbers, in their own dtype, beside the embeddings."""
    foreign = ns.on_host or framework_name(x) != ns.name
    x = host_array(name, x) if foreign else ns.beside(x, like)
    shape, n = tuple(x.shape), like.shape[0]
    if len(shape) not in (1, 2) or shape[0] != n or 0 in shape[1:]:
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
        refuse_rows(name, x, np.isfinite(x))
    elif floating:
        refuse_infinite(ns, name, x, check_finite)
    if foreign and not ns.on_host:
        return ns.asarray(x, like, getattr(ns.xp, x.dtype.name) if floating else ns.xp.int64)
    return x if floating else ns.cast(x, ns.xp.int64)


def targets(call: Call, given: Mapping[str, Any]) -> dict[str, Array]:
    """Targets (n,) or (n, t) of the rows, and of a reference."""
    found = {}
    for name, x in given.items():
        rows = call.rows_of(name)
        found[name] = _targets(call.ns, name, x, rows, call.check_finite)
    shapes = {tuple(x.shape[1:]) for x in found.values()}
    if len(shapes) > 1:
        told = " and ".join(f"{name} {tuple(x.shape)}" for name, x in found.items())
        raise ValueError(f"expected as many targets a row in both; received shapes {told}")
    return found


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
        array, foreign = _taken(call, name, part)
        n = call.embeddings[sides[k]].shape[0]
        if not _fits(array, (n,)):
            raise ValueError(
                f"expected {name} of shape ({n},), one for each row of {sides[k]}; received "
                f"{tuple(array.shape)}"
            )
        absent = _absent(call, name, array, part, "id") if foreign else None
        found[name] = _Equal(array, foreign, absent)
    return _equal(call, found)


def valid(call: Call, given: Mapping[str, Any]) -> dict[str, Array]:
    """True where a row of each query's own negatives is one, (N, K)."""
    negatives = call.embeddings.get("negatives")
    if negatives is None or len(negatives.shape) <= len(call.like.shape):
        raise ValueError(
            "expected valid only with negatives of shape (N, K, d), each query's own; received "
            "none of these; leave valid out"
        )
    x, foreign = _taken(call, "valid", given["valid"])
    shape = tuple(negatives.shape[:2])
    if not _fits(x, shape):
        raise ValueError(
            f"expected valid of shape {shape}, one for each row of negatives; received "
            f"{tuple(x.shape)}"
        )
    if "bool" not in str(x.dtype) and not (foreign and np.isin(x, (0, 1)).all()):
        raise TypeError(
            f"expected valid of Booleans, False where a row is padding; received dtype {x.dtype}"
        )
    ns = call.ns
    if ns.on_host:
        return {"valid": x.astype(bool)}
    return {"valid": ns.asarray(x.astype(bool), call.like, ns.xp.bool) if foreign else x}


def sample_weight(call: Call, given: Mapping[str, Any]) -> dict[str, Array]:
    """How much each anchor counts, (n,), from 0 on."""
    x = _reals(call, "sample_weight", given["sample_weight"], (call.like.shape[0],), "anchor")
    known = call.ns.peek(x)
    if known is not None and (known < 0).any():
        raise ValueError(
            "expected sample_weight from 0 on; received "
            f"{float(known.min())} in row {int(known.argmin())}; weights say how much an anchor "
            "counts"
        )
    return {"sample_weight": x}


def log_q(call: Call, given: Mapping[str, Any]) -> dict[str, Array]:
    """Logarithms of how probable candidates are in a batch, at most 0."""
    shapes = _candidates(call)
    x = given["log_q"]
    parts = list(x) if isinstance(x, tuple | list) and len(shapes) > 1 else [x]
    if len(parts) != len(shapes):
        raise ValueError(
            f"expected log_q as {len(shapes)} arrays, of {', '.join(shapes)}; received {len(parts)}"
        )
    found = {}
    for k, ((owner, shape), part) in enumerate(zip(shapes.items(), parts, strict=True)):
        array = _reals(call, "log_q", part, shape, f"row of {owner}")
        known = call.ns.peek(array)
        if known is not None and (known > 0).any():
            raise ValueError(
                f"expected log_q, the logarithm of a probability, at most 0; received "
                f"{float(known.max())} for {owner}; pass log(q)"
            )
        found[f"log_q.{k}"] = array
    return found


def _candidates(call: Call) -> dict[str, tuple[Any, ...]]:
    """Sets of candidates, and how their log_q are shaped."""
    rows = {name: x.shape[0] for name, x in call.embeddings.items()}
    if "query" in rows:
        deep = len(call.like.shape)
        found = {name: (n,) for name, n in rows.items() if name != "query"}
        if "negatives" in rows and len(call.embeddings["negatives"].shape) > deep:
            found["negatives"] = tuple(call.embeddings["negatives"].shape[:2])
        return found
    if "embeddings" in rows:
        if "reference" not in rows:
            return {"embeddings": (rows["embeddings"],)}
        both = [rows["embeddings"] if call.both else 0, rows["reference"]]
        return {"the candidates": (None if None in both else sum(both),)}
    return {name: (n,) for name, n in rows.items()}


def guide(call: Call, given: Mapping[str, Any]) -> dict[str, Array]:
    """Embeddings of a guide, one array beside each of the call's."""
    x = given["guide"]
    names = list(call.embeddings)
    parts = list(x) if isinstance(x, tuple | list) else [x]
    if len(parts) != len(names):
        raise ValueError(
            f"expected guide as {len(names)} arrays, beside {', '.join(names)}; received "
            f"{len(parts)}"
        )
    found = {}
    for k, (name, part) in enumerate(zip(names, parts, strict=True)):
        rows = call.embeddings[name]
        # A query's own negatives have an axis more than the query.
        lead = 1 + len(rows.shape) - len(call.embeddings[names[0]].shape)
        batch = tuple(rows.shape[:lead])
        array, foreign = _taken(call, "guide", part)
        if not _fits(array, (*batch, None)):
            told = ", ".join(map(str, batch))
            raise ValueError(
                f"expected guide of shape ({told}, e) beside {name}; received "
                f"{tuple(array.shape)}; pass the guide's embeddings of the same rows"
            )
        found[f"guide.{k}"] = _floats(call, "guide", array, foreign)
    widths = {x.shape[-1] for x in found.values()}
    if len(widths) > 1:
        raise ValueError(
            "expected guide with as many features beside every argument; received "
            + " and ".join(map(str, sorted(widths)))
        )
    return found


def _reals(call: Call, name: str, x: Any, shape: tuple[Any, ...], of: str) -> Array:
    array, foreign = _taken(call, name, x)
    if not _fits(array, shape):
        raise ValueError(
            f"expected {name} of shape {shape}, one for each {of}; received {tuple(array.shape)}"
        )
    return _floats(call, name, array, foreign)


def _floats(call: Call, name: str, x: Array, foreign: bool) -> Array:
    """In the embeddings' compute dtype."""
    ns = call.ns
    if foreign:
        if x.dtype.kind not in "biuf":
            raise TypeError(f"expected {name} to hold real numbers; received dtype {x.dtype}")
        if call.check_finite is not False and x.dtype.kind == "f":
            refuse_rows(name, x, np.isfinite(x))
        return ns.asarray(x.astype(np.float64), call.like, ns.compute_dtype(call.like))
    refuse_infinite(ns, name, x, call.check_finite)
    return ns.cast(x, ns.compute_dtype(call.like))


_Reader = Callable[[Call, Mapping[str, Any]], dict[str, Array]]
_READERS: tuple[tuple[tuple[str, ...], _Reader], ...] = (
    (("labels", "reference_labels"), labels),
    (("targets", "reference_targets"), targets),
    (("ids",), ids),
    (("valid",), valid),
    (("sample_weight",), sample_weight),
    (("log_q",), log_q),
    (("guide",), guide),
)

"""Facts about rows as a loss takes them, or a message with the remedy: targets, weights,
frequencies, a guide's embeddings here; labels and ids in `facts_of_equality`."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from nearfar.frameworks import Array, Namespace, framework_name
from nearfar.losses.fact_arrays import Call, fits, floats, reals, taken
from nearfar.losses.facts_of_equality import ids, labels
from nearfar.losses.inputs import host_array, refuse_infinite, refuse_rows


def read(call: Call, given: Mapping[str, Any]) -> dict[str, Array]:
    """Facts by name. One that is several arrays has a name for each: "guide.0", "guide.1"."""
    found: dict[str, Array] = {}
    for names, reader in _READERS:
        some = {name: given[name] for name in names if name in given}
        if some:
            found |= reader(call, some)
    return found


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


def valid(call: Call, given: Mapping[str, Any]) -> dict[str, Array]:
    """True where a row of each query's own negatives is one, (N, K)."""
    negatives = call.embeddings.get("negatives")
    if negatives is None or len(negatives.shape) <= len(call.like.shape):
        raise ValueError(
            "expected valid only with negatives of shape (N, K, d), each query's own; received "
            "none of these; leave valid out"
        )
    x, foreign = taken(call, "valid", given["valid"])
    shape = tuple(negatives.shape[:2])
    if not fits(x, shape):
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
    x = reals(call, "sample_weight", given["sample_weight"], (call.like.shape[0],), "anchor")
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
    parts = list(x) if isinstance(x, (tuple, list)) and len(shapes) > 1 else [x]
    if len(parts) != len(shapes):
        raise ValueError(
            f"expected log_q as {len(shapes)} arrays, of {', '.join(shapes)}; received {len(parts)}"
        )
    found = {}
    for k, ((owner, shape), part) in enumerate(zip(shapes.items(), parts, strict=True)):
        array = reals(call, "log_q", part, shape, f"row of {owner}")
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
    parts = list(x) if isinstance(x, (tuple, list)) else [x]
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
        array, foreign = taken(call, "guide", part)
        if not fits(array, (*batch, None)):
            told = ", ".join(map(str, batch))
            raise ValueError(
                f"expected guide of shape ({told}, e) beside {name}; received "
                f"{tuple(array.shape)}; pass the guide's embeddings of the same rows"
            )
        found[f"guide.{k}"] = floats(call, "guide", array, foreign)
    widths = {x.shape[-1] for x in found.values()}
    if len(widths) > 1:
        raise ValueError(
            "expected guide with as many features beside every argument; received "
            + " and ".join(map(str, sorted(widths)))
        )
    return found


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

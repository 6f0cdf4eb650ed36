"""What every fact about rows is read with: the call so far, and arrays beside its embeddings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nearfar.frameworks import Array, Namespace, framework_name
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


def fits(x: Array, shape: tuple[Any, ...]) -> bool:
    """Whether an array has a shape, as far as both are known."""
    known = tuple(x.shape)
    return len(known) == len(shape) and all(
        a is None or b is None or a == b for a, b in zip(known, shape, strict=True)
    )


def taken(call: Call, name: str, x: Any, may_stay: bool = False) -> tuple[Array, bool]:
    """An array of the host, or one of the framework; and whether it is the former.

    The latter is beside the embeddings, unless it `may_stay` on the host.
    """
    ns = call.ns
    foreign = ns.on_host or framework_name(x) != ns.name
    if foreign:
        return host_array(name, x), True
    stays = may_stay and ns.stays(x, call.like)
    return x if stays else ns.beside(x, call.like), False


def reals(call: Call, name: str, x: Any, shape: tuple[Any, ...], of: str) -> Array:
    array, foreign = taken(call, name, x)
    if not fits(array, shape):
        raise ValueError(
            f"expected {name} of shape {shape}, one for each {of}; received {tuple(array.shape)}"
        )
    return floats(call, name, array, foreign)


def floats(call: Call, name: str, x: Array, foreign: bool) -> Array:
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

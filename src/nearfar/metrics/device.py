"""Where the embeddings lie, if that is an accelerator: tiles are worked on there."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from nearfar.frameworks import Array, Namespace, framework_name, namespace_of
from nearfar.metrics.arrays import Floats, tiles

# Entries of a device's largest tile: 32 MiB in float64. The work on it, a sort included, takes some
# four times that.
TILE = 2**22


class Device(NamedTuple):
    """An accelerator, by an array that lies there."""

    ns: Namespace
    like: Array

    @property
    def dtype(self) -> Any:
        """The widest that framework and device have."""
        return self.ns.double(self.ns.asarray(np.ones(1), self.like, self.ns.xp.float32)).dtype

    @property
    def is_wide(self) -> bool:
        return bool(self.dtype == self.ns.xp.float64)

    @property
    def rounding(self) -> float:
        return 2.0**-52 if self.is_wide else 2.0**-23

    def tiles(self, n_rows: int, n_columns: int) -> Iterator[slice]:
        return tiles(n_rows, n_columns, TILE)

    def up(self, values: Floats) -> Array:
        return self.ns.beside(self.ns.asarray(values, self.like, self.dtype), self.like)

    def down(self, x: Array) -> Floats:
        return self.ns.to_numpy(x).astype(np.float64)


def device_of(*arrays: Any) -> Device | None:
    """The accelerator of the first array that lies on one; None where the host has them all."""
    for x in arrays:
        if framework_name(x) is not None:
            ns = namespace_of([("x", x)])
            if ns.accelerated(x):
                return Device(ns, x)
    return None

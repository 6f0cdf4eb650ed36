"""Arrays, blocks of their rows, loops over blocks, and buffers."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

Array = Any
DType = Any
Carry = TypeVar("Carry")


class Block(NamedTuple):
    """A run of consecutive rows."""

    start: int
    size: int


class SymbolicBlocks(NamedTuple):
    """Blocks of rows whose number is known only when the traced program runs."""

    over: str
    """Of "blocks", "diagonal": (i, i), "above": i < j, "below": i > j, "pairs": all (i, j), "grid":
    all (i, j) with j among `columns` rows."""
    n: Any
    side: int
    columns: Any = None


BlockTuples = Sequence[tuple[Block, ...]] | SymbolicBlocks

Run = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]
"""``[function(x) for x in items]``, the items side by side."""


class Scratch(Protocol):
    """Buffers that outlive a tile; see `Namespace.scratch`."""

    def buffer(self, key: str, shape: tuple[int, ...], like: Array) -> Array: ...

    def lending(self, lent: dict[str, Array], part: int | None = None) -> "Scratch":
        """The same, but for these buffers; a part has its own, whichever thread works on it."""

"""What a rule is told of a batch that it looks at once: rows, targets, and how to walk them."""

from typing import Any, ClassVar, NamedTuple

from nearfar.frameworks import Array, BlockTuples, Namespace
from nearfar.similarity import Rows


class Batch(NamedTuple):
    sides: tuple[Rows, ...]
    """The embeddings, made ready at temperature 1."""
    targets: Array | None
    temperature: Any
    n: Any
    """Number of rows."""
    one: Array
    """1 for each row, (n,)."""
    blocks: BlockTuples
    """Of rows, each against all within `memory`."""


class Taken(NamedTuple):
    """What a rule makes of a batch."""

    losses: Array
    """Of the rows (n,), or (1,) of the batch."""
    gradients: tuple[Array, ...] | None = None
    """By the rows p of each side, where weights are given."""
    temperature: Any = 0.0
    """Derivative by the temperature."""


class AtOnceRule:
    """A loss of rows alone, of given pairs of rows, or of features: O(n d + d d) numbers."""

    each: ClassVar[bool] = True
    """Whether rows have losses of their own, or only the batch has one."""

    def buffers(self) -> int:
        """How many arrays of a block of rows against all it holds at once."""
        return 1

    def take(self, ns: Namespace, batch: Batch, weights: Array | None) -> Taken:
        """Losses and, given the weights of `losses`, weighted derivatives."""
        raise NotImplementedError

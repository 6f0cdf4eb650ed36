"""What frameworks and what is built on them pass to each other."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from nearfar.frameworks.protocol.namespace import Namespace

Array = Any
DType = Any
Carry = TypeVar("Carry")


class Block(NamedTuple):
    """A run of consecutive rows."""

    start: int
    size: int


class Every(NamedTuple):
    """Blocks of rows whose number is known only when the traced program runs."""

    over: str  # "blocks", "diagonal": (i, i), "above": i < j, "below": i > j, "pairs": all (i, j)
    n: Any
    side: int


Items = Sequence[tuple[Block, ...]] | Every

Run = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]
"""``[function(x) for x in items]``, the items side by side."""


class Evaluation(Protocol):
    """What glue needs to know of a loss: its value and the gradient of its inputs.

    It holds settings only, no arrays. `inputs` are the embeddings, then arrays without a gradient
    (labels), then temperature and bias if they are arrays; `wanted` tells which need a gradient.
    """

    def forward(
        self,
        ns: "Namespace",
        inputs: tuple[Array, ...],
        wanted: tuple[bool, ...],
        kept: "Kept | None" = None,
    ) -> tuple[Array, tuple[Array, ...]]:
        """Return the value and what `backward` wants to find again; `kept` may spare it work."""

    def backward(
        self,
        ns: "Namespace",
        inputs: tuple[Array, ...],
        saved: tuple[Array, ...],
        upstream: Array,
        wanted: tuple[bool, ...],
        kept: "Kept | None" = None,
    ) -> tuple[Array | None, ...]:
        """Return one gradient per input, None where it is not wanted."""

    def outline(
        self, ns: "Namespace", inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> tuple[tuple[Any, ...], ...]:
        """Shapes of what `forward` returns: the value, then all that it saves."""


class Kept:
    """What `forward` of an eager program leaves for its gradient, in whatever form.

    It is taken once: a gradient that is asked for again is computed from the inputs.
    """

    def __init__(self) -> None:
        self._left: Any = None

    def leave(self, left: Any) -> None:
        self._left = left

    def take(self) -> Any:
        """What was left; None the second time."""
        left, self._left = self._left, None
        return left


class Statement(NamedTuple):
    """A loss as text, for compiled programs, which hold no Python objects; see `rebuild`."""

    text: str
    parameters: tuple[float | None, ...]
    """Temperature and bias, as far as the loss has them; None where an array is given."""


Rebuild = Callable[[Statement, tuple[Array, ...]], Evaluation]
_rebuild: list[Rebuild] = []


def register_rebuild(function: Rebuild) -> None:
    """Tell how a statement becomes an evaluation of inputs again."""
    _rebuild[:] = [function]


def rebuild(statement: Statement, inputs: tuple[Array, ...]) -> Evaluation:
    return _rebuild[0](statement, inputs)


class Scratch(Protocol):
    """Buffers that outlive a tile; see `Namespace.scratch`."""

    def buffer(self, key: str, shape: tuple[int, ...], like: Array) -> Array: ...

    def lending(self, lent: dict[str, Array], part: int | None = None) -> "Scratch":
        """The same, but for these buffers; a part has its own, whichever thread works on it."""

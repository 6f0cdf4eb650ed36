"""The whole space, for a kind of batch."""

from collections.abc import Iterator, Mapping

from nearfar.check.identity.space.hard import hard_shapes
from nearfar.check.identity.space.pairs import pair_shapes
from nearfar.check.identity.space.ranks import rank_shapes
from nearfar.check.identity.space.sigmoid import sigmoid_shapes
from nearfar.check.identity.space.slips import slip_shapes
from nearfar.check.identity.space.softmax import POWERS, softmax_shapes
from nearfar.check.identity.space.stack import Stack
from nearfar.check.identity.space.triplets import triplet_shapes
from nearfar.check.identity.space.view import Shape

_GRID = ((0.1, 1.0), (0.1, 0.0), (0.05, 1.0), (0.1, 0.5), (0.1, 2.0), (0.0, 1.0), (0.0, 0.5),
         (0.01, 1.0), (0.2, 1.0), (0.05, 0.0), (0.05, 0.5))  # fmt: skip
_BIASES = (-10.0, 0.0, -5.0)


def shapes_for(stack: Stack, form: str, numbers: Mapping[str, float]) -> Iterator[Shape]:
    """Every convention for a stack; numbers that the target names are taken as they are."""
    kind, parts = stack.kind, stack.parts
    if kind == "triplets":
        yield from triplet_shapes(given=True)
        return
    if kind == "targets":
        yield from rank_shapes(parts, POWERS)
        return
    yield from softmax_shapes(kind, parts, POWERS)
    yield from slip_shapes(kind, form, numbers)
    if kind == "labels":
        yield from triplet_shapes(given=False)
        yield from pair_shapes()
    if kind == "views":
        told = [(numbers.get("tau_plus", t), numbers.get("beta", b)) for t, b in _GRID]
        yield from hard_shapes(parts, dict.fromkeys(told))
        yield from sigmoid_shapes(parts, [numbers["bias"]] if "bias" in numbers else _BIASES)

"""One set of anchors, in the order of its rows."""

from typing import Any

from nearfar.codes import Order
from nearfar.evaluate.candidates.sides import Sides
from nearfar.evaluate.partition.anchors import AnchorSet
from nearfar.frameworks import Array
from nearfar.rules import PartitionRule


class Anchors(AnchorSet):
    """One set of anchors, with what undoes its order."""

    def __init__(
        self, sides: Sides, guarded: bool, rule: PartitionRule, order: Order, n: Any
    ) -> None:
        self.ns, self.rule, self.temperature = sides.ns, rule, sides.temperature
        self.guarded, self.with_pair_slope = guarded, False
        self.order, self.n = order, n
        self.pairs = sides.settings.meeting == "views"
        self.first_only = sides.settings.first_only

    def restore(self, values: Array) -> Array:
        """Values of the anchors in the order that the caller knows."""
        xp = self.ns.xp
        if not self.pairs:
            return self.order.undo(self.ns, values)
        pairs = self.order.undo(self.ns, xp.reshape(values, (-1, 2)))
        values = xp.reshape(xp.permute_dims(pairs, (1, 0)), (-1,))
        return xp.reshape(values, (2, -1))[0, :] if self.first_only else values

    def arrange(self, values: Array) -> Array:
        """Undo `restore`."""
        xp = self.ns.xp
        if not self.pairs:
            return self.order.take(self.ns, values)
        if self.first_only:
            values = xp.concat([values, xp.zeros_like(values)], axis=0)
        pairs = xp.permute_dims(xp.reshape(values, (2, -1)), (1, 0))
        return xp.reshape(self.order.take(self.ns, pairs), (-1,))

"""How similar to an anchor a negative may be, before it is left out as a false one."""

from typing import Any, NamedTuple

from nearfar.frameworks import Array, Namespace


class Threshold(NamedTuple):
    """See `nearfar.Exclude`."""

    by: str
    margin: float
    kind: str

    def over(self, ns: Namespace, theta: Array, temperature: Any) -> Array:
        """Above which similarity; `theta` is the anchors' to their positives, infinite where there
        is none: the guide's, or a logit at this temperature."""
        xp, margin = ns.xp, self.margin
        if self.kind == "relative":
            some = xp.where(theta == float("inf"), xp.zeros_like(theta), theta)
            return ns.stop_gradient(theta - xp.abs(some) * margin)
        apart: Any = margin / temperature if self.by == "self" else margin
        return ns.stop_gradient(theta - apart)

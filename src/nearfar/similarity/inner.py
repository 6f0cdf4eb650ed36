"""Inner products and cosines."""

from typing import Any, ClassVar

from nearfar.frameworks import Array, Block, Namespace, Scratch
from nearfar.similarity.base import (
    Diagonal,
    PairWeights,
    Rows,
    Similarity,
    Tile,
    largest,
    row_products,
)


class _Inner(Similarity):
    degree = 2
    keeps_logits = False

    def tile(
        self, ns: Namespace, a: Rows, b: Rows, diagonal: Diagonal | None, scratch: Scratch | None
    ) -> Tile:
        return Tile(ns.product(a.p, b.p, scratch, "tile"), False)

    def pair_weights_(self, ns: Namespace, g: Array, tile: Tile) -> PairWeights:
        return PairWeights(g, False)

    def accumulate_(
        self,
        ns: Namespace,
        gradient: Array,
        block: Block,
        flow: PairWeights,
        x: Rows,
        y: Rows,
        scratch: Scratch | None,
    ) -> Array:
        return ns.add_product_(gradient, block, flow.weights, y.p, scratch)

    def paired(self, ns: Namespace, a: Rows, b: Rows) -> Array:
        return row_products(ns, a.p, b.p)

    def paired_vjp(self, ns: Namespace, a: Rows, b: Rows, g: Array) -> tuple[Array, Array]:
        return g[:, None] * b.p, g[:, None] * a.p


class Dot(_Inner):
    """x . y"""

    name = "dot"

    def prepare(
        self, ns: Namespace, parts: tuple[Array, ...], temperature: Any
    ) -> tuple[Rows, ...]:
        return tuple(Rows(z * temperature**-0.5) for z in parts)

    def bound(self, ns: Namespace, sides: tuple[Rows, ...], temperature: Any) -> float:
        return largest(ns, [row_products(ns, rows.p, rows.p) for rows in sides])

    def restore(
        self, ns: Namespace, rows: Rows, gradient: Array, temperature: Any
    ) -> tuple[Array, Any]:
        slope = self._euler(ns, lambda: row_products(ns, rows.p, gradient), temperature)
        return ns.mul_(gradient, temperature**-0.5), slope


class Cosine(_Inner):
    """x . y / (|x| |y|); a zero row has similarity 0 to everything, and no gradient.

    A gradient is inversely proportional to its row's norm: one beyond the dtype is infinite, or
    that of the shortest norm that has an inverse, and never NaN.
    """

    name: ClassVar[str | None] = "cosine"

    def prepare(
        self, ns: Namespace, parts: tuple[Array, ...], temperature: Any
    ) -> tuple[Rows, ...]:
        factor = temperature**-0.5
        if len(parts) == 1 or not ns.accelerated(parts[0]):
            return tuple(self._unit(ns, z, factor) for z in parts)
        # All sides in one go, which is half as many launches.
        together = self._unit(ns, ns.xp.concat(parts, axis=0), factor)
        sides, start = [], 0
        for z in parts:
            block = Block(start, z.shape[0])
            p, slope = ns.rows(together.p, block), ns.rows(together.slope, block)
            sides.append(Rows(p, slope=slope, among=together))
            start += block.size
        return tuple(sides)

    def _unit(self, ns: Namespace, z: Array, factor: Any) -> Rows:
        p, slope = ns.by_rows(lambda z: ns.unit_rows(z, factor), z)
        return Rows(p, slope=slope)

    def bound(self, ns: Namespace, sides: tuple[Rows, ...], temperature: Any) -> float:
        if isinstance(temperature, float):
            return 1 / temperature
        known = ns.peek(temperature)
        return float("inf") if known is None else float(1 / known)

    def restore(
        self, ns: Namespace, rows: Rows, gradient: Array, temperature: Any
    ) -> tuple[Array, Any]:
        assert rows.slope is not None

        def across(gradient: Array, p: Array, slope: Array) -> tuple[Array, Array]:
            # With unit rows u = p sqrt(t): d/dz = (I - u u^T) (d/dp) / (sqrt(t) |z|).
            gradient, along = ns.without_(gradient, p, temperature)
            return ns.mul_(gradient, slope), along

        gradient, along = ns.by_rows(across, gradient, rows.p, rows.slope)
        return gradient, self._euler(ns, lambda: along, temperature)

    def restore_all(
        self,
        ns: Namespace,
        sides: tuple[Rows, ...],
        gradients: tuple[Array, ...],
        temperature: Any,
    ) -> tuple[tuple[Array, ...], Any]:
        together = sides[0].among
        if together is None:
            return super().restore_all(ns, sides, gradients, temperature)
        whole, slope = self.restore(ns, together, ns.xp.concat(gradients, axis=0), temperature)
        found, start = [], 0
        for rows in sides:
            found.append(ns.rows(whole, Block(start, rows.p.shape[0])))
            start += rows.p.shape[0]
        return tuple(found), slope


class NegCosineDistance(Cosine):
    """-(1 - x . y / (|x| |y|)); a zero row is at distance 1 from everything."""

    name = None

    def tile(
        self, ns: Namespace, a: Rows, b: Rows, diagonal: Diagonal | None, scratch: Scratch | None
    ) -> Tile:
        return Tile(ns.sub_(super().tile(ns, a, b, diagonal, scratch).logits, 1), False)

    def paired(self, ns: Namespace, a: Rows, b: Rows) -> Array:
        return super().paired(ns, a, b) - 1

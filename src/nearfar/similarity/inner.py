"""Inner products and cosines."""

from typing import Any

from nearfar.frameworks import Array, Block, Namespace, Scratch
from nearfar.similarity.base import Flow, Meeting, Rows, Similarity, Tile, largest, row_products


class _Inner(Similarity):
    degree = 2
    keeps_logits = False

    def tile(
        self, ns: Namespace, a: Rows, b: Rows, meeting: Meeting | None, scratch: Scratch | None
    ) -> Tile:
        return Tile(ns.product(a.p, b.p, scratch, "tile"), False)

    def weigh_(self, ns: Namespace, g: Array, tile: Tile) -> Flow:
        return Flow(g, False)

    def add_flow_(
        self,
        ns: Namespace,
        gradient: Array,
        block: Block,
        flow: Flow,
        x: Rows,
        y: Rows,
        scratch: Scratch | None,
    ) -> Array:
        return ns.add_product_(gradient, block, flow.weights, y.p, scratch)

    def paired(self, ns: Namespace, a: Rows, b: Rows) -> Array:
        return row_products(ns, a.p, b.p)

    def pull_paired(self, ns: Namespace, a: Rows, b: Rows, g: Array) -> tuple[Array, Array]:
        return g[:, None] * b.p, g[:, None] * a.p


class Dot(_Inner):
    """x . y"""

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
    """x . y / (|x| |y|); a zero row has similarity 0 to everything, and no gradient."""

    def prepare(
        self, ns: Namespace, parts: tuple[Array, ...], temperature: Any
    ) -> tuple[Rows, ...]:
        return tuple(self._unit(ns, z, temperature**-0.5) for z in parts)

    def _unit(self, ns: Namespace, z: Array, factor: Any) -> Rows:
        xp = ns.xp

        def unit(z: Array) -> tuple[Array, Array]:
            # Scaled by the largest entry first: squares of 1e-20 or 1e20 leave float32.
            largest = ns.stop(xp.max(xp.abs(z), axis=1, keepdims=True))
            zero = largest == 0
            largest = ns.fill_(largest, zero, 1)
            p = z / largest
            square = ns.fill_(xp.sum(p * p, axis=1, keepdims=True), zero, float("inf"))
            scale = factor / xp.sqrt(square)
            return ns.mul_(p, scale), scale / largest

        p, slope = ns.by_rows(unit, z)
        return Rows(p, slope=slope)

    def bound(self, ns: Namespace, sides: tuple[Rows, ...], temperature: Any) -> float:
        if isinstance(temperature, float):
            return 1 / temperature
        known = ns.host(temperature)
        return float("inf") if known is None else float(1 / known)

    def restore(
        self, ns: Namespace, rows: Rows, gradient: Array, temperature: Any
    ) -> tuple[Array, Any]:
        assert rows.slope is not None

        def across(gradient: Array, p: Array, slope: Array) -> tuple[Array, Array]:
            along = ns.xp.sum(p * gradient, axis=1, keepdims=True)
            # With unit rows u = p sqrt(t): d/dz = (I - u u^T) (d/dp) / (sqrt(t) |z|).
            gradient = ns.sub_(gradient, p * (along * temperature))
            return ns.mul_(gradient, slope), along

        gradient, along = ns.by_rows(across, gradient, rows.p, rows.slope)
        return gradient, self._euler(ns, lambda: along, temperature)


class NegCosineDistance(Cosine):
    """-(1 - x . y / (|x| |y|)); a zero row is at distance 1 from everything."""

    def tile(
        self, ns: Namespace, a: Rows, b: Rows, meeting: Meeting | None, scratch: Scratch | None
    ) -> Tile:
        return Tile(ns.sub_(super().tile(ns, a, b, meeting, scratch).logits, 1), False)

    def paired(self, ns: Namespace, a: Rows, b: Rows) -> Array:
        return super().paired(ns, a, b) - 1

"""Distances that are no function of inner products: taken feature by feature."""

from abc import abstractmethod
from typing import Any

from nearfar.frameworks import Array, Block, Namespace, Scratch
from nearfar.similarity.base import (
    Diagonal,
    PairWeights,
    PairwiseDifferences,
    Rows,
    Similarity,
    Tile,
    largest,
    row_products,
)


class _FeatureWise(Similarity):
    degree = 1
    keeps_logits = False

    def prepare(
        self, ns: Namespace, parts: tuple[Array, ...], temperature: Any
    ) -> tuple[Rows, ...]:
        return tuple(Rows(z / temperature) for z in parts)

    def bound(self, ns: Namespace, sides: tuple[Rows, ...], temperature: Any) -> float:
        xp = ns.xp
        return 2 * largest(ns, [xp.sum(xp.abs(rows.p), axis=1) for rows in sides])

    def tile(
        self, ns: Namespace, a: Rows, b: Rows, diagonal: Diagonal | None, scratch: Scratch | None
    ) -> Tile:
        return Tile(self._logits(ns, PairwiseDifferences(ns, a.p, b.p, scratch)), False)

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
        apart = PairwiseDifferences(ns, x.p, y.p, scratch)
        return ns.add_rows_(gradient, block, self._flow(ns, apart, flow.weights))

    def restore(
        self, ns: Namespace, rows: Rows, gradient: Array, temperature: Any
    ) -> tuple[Array, Any]:
        slope = self._euler(ns, lambda: row_products(ns, rows.p, gradient), temperature)
        return ns.div_(gradient, temperature), slope

    def paired_vjp(self, ns: Namespace, a: Rows, b: Rows, g: Array) -> tuple[Array, Array]:
        flow = g[:, None] * self._slopes(ns, a.p - b.p)
        return flow, -flow

    @abstractmethod
    def _logits(self, ns: Namespace, apart: PairwiseDifferences) -> Array:
        """Of all pairs, in the buffer "tile"."""

    @abstractmethod
    def _flow(self, ns: Namespace, apart: PairwiseDifferences, weights: Array) -> Array:
        """Weighted derivatives of the logits by the first rows (n, d), in other buffers."""

    @abstractmethod
    def _slopes(self, ns: Namespace, e: Array) -> Array:
        """Derivative of the logits by the differences e (n, d) of matched rows."""


class NegCityblock(_FeatureWise):
    """-sum |x - y|; equal entries have no gradient."""

    def _logits(self, ns: Namespace, apart: PairwiseDifferences) -> Array:
        return apart.fold(lambda total, e: ns.sub_(total, ns.xp.abs(e)))

    def _flow(self, ns: Namespace, apart: PairwiseDifferences, weights: Array) -> Array:
        return apart.flow(lambda e: ns.mul_(self._slopes(ns, e), weights))

    def paired(self, ns: Namespace, a: Rows, b: Rows) -> Array:
        return -ns.xp.sum(ns.xp.abs(a.p - b.p), axis=1)

    def _slopes(self, ns: Namespace, e: Array) -> Array:
        return -ns.sign(e)


class NegChebyshev(_FeatureWise):
    """-max |x - y|; the largest features share the gradient."""

    def _logits(self, ns: Namespace, apart: PairwiseDifferences) -> Array:
        return ns.mul_(self._largest(ns, apart, "tile"), -1)

    def _largest(self, ns: Namespace, apart: PairwiseDifferences, key: str) -> Array:
        return apart.fold(lambda total, e: ns.xp.maximum(total, ns.xp.abs(e)), key)

    def _flow(self, ns: Namespace, apart: PairwiseDifferences, weights: Array) -> Array:
        peak = self._largest(ns, apart, "peak")

        def count(total: Array, e: Array) -> Array:
            return ns.add_(total, ns.cast(ns.xp.abs(e) == peak, e.dtype))

        weights = weights / apart.fold(count, "count")

        def weigh(e: Array) -> Array:
            here = ns.xp.abs(e) == peak
            return ns.xp.where(here, -ns.sign(e) * weights, 0 * e)  # NaN has a gradient of NaN

        return apart.flow(weigh)

    def paired(self, ns: Namespace, a: Rows, b: Rows) -> Array:
        return -ns.xp.max(ns.xp.abs(a.p - b.p), axis=1)

    def _slopes(self, ns: Namespace, e: Array) -> Array:
        xp = ns.xp
        here = xp.abs(e) == xp.max(xp.abs(e), axis=1, keepdims=True)
        share = 1 / xp.sum(ns.cast(here, e.dtype), axis=1, keepdims=True)
        return xp.where(here, -ns.sign(e) * share, 0 * e)


class NegHamming(_FeatureWise):
    """-(share of unequal features), which has no gradient anywhere."""

    def _logits(self, ns: Namespace, apart: PairwiseDifferences) -> Array:
        def count(total: Array, e: Array) -> Array:
            return ns.add_(total, ns.cast(e != 0, e.dtype))

        return ns.mul_(apart.fold(count), -1 / apart.features)

    def _flow(self, ns: Namespace, apart: PairwiseDifferences, weights: Array) -> Array:
        return ns.zeros((ns.shape(weights)[0], apart.features), weights)

    def paired(self, ns: Namespace, a: Rows, b: Rows) -> Array:
        return -ns.xp.mean(ns.cast(a.p != b.p, a.p.dtype), axis=1)

    def _slopes(self, ns: Namespace, e: Array) -> Array:
        return ns.xp.zeros_like(e)

"""Euclidean distances, from products of centred rows and, for near pairs, from differences."""

from abc import abstractmethod
from typing import Any

from nearfar.frameworks import Array, Block, Namespace, Scratch
from nearfar.similarity.base import Apart, Rows, Similarity, Tile, largest

# A Gram matrix gives squared distances with an error of some roundings of the squared norms. Pairs
# nearer than this share of them are computed from the difference of their rows.
_NEAR = 0.01

# With so few features the difference is as quick as the product, and always exact.
_FEW_FEATURES = 8


class _Euclidean(Similarity):
    keeps_logits = True
    tells_itself = True

    def prepare(
        self, ns: Namespace, parts: tuple[Array, ...], temperature: Any
    ) -> tuple[Rows, ...]:
        xp = ns.xp
        # Distances do not change with the origin; near the centre the products lose no digits.
        # The first row is taken off before the mean: a sum of large equal offsets would round.
        first = parts[0][:1, :]
        n = sum(ns.shape(z)[0] for z in parts)
        shifts = [xp.sum(z - first, axis=0, keepdims=True) for z in parts]
        centre = ns.stop(first + sum(shifts[1:], shifts[0]) / ns.asarray(n, first))
        factor = temperature ** (-1 / self.degree)
        scaled = [ns.mul_(z - centre, factor) for z in parts]
        return tuple(
            Rows(p, square=xp.sum(p * p, axis=1), raw=z, factor=factor)
            for p, z in zip(scaled, parts, strict=True)
        )

    def bound(self, ns: Namespace, sides: tuple[Rows, ...], temperature: Any) -> float:
        return float((4 * largest(ns, [rows.square for rows in sides])) ** (self.degree / 2))

    def tile(
        self, ns: Namespace, a: Rows, b: Rows, itself: Array | None, scratch: Scratch | None
    ) -> Tile:
        xp = ns.xp
        if a.p.shape[1] <= _FEW_FEATURES:
            return Tile(self._logits(ns, _squares(ns, a, b, scratch), itself), True)
        norms = ns.outer_sum(a.square, b.square, scratch, "norms")
        squares = ns.add_(ns.mul_(ns.product(a.p, b.p, scratch, "tile"), -2), norms)
        near = squares < _NEAR * norms
        flag = xp.any(near if itself is None else near & ~itself)
        squares = ns.cond(flag, lambda: _squares(ns, a, b, scratch), lambda: squares)
        return Tile(self._logits(ns, squares, itself), flag)

    @abstractmethod
    def _logits(self, ns: Namespace, squares: Array, itself: Array | None) -> Array:
        """Logits from squared distances, which are consumed; exactly 0 where `itself` is true."""

    def _add_flow_(
        self,
        ns: Namespace,
        gradient: Array,
        block: Block,
        weights: Array,
        x: Rows,
        y: Rows,
        tile: Tile,
        scratch: Scratch | None,
    ) -> Array:
        # The weights are w_ij with d logit_ij / d x_i = w_ij (x_i - y_j).
        flow = ns.cond(
            tile.near,
            lambda: _flow(ns, weights, x, y, scratch),
            lambda: ns.row_sums(weights)[:, None] * x.p - weights @ y.p,
        )
        return ns.add_rows_(gradient, block, flow)

    def restore(
        self, ns: Namespace, rows: Rows, gradient: Array, temperature: Any
    ) -> tuple[Array, Array]:
        slope = self._euler(ns, rows.p * gradient, temperature)
        return ns.mul_(gradient, temperature ** (-1 / self.degree)), slope

    def paired(self, ns: Namespace, a: Rows, b: Rows) -> Array:
        return self._logits(ns, self._differences(ns, a, b)[1], None)

    def pull_paired(self, ns: Namespace, a: Rows, b: Rows, g: Array) -> tuple[Array, Array]:
        difference, squares = self._differences(ns, a, b)
        tile = Tile(self._logits(ns, squares, None), True)
        flow = self._weights(ns, g + ns.xp.zeros_like(g), tile)[:, None] * difference
        return flow, -flow

    def _differences(self, ns: Namespace, a: Rows, b: Rows) -> tuple[Array, Array]:
        assert a.raw is not None
        difference = (a.raw - b.raw) * a.factor
        return difference, ns.xp.sum(difference * difference, axis=1)


class NegSqeuclidean(_Euclidean):
    """-|x - y|**2"""

    degree = 2

    def _logits(self, ns: Namespace, squares: Array, itself: Array | None) -> Array:
        if itself is not None:
            squares = ns.fill_(squares, itself, 0)
        return ns.mul_(squares, -1)

    def _weights(self, ns: Namespace, g: Array, tile: Tile) -> Array:
        return ns.mul_(g, -2)


class NegEuclidean(_Euclidean):
    """-|x - y|; equal rows have no gradient."""

    degree = 1

    def _logits(self, ns: Namespace, squares: Array, itself: Array | None) -> Array:
        if itself is not None:
            squares = ns.fill_(squares, itself, 0)
        zero = squares <= 0
        return ns.mul_(ns.fill_(ns.sqrt_(ns.fill_(squares, zero, 1)), zero, 0), -1)

    def _weights(self, ns: Namespace, g: Array, tile: Tile) -> Array:
        zero = tile.logits == 0
        return ns.fill_(ns.div_(g, ns.fill_(tile.logits, zero, 1)), zero, 0)


def _squares(ns: Namespace, a: Rows, b: Rows, scratch: Scratch | None) -> Array:
    """Squared distances feature by feature, exact for the nearest pairs.

    Raw rows, because centred ones have been rounded to the size of the centre.
    """
    squares = Apart(ns, a.raw, b.raw, scratch).fold(lambda total, e: ns.add_(total, ns.mul_(e, e)))
    return ns.mul_(squares, a.factor**2)


def _flow(ns: Namespace, w: Array, a: Rows, b: Rows, scratch: Scratch | None) -> Array:
    """sum_j w_ij (x_i - y_j) feature by feature, (len a, d)."""
    flow = Apart(ns, a.raw, b.raw, scratch).flow(lambda e: ns.mul_(e, w))
    return ns.mul_(flow, a.factor)

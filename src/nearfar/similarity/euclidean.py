"""Euclidean distances, from products of centred rows and, for near pairs, from differences."""

from abc import abstractmethod
from collections.abc import Iterator
from math import isfinite, log2
from typing import Any, ClassVar

from nearfar.frameworks import Array, Block, Namespace, Scratch
from nearfar.similarity.base import (
    Diagonal,
    NearPairs,
    PairWeights,
    PairwiseDifferences,
    Rows,
    Similarity,
    Tile,
    largest,
    row_products,
)

# A Gram matrix gives squared distances with an error of some roundings of the squared norms. Pairs
# nearer than this share of them are computed from the difference of their rows.
_NEAR = 0.01

# Near pairs of a tile up to this share of it are computed one by one; of more each feature is a
# pass over the tile.
_FEW = 1 / 32

# Entries of differences of near pairs that are made at once.
_AT_ONCE = 2**17

# Squares of entries between these keep their digits in float32, whatever the number of features.
_PLAIN_LOW, _PLAIN_HIGH = 1e-12, 1e12

# With so few features the difference is as quick as the product, and always exact.
_FEW_FEATURES = 8


class _Euclidean(Similarity):
    keeps_logits: ClassVar[bool] = True
    steep: ClassVar[int]
    """d logit_ij / d x_i = steep w_ij (x_i - y_j), w of `pair_weights_` at a gradient of 1."""

    def prepare(
        self, ns: Namespace, parts: tuple[Array, ...], temperature: Any
    ) -> tuple[Rows, ...]:
        xp = ns.xp
        # Distances do not change with the origin; near the centre the products lose no digits.
        # The first row is taken off before the mean: a sum of large equal offsets would round.
        first = parts[0][:1, :]
        n = sum(ns.shape(z)[0] for z in parts)
        shifts = [xp.sum(z - first, axis=0, keepdims=True) for z in parts]
        centre = ns.stop_gradient(first + sum(shifts[1:], shifts[0]) / ns.number(n, first))
        factor = temperature ** (-1 / self.degree)
        scaled = [ns.mul_(z - centre, factor) for z in parts]
        unit = self._unit(ns, scaled)
        return tuple(
            self._ready(ns, _over(p, unit), Rows(p, raw=_over(z, unit), factor=factor, unit=unit))
            for p, z in zip(scaled, parts, strict=True)
        )

    def _unit(self, ns: Namespace, scaled: list[Array]) -> Any:
        """What rows are measured in: 1, unless their squares would leave the dtype."""
        return 1.0

    def _ready(self, ns: Namespace, p: Array, rows: Rows) -> Rows:
        square = row_products(ns, p, p)
        features = p.shape[1]  # None where a graph of TensorFlow does not know
        if features is not None and features <= _FEW_FEATURES:
            return rows._replace(p=p, square=square)
        # With the norms as features of their own a product of rows is a squared distance.
        wide = ns.xp.concat([p, ns.xp.ones_like(p[:, :1]), square[:, None]], axis=1)
        return rows._replace(p=wide[:, :-2], square=square, wide=wide)

    def bound(self, ns: Namespace, sides: tuple[Rows, ...], temperature: Any) -> float:
        unit = sides[0].unit
        if not isinstance(unit, float):
            return float("inf")
        reach = (4 * largest(ns, [rows.square for rows in sides])) ** (self.degree / 2)
        return float(unit * reach)

    def tile(
        self, ns: Namespace, a: Rows, b: Rows, diagonal: Diagonal | None, scratch: Scratch | None
    ) -> Tile:
        squares, near = self._squared(ns, a, b, diagonal, scratch)
        return Tile(self._logits(ns, squares, a.unit, diagonal), near, a.unit)

    def closeness(
        self, ns: Namespace, a: Rows, b: Rows, diagonal: Diagonal | None, scratch: Scratch | None
    ) -> Array:
        return ns.mul_(self._squared(ns, a, b, diagonal, scratch)[0], -1)

    def _squared(
        self, ns: Namespace, a: Rows, b: Rows, diagonal: Diagonal | None, scratch: Scratch | None
    ) -> tuple[Array, Any]:
        """Squared distances, and what a `Tile` is told of near pairs."""
        if a.wide is None or b.wide is None or a.square is None:
            return _squares(ns, a, b, scratch), True
        one, square = ns.xp.ones_like(a.square)[:, None], a.square[:, None]
        turned = ns.xp.concat([-2 * a.p, square, one], axis=1)
        squares = ns.product(turned, b.wide, scratch, "tile")
        if diagonal is not None:
            squares = ns.fill_diagonal_(squares, *diagonal, float("inf"))
        near = self._near(ns, squares, a, b, scratch)
        if isinstance(near, NearPairs):
            exact = _squares_of(ns, near, a, b)
            squares = ns.set_entries_(squares, near.rows, near.columns, exact)
        else:
            squares = ns.cond(near, lambda: _squares(ns, a, b, scratch), lambda: squares)
        return squares, near

    def _near(
        self, ns: Namespace, squares: Array, a: Rows, b: Rows, scratch: Scratch | None
    ) -> Any:
        """The pairs too near for their products to be exact, or whether there are any."""
        xp = ns.xp

        def some() -> Any:
            norms = ns.outer_sum(a.square, b.square, scratch, "norms")
            near = squares < ns.mul_(norms, _NEAR)
            places = ns.few_places(near, _FEW)
            if places is None:
                return ns.decide(xp.any(near))
            return NearPairs(*places) if places[0].shape[0] else False

        # Mostly none is, which the least of each row shows sooner.
        least = xp.min(squares, axis=1)
        perhaps = ns.decide(xp.any(least < _NEAR * (a.square + xp.max(b.square))))
        return ns.cond(perhaps, some, lambda: perhaps)

    @abstractmethod
    def _logits(self, ns: Namespace, squares: Array, unit: Any, diagonal: Diagonal | None) -> Array:
        """Logits from squared distances, which are consumed; exactly 0 where a row meets itself."""

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
        w, near = flow

        def by_differences() -> Array:
            return ns.add_rows_(gradient, block, self.steep * _flow(ns, w, x, y, scratch))

        def by_products() -> Array:
            out = ns.add_product_(gradient, block, w, y.p, scratch, -self.steep)
            return ns.add_rows_(out, block, (self.steep * ns.row_sums(w))[:, None] * x.p)

        if not isinstance(near, NearPairs):
            return ns.cond(near, by_differences, by_products)
        out = by_products()
        for some, e in _pairwise(ns, near, x, y):
            e = ns.mul_(e, (self.steep * x.factor * some.weights)[:, None])
            out = ns.add_at_(out, some.rows + block.start, e)
        return out

    def restore(
        self, ns: Namespace, rows: Rows, gradient: Array, temperature: Any
    ) -> tuple[Array, Any]:
        slope = rows.unit * self._euler(ns, lambda: row_products(ns, rows.p, gradient), temperature)
        return ns.mul_(gradient, temperature ** (-1 / self.degree)), slope

    def paired(self, ns: Namespace, a: Rows, b: Rows) -> Array:
        return self._paired(ns, self._differences(ns, a, b), a.unit)

    def paired_vjp(self, ns: Namespace, a: Rows, b: Rows, g: Array) -> tuple[Array, Array]:
        difference = self._differences(ns, a, b)
        tile = Tile(self._paired(ns, difference, a.unit), True, a.unit)
        weights = self.pair_weights_(ns, g + ns.xp.zeros_like(g), tile).weights
        flow = (self.steep * weights)[:, None] * difference
        return flow, -flow

    def _paired(self, ns: Namespace, difference: Array, unit: Any) -> Array:
        squares = ns.xp.sum(difference * difference, axis=1)
        return self._logits(ns, squares, unit, None)

    def _differences(self, ns: Namespace, a: Rows, b: Rows) -> Array:
        assert a.raw is not None
        return (a.raw - b.raw) * a.factor


class NegSqeuclidean(_Euclidean):
    """-|x - y|**2"""

    name = "neg_sqeuclidean"
    degree = 2
    steep = -2

    def _logits(self, ns: Namespace, squares: Array, unit: Any, diagonal: Diagonal | None) -> Array:
        if diagonal is not None:
            squares = ns.fill_diagonal_(squares, *diagonal, 0)
        return ns.mul_(squares, -1)

    def pair_weights_(self, ns: Namespace, g: Array, tile: Tile) -> PairWeights:
        return _apart_from_near(ns, g, tile.near)


class NegEuclidean(_Euclidean):
    """-|x - y|; equal rows have no gradient.

    Where the host can read the rows, one that is any number of times as far as the others leaves
    these their digits; elsewhere it does up to 1e18 times in float32.
    """

    name = "neg_euclidean"
    degree = 1
    steep = 1

    def _unit(self, ns: Namespace, scaled: list[Array]) -> Any:
        xp = ns.xp
        peaks = [ns.stop_gradient(xp.max(xp.abs(p))) for p in scaled if p.shape[0] != 0]
        known = [float(peak) for peak in map(ns.peek, peaks) if peak is not None]
        if len(known) == len(peaks):
            top = max(known)
            plain = top == 0 or _PLAIN_LOW <= top <= _PLAIN_HIGH or not isfinite(top)
            # A power of two, so that nothing is rounded.
            return 1.0 if plain else 2.0 ** round(log2(top))
        peak = peaks[0]
        for other in peaks[1:]:
            peak = xp.maximum(peak, other)
        small = (peak > 0) & (peak < _PLAIN_LOW)
        large = (peak > _PLAIN_HIGH) & xp.isfinite(peak)
        return xp.where(small | large, peak, xp.ones_like(peak))

    def closeness(
        self, ns: Namespace, a: Rows, b: Rows, diagonal: Diagonal | None, scratch: Scratch | None
    ) -> Array:
        if _apart_beyond_squares(a.unit):
            return self.tile(ns, a, b, diagonal, scratch).logits
        return super().closeness(ns, a, b, diagonal, scratch)

    def tile(
        self, ns: Namespace, a: Rows, b: Rows, diagonal: Diagonal | None, scratch: Scratch | None
    ) -> Tile:
        if not _apart_beyond_squares(a.unit):
            return super().tile(ns, a, b, diagonal, scratch)
        # Of rows of all sizes some squares vanish in any unit: each pair is its own.
        apart = PairwiseDifferences(ns, a.raw, b.raw, scratch)
        peak = apart.fold(lambda total, e: ns.xp.maximum(total, ns.xp.abs(e)), "peak")
        peak = ns.fill_(peak, peak == 0, 1)

        def add(total: Array, e: Array) -> Array:
            e = ns.div_(e, peak)
            return ns.add_(total, ns.mul_(e, e))

        distances = ns.mul_(ns.root_(apart.fold(add)), peak)
        return Tile(ns.mul_(distances, -a.unit * a.factor), True, a.unit)

    def _paired(self, ns: Namespace, difference: Array, unit: Any) -> Array:
        if not _apart_beyond_squares(unit):
            return super()._paired(ns, difference, unit)
        peak = ns.xp.max(ns.xp.abs(difference), axis=1)
        peak = ns.fill_(peak, peak == 0, 1)
        ratio = difference / peak[:, None]
        return self._logits(ns, ns.xp.sum(ratio * ratio, axis=1), unit, None) * peak

    def _logits(self, ns: Namespace, squares: Array, unit: Any, diagonal: Diagonal | None) -> Array:
        if diagonal is not None:
            squares = ns.fill_diagonal_(squares, *diagonal, 0)
        return ns.mul_(ns.root_(squares), -unit)

    def pair_weights_(self, ns: Namespace, g: Array, tile: Tile) -> PairWeights:
        weights = ns.mul_(g, ns.inverse_or_zero_(tile.logits))
        weights = weights if _is_one(tile.unit) else ns.mul_(weights, tile.unit)
        return _apart_from_near(ns, weights, tile.near)


def _apart_from_near(ns: Namespace, weights: Array, near: Any) -> PairWeights:
    """Weights for products, beside those of near pairs, whose products have no digits left."""
    if isinstance(near, NearPairs):
        near = near._replace(weights=ns.entries(weights, near.rows, near.columns))
        weights = ns.set_entries_(weights, near.rows, near.columns, 0)
    return PairWeights(weights, near)


def _apart_beyond_squares(unit: Any) -> bool:
    """Whether the host knows that squares of these rows leave the dtype."""
    return isinstance(unit, float) and unit != 1


def _is_one(unit: Any) -> bool:
    """Whether the host knows it to be 1, so that nothing need be multiplied."""
    return isinstance(unit, float) and unit == 1


def _over(x: Array, unit: Any) -> Array:
    return x if _is_one(unit) else x / unit


def _squares(ns: Namespace, a: Rows, b: Rows, scratch: Scratch | None) -> Array:
    """Squared distances feature by feature, exact for the nearest pairs.

    Raw rows, because centred ones have been rounded to the size of the centre.
    """
    squares = PairwiseDifferences(ns, a.raw, b.raw, scratch).fold(
        lambda total, e: ns.add_(total, ns.mul_(e, e))
    )
    return ns.mul_(squares, a.factor**2)


def _squares_of(ns: Namespace, near: NearPairs, a: Rows, b: Rows) -> Array:
    """Squared distances of some pairs, (k,)."""
    found = [ns.dots(e, e) for _, e in _pairwise(ns, near, a, b)]
    return ns.mul_(ns.xp.concat(found), a.factor**2)


def _pairwise(
    ns: Namespace, near: NearPairs, a: Rows, b: Rows
) -> Iterator[tuple[NearPairs, Array]]:
    """Some of the pairs, and the differences of their raw rows (k, d)."""
    assert a.raw is not None
    assert b.raw is not None
    step = max(1, _AT_ONCE // a.raw.shape[1])
    for start in range(0, near.rows.shape[0], step):
        some = NearPairs(*(None if x is None else x[start : start + step] for x in near))
        yield some, ns.sub_(ns.take(a.raw, some.rows), ns.take(b.raw, some.columns))


def _flow(ns: Namespace, w: Array, a: Rows, b: Rows, scratch: Scratch | None) -> Array:
    """sum_j w_ij (x_i - y_j) feature by feature, (len a, d)."""
    flow = PairwiseDifferences(ns, a.raw, b.raw, scratch).flow(lambda e: ns.mul_(e, w))
    return ns.mul_(flow, a.factor)

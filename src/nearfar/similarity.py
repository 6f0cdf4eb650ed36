"""Similarities: rows made ready, a tile of logits, and the tile's gradient back to the rows.

The temperature is folded into the rows. Every similarity is homogeneous: with the rows of both
sides multiplied by c, inner products and squared distances grow by c**2, distances by c. Rows
multiplied by temperature**(-1/degree) therefore have logits for similarities, and by Euler's
theorem the derivative by the temperature is -<rows, gradient> / (degree temperature).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

from nearfar.frameworks import Array, Block, Namespace, Scratch

# A Gram matrix gives squared distances with an error of some roundings of the squared norms. Pairs
# nearer than this share of them are computed from the difference of their rows.
_NEAR = 0.01

# With so few features the difference is as quick as the product, and always exact.
_FEW_FEATURES = 8


class Rows(NamedTuple):
    """Embeddings made ready for tiles."""

    p: Array  # (n, d)
    square: Array | None = None  # squared norms (n,), Euclidean only
    length: Array | None = None  # norms of the raw rows (n, 1), cosine only; 0 for a zero row
    raw: Array | None = None  # the rows as given (n, d), Euclidean only
    factor: Any = None  # what differences of raw rows are multiplied by, Euclidean only

    def block(self, ns: Namespace, block: Block) -> "Rows":
        square = None if self.square is None else ns.rows(self.square, block)
        raw = None if self.raw is None else ns.rows(self.raw, block)
        return Rows(ns.rows(self.p, block), square, raw=raw, factor=self.factor)

    def repeat(self, ns: Namespace, times: int) -> "Rows":
        """Every row so many times, for `paired`."""
        raw = None if self.raw is None else _repeat(ns, self.raw, times)
        return Rows(_repeat(ns, self.p, times), raw=raw, factor=self.factor)


class Tile(NamedTuple):
    logits: Array  # (len a, len b)
    near: Any  # whether some pairs are too near for products, a flag of the framework


class Place(NamedTuple):
    """Where a tile's gradient goes: a block of rows of one side's accumulator."""

    side: int
    block: Block


class Similarity(ABC):
    degree: ClassVar[int]
    keeps_logits: ClassVar[bool]
    """Whether `pull_` reads the logits, so that they must outlive the gradient's computation."""

    @abstractmethod
    def prepare(
        self, ns: Namespace, parts: tuple[Array, ...], temperature: Any
    ) -> tuple[Rows, ...]:
        """Rows of one or more sides, from embeddings (n, d) in the compute dtype."""

    @abstractmethod
    def bound(self, ns: Namespace, sides: tuple[Rows, ...], temperature: Any) -> float:
        """A bound on every |logit|; infinity where the host cannot know."""

    @abstractmethod
    def tile(
        self, ns: Namespace, a: Rows, b: Rows, diagonal: bool, scratch: Scratch | None
    ) -> Tile:
        """Logits of two blocks; `diagonal` says that they are the same rows."""

    def pull_(
        self,
        ns: Namespace,
        gradients: tuple[Array, ...],
        places: tuple[Place, ...],
        a: Rows,
        b: Rows,
        tile: Tile,
        g: Array,
        scratch: Scratch | None,
    ) -> tuple[Array, ...]:
        """Add a tile's gradient `g` to the rows of `a` at the first place, of `b` at the second."""
        w = self._weights(ns, g, tile)
        out = list(gradients)
        for place, weights, x, y in _both(ns, places, w, a, b):
            add = self._add_flow_
            out[place.side] = add(ns, out[place.side], place.block, weights, x, y, tile, scratch)
        return tuple(out)

    @abstractmethod
    def _weights(self, ns: Namespace, g: Array, tile: Tile) -> Array:
        """The weights that `_add_flow_` wants; may consume `g` and the logits."""

    @abstractmethod
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
        """Add to a block of `gradient` what flows to the rows `x` from the rows `y`."""

    @abstractmethod
    def restore(
        self, ns: Namespace, rows: Rows, gradient: Array, temperature: Any
    ) -> tuple[Array, Array]:
        """Gradient of the embeddings, and this side's share of that of the temperature."""

    @abstractmethod
    def paired(self, ns: Namespace, a: Rows, b: Rows) -> Array:
        """Logits of matched rows, (n,)."""

    @abstractmethod
    def pull_paired(self, ns: Namespace, a: Rows, b: Rows, g: Array) -> tuple[Array, Array]:
        """Gradient of `paired` by the rows of both sides, for weights g (n,)."""

    def _euler(self, ns: Namespace, inner: Array, temperature: Any) -> Array:
        return -ns.xp.sum(inner) / (self.degree * temperature)


class _Inner(Similarity):
    degree = 2
    keeps_logits = False

    def tile(
        self, ns: Namespace, a: Rows, b: Rows, diagonal: bool, scratch: Scratch | None
    ) -> Tile:
        return Tile(ns.product(a.p, b.p, scratch, "tile"), False)

    def _weights(self, ns: Namespace, g: Array, tile: Tile) -> Array:
        return g

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
        return ns.add_product_(gradient, block, weights, y.p, scratch)

    def paired(self, ns: Namespace, a: Rows, b: Rows) -> Array:
        return ns.xp.sum(a.p * b.p, axis=1)

    def pull_paired(self, ns: Namespace, a: Rows, b: Rows, g: Array) -> tuple[Array, Array]:
        return g[:, None] * b.p, g[:, None] * a.p


class Dot(_Inner):
    """x . y"""

    def prepare(
        self, ns: Namespace, parts: tuple[Array, ...], temperature: Any
    ) -> tuple[Rows, ...]:
        return tuple(Rows(z * temperature**-0.5) for z in parts)

    def bound(self, ns: Namespace, sides: tuple[Rows, ...], temperature: Any) -> float:
        return _largest(ns, [ns.xp.sum(rows.p * rows.p, axis=1) for rows in sides])

    def restore(
        self, ns: Namespace, rows: Rows, gradient: Array, temperature: Any
    ) -> tuple[Array, Array]:
        slope = self._euler(ns, rows.p * gradient, temperature)
        return ns.mul_(gradient, temperature**-0.5), slope


class Cosine(_Inner):
    """x . y / (|x| |y|); a zero row has similarity 0 to everything, and no gradient."""

    def prepare(
        self, ns: Namespace, parts: tuple[Array, ...], temperature: Any
    ) -> tuple[Rows, ...]:
        return tuple(self._unit(ns, z, temperature**-0.5) for z in parts)

    def _unit(self, ns: Namespace, z: Array, factor: Any) -> Rows:
        xp = ns.xp
        # Scaled by the largest entry first: squares of 1e-20 or 1e20 leave float32.
        largest = ns.stop(xp.max(xp.abs(z), axis=1, keepdims=True))
        zero = largest == 0
        one = xp.ones_like(largest)
        p = z / xp.where(zero, one, largest)
        norm = xp.sqrt(xp.where(zero, one, xp.sum(p * p, axis=1, keepdims=True)))
        return Rows(ns.mul_(p, factor / norm), length=largest * norm)

    def bound(self, ns: Namespace, sides: tuple[Rows, ...], temperature: Any) -> float:
        if isinstance(temperature, float):
            return 1 / temperature
        known = ns.host(temperature)
        return float("inf") if known is None else float(1 / known)

    def restore(
        self, ns: Namespace, rows: Rows, gradient: Array, temperature: Any
    ) -> tuple[Array, Array]:
        xp = ns.xp
        assert rows.length is not None
        zero = rows.length == 0
        along = xp.sum(rows.p * gradient, axis=1, keepdims=True)
        # With unit rows u = p sqrt(t): d/dz = (I - u u^T) (d/dp) / (sqrt(t) |z|).
        length = xp.where(zero, xp.ones_like(along), rows.length) * temperature**0.5
        gradient = ns.sub_(gradient, rows.p * (along * temperature))
        gradient = ns.mul_(gradient, xp.where(zero, xp.zeros_like(along), 1 / length))
        return gradient, self._euler(ns, along, temperature)


class _Euclidean(Similarity):
    keeps_logits = True

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
        return float((4 * _largest(ns, [rows.square for rows in sides])) ** (self.degree / 2))

    def tile(
        self, ns: Namespace, a: Rows, b: Rows, diagonal: bool, scratch: Scratch | None
    ) -> Tile:
        xp = ns.xp
        whole = Block(0, ns.shape(a.p)[0])
        eye = ns.same(whole, whole, a.p) if diagonal else None
        if a.p.shape[1] <= _FEW_FEATURES:
            return Tile(self._logits(ns, _squares(ns, a, b, scratch), eye), True)
        norms = ns.outer_sum(a.square, b.square, scratch, "norms")
        squares = ns.add_(ns.mul_(ns.product(a.p, b.p, scratch, "tile"), -2), norms)
        near = squares < _NEAR * norms
        flag = xp.any(near if eye is None else near & ~eye)
        squares = ns.cond(flag, lambda: _squares(ns, a, b, scratch), lambda: squares)
        return Tile(self._logits(ns, squares, eye), flag)

    @abstractmethod
    def _logits(self, ns: Namespace, squares: Array, eye: Array | None) -> Array:
        """Logits from squared distances, which are consumed; exactly 0 where `eye` is true."""

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

    def _logits(self, ns: Namespace, squares: Array, eye: Array | None) -> Array:
        if eye is not None:
            squares = ns.fill_(squares, eye, 0)
        return ns.mul_(squares, -1)

    def _weights(self, ns: Namespace, g: Array, tile: Tile) -> Array:
        return ns.mul_(g, -2)


class NegEuclidean(_Euclidean):
    """-|x - y|; equal rows have no gradient."""

    degree = 1

    def _logits(self, ns: Namespace, squares: Array, eye: Array | None) -> Array:
        if eye is not None:
            squares = ns.fill_(squares, eye, 0)
        zero = squares <= 0
        return ns.mul_(ns.fill_(ns.sqrt_(ns.fill_(squares, zero, 1)), zero, 0), -1)

    def _weights(self, ns: Namespace, g: Array, tile: Tile) -> Array:
        zero = tile.logits == 0
        return ns.fill_(ns.div_(g, ns.fill_(tile.logits, zero, 1)), zero, 0)


SIMILARITIES: dict[str, Similarity] = {
    "cosine": Cosine(),
    "dot": Dot(),
    "neg_euclidean": NegEuclidean(),
    "neg_sqeuclidean": NegSqeuclidean(),
}


def _largest(ns: Namespace, vectors: list[Array | None]) -> float:
    known = [ns.host(ns.xp.max(x)) for x in vectors if x is not None]
    return max(float("inf") if x is None else float(x) for x in known)


def _both(
    ns: Namespace, places: tuple[Place, ...], w: Array, a: Rows, b: Rows
) -> Iterator[tuple[Place, Array, Rows, Rows]]:
    yield places[0], w, a, b
    if len(places) > 1:
        yield places[1], ns.xp.matrix_transpose(w), b, a


def _features(x: Array) -> list[tuple[Block]]:
    return [(Block(k, 1),) for k in range(x.shape[1])]


def _squares(ns: Namespace, a: Rows, b: Rows, scratch: Scratch | None) -> Array:
    """Squared distances feature by feature, exact for the nearest pairs.

    Raw rows, because centred ones have been rounded to the size of the centre.
    """
    x, y = ns.xp.matrix_transpose(a.raw), -ns.xp.matrix_transpose(b.raw)

    def body(total: Array, k: Block) -> Array:
        apart = ns.outer_sum(ns.rows(x, k)[0, :], ns.rows(y, k)[0, :], scratch, "apart")
        return ns.add_(total, ns.mul_(apart, apart))

    zero = ns.mul_(ns.outer_sum(x[0, :], y[0, :], scratch, "tile"), 0)
    return ns.mul_(ns.loop(_features(a.p), body, zero), a.factor**2)


def _flow(ns: Namespace, w: Array, a: Rows, b: Rows, scratch: Scratch | None) -> Array:
    """sum_j w_ij (x_i - y_j) feature by feature, (len a, d)."""
    x, y = ns.xp.matrix_transpose(a.raw), -ns.xp.matrix_transpose(b.raw)

    def body(flow: Array, k: Block) -> Array:
        apart = ns.outer_sum(ns.rows(x, k)[0, :], ns.rows(y, k)[0, :], scratch, "apart")
        return ns.set_rows_(flow, k, ns.row_sums(ns.mul_(apart, w))[None, :])

    flow = ns.loop(_features(a.p), body, ns.zeros(ns.shape(x), x))
    return ns.xp.matrix_transpose(ns.mul_(flow, a.factor))


def _repeat(ns: Namespace, x: Array, times: int) -> Array:
    n, d = ns.shape(x)
    wide = ns.xp.broadcast_to(x[:, None, :], (n, times, d))
    return ns.xp.reshape(wide, (n * times, d))

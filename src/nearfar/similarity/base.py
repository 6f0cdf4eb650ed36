"""What every similarity offers, and the rows that it works on."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from nearfar.frameworks import Array, Block, Namespace, Scratch


class Rows(NamedTuple):
    """Embeddings made ready for tiles."""

    p: Array  # (n, d)
    square: Array | None = None  # squared norms (n,), Euclidean only
    slope: Array | None = None  # 1 / (sqrt(temperature) norm), (n, 1), cosine only; or 0
    raw: Array | None = None  # the rows as given (n, d), Euclidean only
    factor: Any = None  # what differences of raw rows are multiplied by, Euclidean only
    wide: Array | None = None  # p, 1 and the squared norms side by side, (n, d + 2), Euclidean only
    unit: Any = 1.0  # what distances of p are multiplied by, Euclidean only
    among: "Rows | None" = None  # all sides, one below the other, where they were made in one go

    def block(self, ns: Namespace, block: Block) -> "Rows":
        if isinstance(block.size, int) and block.size == self.p.shape[0]:
            return self
        found = (self.square, self.raw, self.wide)
        square, raw, wide = (None if x is None else ns.rows(x, block) for x in found)
        return self._like(ns.rows(self.p, block), raw, square, wide)

    def take(self, ns: Namespace, places: Array) -> "Rows":
        """Rows by their numbers (m,), for `paired`."""
        if self.raw is None:
            return self._like(ns.take(self.p, places), None)
        raw = ns.take(self.raw, places)  # of which differences are made, and nothing of `p`
        return self._like(raw, raw)

    def ordered(self, ns: Namespace, order: Array) -> "Rows":
        """All rows in another order."""
        each = self.p, self.square, self.slope, self.raw, self.wide
        p, square, slope, raw, wide = (None if x is None else ns.take(x, order) for x in each)
        return self._replace(p=p, square=square, slope=slope, raw=raw, wide=wide, among=None)

    def repeat(self, ns: Namespace, times: int) -> "Rows":
        """Every row so many times, for `paired`."""
        raw = None if self.raw is None else _repeat(ns, self.raw, times)
        return self._like(_repeat(ns, self.p, times), raw)

    def _like(
        self, p: Array, raw: Array | None, square: Array | None = None, wide: Array | None = None
    ) -> "Rows":
        return Rows(p, square, raw=raw, factor=self.factor, wide=wide, unit=self.unit)


class NearPairs(NamedTuple):
    """Pairs of a tile that are too near for products, where the host sees that they are few."""

    rows: Array  # places (k,)
    columns: Array
    weights: Any = None  # (k,), of a `PairWeights`, which has 0 there

    def turned(self) -> "NearPairs":
        return NearPairs(self.columns, self.rows, self.weights)

    def within(self, block: Block) -> "NearPairs":
        """Those of some columns."""
        inside = (self.columns >= block.start) & (self.columns < block.start + block.size)
        return NearPairs(
            self.rows[inside], self.columns[inside] - block.start, self.weights[inside]
        )

    def below(self, start: int) -> "NearPairs":
        """The same in a matrix that has so many rows above."""
        return self._replace(rows=self.rows + start)


class Tile(NamedTuple):
    logits: Array  # (len a, len b)
    near: Any  # the pairs too near for products, else whether there are any: a framework's flag
    unit: Any = 1.0  # as the rows'

    def turned(self, ns: Namespace) -> "Tile":
        """The same for the columns as rows."""
        near = self.near.turned() if isinstance(self.near, NearPairs) else self.near
        return Tile(ns.xp.matrix_transpose(self.logits), near, self.unit)


class PairWeights(NamedTuple):
    """What a tile's gradient is for its rows and columns: see `Similarity.pair_weights_`."""

    weights: Array  # (len a, len b)
    near: Any  # as the tile's

    def columns(self, ns: Namespace, block: Block) -> "PairWeights":
        near = self.near.within(block) if isinstance(self.near, NearPairs) else self.near
        return PairWeights(ns.columns(self.weights, block), near)

    def turned(self, ns: Namespace) -> "PairWeights":
        """The same for the columns as rows."""
        near = self.near.turned() if isinstance(self.near, NearPairs) else self.near
        return PairWeights(ns.xp.matrix_transpose(self.weights), near)

    @classmethod
    def joined(cls, ns: Namespace, weights: Array, parts: list[tuple[int, Any]]) -> "PairWeights":
        """Of `weights` whose rows were made in parts: the first row of each, and its `near`."""
        pairs = [near.below(start) for start, near in parts if isinstance(near, NearPairs)]
        if any(near is not False and not isinstance(near, NearPairs) for _, near in parts):
            for some in pairs:
                ns.set_entries_(weights, some.rows, some.columns, some.weights)
            return cls(weights, True)
        if not pairs:
            return cls(weights, False)
        return cls(weights, NearPairs(*(ns.xp.concat(of) for of in zip(*pairs, strict=True))))


class Place(NamedTuple):
    """Where a tile's gradient goes: a block of rows of one side's accumulator."""

    side: int
    block: Block


Diagonal = tuple[Block, Block]
"""Blocks of one set of rows: where their numbers are equal, a row meets itself."""


class Similarity(ABC):
    name: ClassVar[str | None] = None
    """As losses spell it, where a fused kernel may know it."""
    degree: ClassVar[int]
    keeps_logits: ClassVar[bool]
    """Whether `pair_weights_` reads the logits, which must then outlive the gradient."""

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
        self, ns: Namespace, a: Rows, b: Rows, diagonal: Diagonal | None, scratch: Scratch | None
    ) -> Tile:
        """Logits of two blocks, in the buffer "tile"; `diagonal`: blocks of the same rows."""

    def vjp_(
        self,
        ns: Namespace,
        gradients: tuple[Array, ...],
        places: tuple[Place | None, ...],
        a: Rows,
        b: Rows,
        tile: Tile,
        g: Array,
        scratch: Scratch | None,
    ) -> tuple[Array, ...]:
        """Add a tile's gradient `g` to the rows of `a` at the first place, of `b` at the second;
        where a place is None nobody wants it."""
        flow = self.pair_weights_(ns, g, tile)
        turns = (flow, a, b), (flow.turned(ns), b, a)
        out = list(gradients)
        for place, (one, x, y) in zip(places, turns, strict=False):
            if place is not None:
                add = self.accumulate_
                out[place.side] = add(ns, out[place.side], place.block, one, x, y, scratch)
        return tuple(out)

    @abstractmethod
    def pair_weights_(self, ns: Namespace, g: Array, tile: Tile) -> PairWeights:
        """From the gradient of the logits to the weights that `accumulate_` wants.

        May consume `g` and the logits.
        """

    @abstractmethod
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
        """Add to a block of `gradient` what flows to the rows `x` from the rows `y`."""

    @abstractmethod
    def restore(
        self, ns: Namespace, rows: Rows, gradient: Array, temperature: Any
    ) -> tuple[Array, Any]:
        """Gradient of the embeddings, and this side's share of that of the temperature: 0 where
        the temperature is a number.
        """

    def restore_all(
        self,
        ns: Namespace,
        sides: tuple[Rows, ...],
        gradients: tuple[Array, ...],
        temperature: Any,
    ) -> tuple[tuple[Array, ...], Any]:
        """`restore` of every side; the temperature's is their sum."""
        found = [
            self.restore(ns, rows, gradient, temperature)
            for rows, gradient in zip(sides, gradients, strict=True)
        ]
        return tuple(z for z, _ in found), sum((slope for _, slope in found[1:]), found[0][1])

    def closeness(
        self, ns: Namespace, a: Rows, b: Rows, diagonal: Diagonal | None, scratch: Scratch | None
    ) -> Array:
        """Numbers in the order of a tile's logits, or these, whichever is sooner had."""
        return self.tile(ns, a, b, diagonal, scratch).logits

    @abstractmethod
    def paired(self, ns: Namespace, a: Rows, b: Rows) -> Array:
        """Logits of matched rows, (n,)."""

    @abstractmethod
    def paired_vjp(self, ns: Namespace, a: Rows, b: Rows, g: Array) -> tuple[Array, Array]:
        """Gradient of `paired` by the rows of both sides, for weights g (n,)."""

    def _euler(self, ns: Namespace, inner: Callable[[], Array], temperature: Any) -> Any:
        if isinstance(temperature, float):
            return 0.0
        return ns.xp.sum(inner()) / (-self.degree * temperature)


def largest(ns: Namespace, vectors: list[Array | None]) -> float:
    known = [ns.peek(ns.xp.max(x)) for x in vectors if x is not None and x.shape[0] != 0]
    return max(float("inf") if x is None else float(x) for x in known)


def row_products(ns: Namespace, x: Array, y: Array) -> Array:
    """Of matched rows, (n,)."""
    (found,) = ns.by_rows(lambda x, y: (ns.dots(x, y),), x, y)
    return found


def _repeat(ns: Namespace, x: Array, times: int) -> Array:
    n, d = ns.shape(x)
    wide = ns.xp.broadcast_to(x[:, None, :], (n, times, d))
    return ns.xp.reshape(wide, (n * times, d))


class PairwiseDifferences:
    """x_ik - y_jk for all pairs of rows, one feature k at a time."""

    def __init__(self, ns: Namespace, x: Array, y: Array, scratch: Scratch | None) -> None:
        self._ns, self._scratch = ns, scratch
        features = x.shape[1]
        if features is None:
            raise ValueError(
                "expected rows with a known number of features, since distances are computed one "
                "feature at a time; received an unknown one in a graph of TensorFlow; state it, "
                "x = tf.ensure_shape(x, (None, features))"
            )
        self.features: int = features
        self._x, self._y = ns.xp.matrix_transpose(x), -ns.xp.matrix_transpose(y)

    def _each(self) -> list[tuple[Block]]:
        return [(Block(k, 1),) for k in range(self.features)]

    def __call__(self, k: Block, key: str = "apart") -> Array:
        x, y = (self._ns.rows(side, k)[0, :] for side in (self._x, self._y))
        return self._ns.outer_sum(x, y, self._scratch, key)

    def fold(self, step: Callable[[Array, Array], Array], key: str = "tile") -> Array:
        """``total = step(total, difference)`` over the features, from 0 in the buffer `key`."""
        zero = self._ns.mul_(self(Block(0, 1), key), 0)
        return self._ns.loop(self._each(), lambda total, k: step(total, self(k)), zero)

    def flow(self, weigh: Callable[[Array], Array]) -> Array:
        """(n, d): the row sums of ``weigh(difference)``, feature by feature."""
        ns = self._ns

        def body(flow: Array, k: Block) -> Array:
            return ns.set_rows_(flow, k, ns.row_sums(weigh(self(k)))[None, :])

        start = ns.zeros(ns.shape(self._x), self._x)
        return ns.xp.matrix_transpose(ns.loop(self._each(), body, start))

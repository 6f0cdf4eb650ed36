"""Sums over features of what two rows' difference in each comes to, with stated derivatives."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nearfar.frameworks.protocol.namespace import Namespace
from nearfar.frameworks.protocol.types import Array, Block


def _once(function: Callable[..., Array]) -> Callable[..., Array]:
    return function


@dataclass(frozen=True)
class FeatureWalk:
    """How the features of all pairs of rows, or of matched rows, are gone over.

    Features are the first axis of both sides, (d, n) and (d, m), so that arrays of the shape of the
    result fit behind them.
    """

    paired: bool

    def shape(self, ns: Namespace, a: Array, b: Array) -> tuple[Any, ...]:
        n, m = ns.shape(a)[1], ns.shape(b)[1]
        return (n,) if self.paired else (n, m)

    def blocks(self, a: Array) -> list[tuple[Block]]:
        # Matched rows have as many terms as entries: all at once.
        d = a.shape[0]
        return [(Block(0, d),)] if self.paired else [(Block(k, 1),) for k in range(d)]

    def meet(self, x: Array, y: Array) -> tuple[Array, Array]:
        return (x, y) if self.paired else (x[:, :, None], y[:, None, :])

    def apart(self, x: Array, y: Array) -> Array:
        x, y = self.meet(x, y)
        return x - y


@dataclass(frozen=True)
class FeatureSum:
    """``sum_k term(a_k - b_k, *constants)`` over the features k of a walk.

    Pairs are walked a feature at a time, forwards and for the derivatives: nothing is (d, n, m).
    """

    term: Callable[..., Array]
    change: Callable[..., Array]
    """Of a factor and the arguments of `term`: the factor times its derivative by the difference.

    The derivative alone may overflow where its product with a tiny factor does not."""
    walk: FeatureWalk

    def value(
        self,
        ns: Namespace,
        a: Array,
        b: Array,
        constants: tuple[Array, ...],
        again: Callable[[Callable[..., Array]], Callable[..., Array]] = _once,
    ) -> Array:
        """`again` makes a function that differentiation runs once more instead of keeping what
        was made on the way."""

        def part(x: Array, y: Array, *constants: Array) -> Array:
            return ns.xp.sum(self.term(self.walk.apart(x, y), *constants), axis=0)

        recomputed = again(part)

        def body(total: Array, block: Block) -> Array:
            return total + recomputed(ns.rows(a, block), ns.rows(b, block), *constants)

        return ns.loop(self.walk.blocks(a), body, ns.zeros(self.walk.shape(ns, a, b), a))

    def gradient(
        self, ns: Namespace, upstream: Array, a: Array, b: Array, constants: tuple[Array, ...]
    ) -> tuple[Array, Array]:
        """By `a` and by `b`."""
        xp = ns.xp
        if self.walk.paired:
            flow = self.change(upstream, self.walk.apart(a, b), *constants)
            return flow, -flow
        features = ns.positions(Block(0, a.shape[0]), a)[:, None]

        def body(found: tuple[Array, Array], block: Block) -> tuple[Array, Array]:
            apart = self.walk.apart(ns.rows(a, block), ns.rows(b, block))
            flow = self.change(upstream, apart, *constants)
            # TensorFlow sets no rows of nothing, which a batch of no rows has.
            here = features == block.start
            to_a, to_b = xp.sum(flow, axis=2), -xp.sum(flow, axis=1)
            return xp.where(here, to_a, found[0]), xp.where(here, to_b, found[1])

        start = (ns.zeros(ns.shape(a), a), ns.zeros(ns.shape(b), b))
        return ns.loop(self.walk.blocks(a), body, start)

    def tangent(
        self,
        ns: Namespace,
        along: tuple[Array, Array],
        a: Array,
        b: Array,
        constants: tuple[Array, ...],
    ) -> Array:
        """The change of the sum as `a` and `b` change along these."""

        def body(total: Array, block: Block) -> Array:
            apart = self.walk.apart(ns.rows(a, block), ns.rows(b, block))
            by = self.walk.apart(*(ns.rows(x, block) for x in along))
            return total + ns.xp.sum(self.change(by, apart, *constants), axis=0)

        return ns.loop(self.walk.blocks(a), body, ns.zeros(self.walk.shape(ns, a, b), a))

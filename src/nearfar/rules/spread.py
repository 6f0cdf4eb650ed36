"""Rules of unit rows that spread them apart, or pull given pairs together."""

from dataclasses import dataclass
from typing import ClassVar

from nearfar.frameworks import Array, Block, Namespace
from nearfar.rules.at_once import AtOnceRule, Batch, Taken


@dataclass(frozen=True)
class Nearest(AtOnceRule):
    """-log of the distance to the nearest other row, plus eps."""

    eps: float

    def buffers(self) -> int:
        return 2

    def take(self, ns: Namespace, batch: Batch, weights: Array | None) -> Taken:
        xp, p = ns.xp, batch.sides[0].p
        alone = xp.sum(batch.one) < 2
        with ns.scratch() as scratch:

            def body(found: Array, i: Block) -> Array:
                logits = ns.product(ns.rows(p, i), p, scratch, "tile")
                logits = ns.fill_diagonal_(logits, i, Block(0, batch.n), -float("inf"))
                columns = ns.cast(ns.largest(logits)[0], ns.xp.int64)
                return ns.set_rows_(found, i, columns)

            none = ns.cast(ns.zeros((batch.n,), p), xp.int64)
            nearest = ns.loop(batch.blocks, body, none)
        apart = p - ns.take(p, nearest)
        square = ns.dots(apart, apart)
        same = square == 0
        distance = xp.where(same, xp.zeros_like(square), xp.sqrt(xp.where(same, batch.one, square)))
        losses = xp.where(alone, xp.zeros_like(square), -xp.log(distance + self.eps))
        if weights is None:
            return Taken(losses)
        # Two equal rows have no direction to part in.
        some = ~(same | alone)
        over = xp.where(some, distance * (distance + self.eps), xp.ones_like(distance))
        pull = xp.where(some, -weights / over, xp.zeros_like(distance))[:, None] * apart
        return Taken(losses, (ns.add_at_(0 + pull, nearest, -pull),))


@dataclass(frozen=True)
class Gaussians(AtOnceRule):
    """log of the mean of exp(-t |u_i - u_j|**2) over the pairs of rows."""

    t: float

    each: ClassVar[bool] = False

    def buffers(self) -> int:
        return 3

    def take(self, ns: Namespace, batch: Batch, weights: Array | None) -> Taken:
        xp, p = ns.xp, batch.sides[0].p
        square = ns.dots(p, p)  # 0 for a row of zeros, else 1
        like = ns.shape(p)
        with ns.scratch() as scratch:

            def body(found: tuple[Array, Array], i: Block) -> tuple[Array, Array]:
                logs, pulls = found
                x = ns.rows(p, i)
                logits = ns.mul_(ns.product(x, p, scratch, "tile"), 2 * self.t)
                logits = ns.sub_(logits, self.t * square[None, :])
                logits = ns.fill_diagonal_(logits, i, Block(0, batch.n), -float("inf"))
                e, shift, total, log = ns.exponentials_(logits)
                logs = ns.add_rows_(logs, i, shift + log - self.t * ns.rows(square, i))
                if weights is not None:
                    pulls = ns.add_rows_(pulls, i, (e @ p) / total[:, None])
                return logs, pulls

            start = ns.zeros((batch.n,), p), ns.zeros(like if weights is not None else (1, 1), p)
            logs, pulls = ns.loop(batch.blocks, body, start)
        count = xp.sum(batch.one)
        alone = count < 2
        logs = xp.where(alone, xp.zeros_like(logs), logs)
        peak = ns.stop_gradient(xp.max(logs))
        share = xp.exp(logs - peak)
        total = xp.sum(share)
        pairs = xp.where(alone, xp.ones_like(count), count * (count - 1))
        value = xp.where(alone, xp.zeros_like(total), peak + xp.log(total) - xp.log(pairs))
        losses = xp.reshape(value, (1,))
        if weights is None:
            return Taken(losses)
        # A pair is met from both of its ends, which are alike; what falls on the norms is dropped.
        weigh = xp.where(alone, xp.zeros_like(share), 4 * self.t * weights * share / total)
        return Taken(losses, (pulls * weigh[:, None],))


@dataclass(frozen=True)
class Apart(AtOnceRule):
    """|u_i - v_i|**alpha of given pairs."""

    alpha: float

    def take(self, ns: Namespace, batch: Batch, weights: Array | None) -> Taken:
        xp = ns.xp
        apart = batch.sides[0].p - batch.sides[1].p
        square = ns.dots(apart, apart)
        same = square == 0
        known = xp.where(same, xp.ones_like(square), square)
        zero = xp.zeros_like(square)
        losses = xp.where(same, zero, known ** (self.alpha / 2))
        if weights is None:
            return Taken(losses)
        steep = xp.where(same, zero, self.alpha * weights * known ** (self.alpha / 2 - 1))
        pull = steep[:, None] * apart
        return Taken(losses, (pull, -pull))

"""Rules of the moments of features: d x d sums over rows, a block of rows at a time."""

from dataclasses import dataclass
from typing import ClassVar

from nearfar.frameworks import Array, Block, Namespace
from nearfar.rules.at_once import AtOnceRule, Batch, Taken


def _mean(ns: Namespace, x: Array, count: Array) -> Array:
    """Of each feature, (1, d); the first row is taken off first, since large offsets round."""
    first = x[:1, :]
    return first + ns.xp.sum(x - first, axis=0, keepdims=True) / count


class _Moments(AtOnceRule):
    each: ClassVar[bool] = False

    def _sums(
        self, ns: Namespace, batch: Batch, x: Array, y: Array, means: tuple[Array, Array]
    ) -> Array:
        """Sum over rows of the products of two features less their means, (d, d)."""
        xp, d = ns.xp, x.shape[1]

        def body(total: Array, i: Block) -> Array:
            u, v = ns.rows(x, i) - means[0], ns.rows(y, i) - means[1]
            return ns.add_(total, xp.matrix_transpose(u) @ v)

        return ns.loop(batch.blocks, body, ns.zeros((d, d), x))

    def _pulled(
        self, ns: Namespace, batch: Batch, x: Array, mean: Array, by: Array, add: Array | None
    ) -> Array:
        """(x - mean) @ by, and what is to be added, (n, d)."""

        def body(out: Array, i: Block) -> Array:
            return ns.add_rows_(out, i, (ns.rows(x, i) - mean) @ by)

        start = ns.zeros(ns.shape(x), x)
        found = ns.loop(batch.blocks, body, start)
        return found if add is None else found + add


@dataclass(frozen=True)
class VarianceCovariance(_Moments):
    invariance: float
    variance: float
    covariance: float
    eps: float

    def take(self, ns: Namespace, batch: Batch, weights: Array | None) -> Taken:
        xp = ns.xp
        a, b = (rows.p for rows in batch.sides)
        count, d = xp.sum(batch.one), a.shape[1]
        apart = a - b
        loss = self.invariance * xp.sum(ns.dots(apart, apart)) / (count * d)
        pulls = []
        for x in (a, b):
            mean = _mean(ns, x, count)
            c = self._sums(ns, batch, x, x, (mean, mean)) / (count - 1)
            features = Block(0, d)
            deviation = xp.sqrt(ns.diagonal(c, features, features) + self.eps)
            low = deviation < 1
            off = ns.fill_diagonal_(0 + c, features, features, 0)
            short = xp.where(low, 1 - deviation, xp.zeros_like(deviation))
            loss = loss + self.variance / (2 * d) * xp.sum(short)
            loss = loss + self.covariance / d * xp.sum(off * off)
            if weights is not None:
                rise = xp.where(low, -self.variance / (4 * d) / deviation, 0 * deviation)
                by = (4 * self.covariance / d) * off + 2 * rise[:, None] * ns.cast(
                    ns.same(features, features, off), off.dtype
                )
                pulls.append((x, mean, by / (count - 1)))
        losses = xp.reshape(loss, (1,))
        if weights is None:
            return Taken(losses)
        side = (2 * self.invariance / d) / count * apart
        found = tuple(
            weights * self._pulled(ns, batch, *pull, add)
            for pull, add in zip(pulls, (side, -side), strict=True)
        )
        return Taken(losses, found)


@dataclass(frozen=True)
class CrossCorrelation(_Moments):
    off_diagonal: float
    eps: float

    def take(self, ns: Namespace, batch: Batch, weights: Array | None) -> Taken:
        xp = ns.xp
        sides = tuple(rows.p for rows in batch.sides)
        count, d = xp.sum(batch.one), sides[0].shape[1]
        means = tuple(_mean(ns, x, count) for x in sides)
        features = Block(0, d)
        scales = []
        for x, mean in zip(sides, means, strict=True):
            square = xp.sum((x - mean) ** 2, axis=0) / count
            scales.append(1 / xp.sqrt(square + self.eps))
        f, g = scales
        sums = self._sums(ns, batch, sides[0], sides[1], (means[0], means[1])) / count
        c = sums * f[:, None] * g[None, :]
        itself = ns.same(features, features, c)
        one, zero = xp.ones_like(c), xp.zeros_like(c)
        short = xp.where(itself, one - c, zero)
        off = xp.where(itself, zero, c)
        loss = xp.sum(short * short) + self.off_diagonal * xp.sum(off * off)
        losses = xp.reshape(loss, (1,))
        if weights is None:
            return Taken(losses)
        by = 2 * self.off_diagonal * off - 2 * short
        # By the products, and by the variances that divide them.
        inner = by * f[:, None] * g[None, :] / count
        worth = by * c
        spread = (
            -xp.sum(worth, axis=1) * f * f / count,
            -xp.sum(worth, axis=0) * g * g / count,
        )
        found = []
        for k, back in ((0, xp.matrix_transpose(inner)), (1, inner)):
            own = (sides[k] - means[k]) * spread[k][None, :]
            pull = self._pulled(ns, batch, sides[1 - k], means[1 - k], back, own)
            found.append(weights * pull)
        return Taken(losses, tuple(found))

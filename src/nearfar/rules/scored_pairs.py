"""The rule of pairs with targets: a pair that is worth more should be more similar."""

from dataclasses import dataclass
from typing import ClassVar

from nearfar.frameworks import Array, Block, Namespace
from nearfar.rules.at_once import AtOnceRule, Batch, Taken


def _beyond_runs(ns: Namespace, x: Array, starts: Array, reverse: bool) -> Array:
    """Logarithms of running sums of exp(x), (1, n), of the entries before each one's run; after
    it, in reverse."""
    xp = ns.xp
    sums = ns.running_log_sum(x, reverse=reverse)
    edge = xp.full_like(x[:, :1], -float("inf"))
    parts = [sums[:, 1:], edge] if reverse else [edge, sums[:, :-1]]
    return -ns.segment_fill(-xp.concat(parts, axis=1), starts, reverse)


@dataclass(frozen=True)
class RankedPairs(AtOnceRule):
    """log(1 + sum over targets k > l of exp((s_l - s_k) / t)), of the similarities of given pairs.

    Sorted by target the pairs below k are a run from the start: running sums in O(n log n).
    """

    turned: bool
    """Similarities are those of complex rows, by absolute value."""

    each: ClassVar[bool] = False

    def take(self, ns: Namespace, batch: Batch, weights: Array | None) -> Taken:
        xp, none = ns.xp, -float("inf")
        (x, y), t = (rows.p for rows in batch.sides), batch.temperature
        facing = _turned(ns, y) if self.turned else y
        s = ns.dots(x, facing)
        sign = ns.sign(s) if self.turned else xp.ones_like(s)
        assert batch.targets is not None
        targets = xp.reshape(batch.targets, (1, -1))
        order = ns.argsort(targets)
        ranks = ns.gather(targets, order)
        first = ns.numbers(Block(0, 1), Block(0, batch.n), s)[1] == 0
        starts = xp.concat([ranks[:, :1] != ranks[:, :1], ranks[:, 1:] != ranks[:, :-1]], axis=1)
        starts = starts | first
        z = ns.gather(xp.reshape(sign * s / t, (1, -1)), order)
        nothing = 0 * ns.cast(xp.sum(targets), s.dtype) if ns.is_floating(targets) else 0.0
        below = _beyond_runs(ns, z, starts, False)
        terms = below - z
        peak = ns.stop_gradient(xp.max(terms))
        peak = xp.where(peak == none, xp.zeros_like(peak), peak)
        total = xp.sum(xp.exp(terms - peak))
        empty = total == 0
        log = xp.where(
            empty, xp.full_like(total, none), peak + xp.log(xp.where(empty, peak * 0 + 1, total))
        )
        value = ns.softplus(log) + nothing
        losses = xp.reshape(value, (1,))
        if weights is None:
            return Taken(losses)
        above = _beyond_runs(ns, -z, starts, True)
        slopes = xp.exp(z + above - value) - xp.exp(terms - value)
        by_z = ns.scatter(slopes, order, batch.n)[0, :] * weights
        by_temperature = -xp.sum(by_z * sign * s) / t**2
        by_s = (by_z * sign / t)[:, None]
        back = _turned_back(ns, x) if self.turned else x
        return Taken(losses, (by_s * facing, by_s * back), by_temperature)


def _halves(ns: Namespace, x: Array) -> tuple[Array, Array]:
    """Real and imaginary parts; an odd row gets one more 0."""
    if x.shape[1] % 2:
        x = ns.xp.concat([x, 0 * x[:, :1]], axis=1)
    half = x.shape[1] // 2
    return x[:, :half], x[:, half:]


def _turned(ns: Namespace, y: Array) -> Array:
    """What x is multiplied by for its cosine with y and the imaginary part of x over y."""
    re, im = _halves(ns, y)
    return ns.xp.concat([re - im, re + im], axis=1)[:, : y.shape[1]]


def _turned_back(ns: Namespace, x: Array) -> Array:
    """The transpose of `_turned`."""
    re, im = _halves(ns, x)
    return ns.xp.concat([re + im, im - re], axis=1)[:, : x.shape[1]]

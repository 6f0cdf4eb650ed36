"""Rules of distances that have to keep a margin: of given triplets, of pairs."""

from dataclasses import dataclass

from nearfar.frameworks import Array, Namespace
from nearfar.rules.protocol import Others, QueryRule, WithinRule


@dataclass(frozen=True)
class Hinge(QueryRule):
    """relu(d_ap - d_an + margin), where logits are distances taken negative."""

    margin: float

    def rows(
        self, ns: Namespace, logits: Array, positive: Array, weight: Array | None
    ) -> tuple[Array, Array | None, Array | None]:
        xp = ns.xp
        loss = logits[:, 0] - positive + self.margin
        # 0, but NaN for a negative at an infinite distance: a maximum with 0 would hide it.
        idle, zero = loss <= 0, loss - loss
        loss = xp.where(idle, zero, loss)
        if weight is None:
            return loss, None, None
        slope = xp.where(idle, zero, weight + 0 * loss)  # NaN has a gradient of NaN
        return loss, slope[:, None], -slope


@dataclass(frozen=True)
class NearOrApart(WithinRule):
    """1/2 d**2 for rows of a class, 1/2 max(0, margin - d)**2 for others."""

    margin: float

    def buffers(self, most: int | None) -> int:
        return 8

    def usable(self, positives: Array, negatives: Array) -> Array:
        return positives + negatives > 0

    def rows(
        self, ns: Namespace, logits: Array, others: Others, weight: Array | None
    ) -> tuple[Array, Array, Array | None]:
        xp = ns.xp
        assert others.same is not None
        # What a distance has to change by.
        off = ns.relu_(self.margin + logits)
        near, away = (ns.columns(x, others.window) for x in (logits, off))
        off = ns.set_columns_(off, others.window, xp.where(others.same, near, away))
        off = ns.fill_diagonal_(off, *others.diagonal, 0)
        pairs = xp.sum(xp.ones_like(off), axis=1) - others.itself
        share = 1 / xp.where(pairs > 0, pairs, xp.ones_like(pairs))
        losses = xp.sum(off * off, axis=1) * (share / 2)
        terms = xp.ones_like(losses)
        if weight is None:
            return losses, terms, None
        return losses, terms, ns.mul_(off, (weight * share)[:, None])

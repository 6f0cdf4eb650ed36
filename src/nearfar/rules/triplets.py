"""Which triplets of a batch count: rules over the distances of an anchor to all rows.

Triplets are never listed. With an anchor's distances sorted, the negatives that are nearer than a
positive plus the margin are a run of the sequence, and counts and sums over runs are differences
of running sums: O(n log n) per anchor, whatever the size of the classes.

P and N are an anchor's positives and negatives, u = d_ap - d_an + margin.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from nearfar.frameworks import Array, Namespace
from nearfar.rules.protocol import Others, WithinRule
from nearfar.rules.sorted_groups import Group, Merged

# Up to so many positives comparing each with all negatives is quicker than sorting.
_FEW = 32


class Mined(NamedTuple):
    losses: Array  # (b,)
    active: Array  # triplets with a loss above 0, (b,)
    chosen: Array  # triplets, (b,)
    by_positives: Array  # slopes by the distances in the window, (b, w)
    by_all: Array  # and by all distances, (b, n)


class Miner(Protocol):
    def __call__(self, ns: Namespace, positives: Group, negatives: Group, margin: float) -> Mined:
        """Sums over an anchor's triplets; both groups have members."""


def every(ns: Namespace, positives: Group, negatives: Group, margin: float) -> Mined:
    """All P x N."""
    merged = Merged(ns, positives._replace(keys=positives.keys + margin), negatives)
    reach, far = merged.marks
    losses = _margins(ns, merged, reach, far)
    nearer = merged.below(far)
    slopes = reach * nearer - far * (_total(ns, reach) - merged.up_to(reach))
    chosen = _count(ns, positives) * _count(ns, negatives)
    by_positives, by_all = merged.apart(slopes)
    return Mined(_sum(ns, losses), _sum(ns, reach * nearer), chosen, by_positives, by_all)


def every_of_few(ns: Namespace, logits: Array, others: Others, margin: float) -> Mined:
    """As `every`, where positives are few: each against all negatives, nothing sorted.

    With R an anchor's farthest reach, max d_ap + margin, its losses add up to the sum over n of
    (R - d_an) times how many positives reach n, less the sum over p of (R - d_ap - margin) times
    how many negatives p reaches. The first is at most as many times the result as there are
    positives, so that the difference keeps the digits.
    """
    assert others.most is not None
    xp, window, scratch = ns.xp, others.window, others.scratch
    mates = classmates(ns, others)[1]
    # By membership and not by distance, which may be infinite.
    order = ns.argsort(ns.cast(~mates, logits.dtype))[:, : max(others.most, 1)]
    members = ns.gather(mates, order)
    positives = ns.row_sums(ns.cast(members, logits.dtype))
    negatives = ns.shape(logits)[1] - others.itself - positives
    # An anchor without negatives reaches nothing, so that no infinity meets another.
    reaching = members & (negatives > 0)[:, None]
    reached = margin - ns.gather(ns.columns(logits, window), order)
    reached = xp.where(reaching, reached, xp.full_like(reached, -float("inf")))
    away = only_strangers_(ns, ns.copy(logits, scratch, "away"), others)
    nearer, idle = [], None
    for k in range(ns.shape(order)[1]):
        key = "idle" if idle is None else "beyond"
        beyond = ns.up_to(away, -reached[:, k : k + 1], scratch, key)
        nearer.append(ns.shape(logits)[1] - ns.row_sums(beyond))
        idle = beyond if idle is None else ns.add_(idle, beyond)
    by_positives = xp.stack(nearer, axis=1)
    by_all = ns.sub_(idle, len(nearer))
    farthest = xp.max(reached, axis=1)
    farthest = xp.where(farthest > -float("inf"), farthest, xp.zeros_like(farthest))
    inside = ns.columns(away, window)
    known = ns.set_columns_(away, window, xp.where(others.same, xp.zeros_like(inside), inside))
    over = ns.row_sums(ns.mul_(ns.add_(known, farthest[:, None]), by_all))
    gaps = xp.where(reaching, farthest[:, None] - reached, xp.zeros_like(reached))
    losses = -over - _sum(ns, gaps * by_positives)
    back = ns.scatter(by_positives, order, window.size)
    return Mined(losses, _sum(ns, by_positives), positives * negatives, back, by_all)


def all_semihard(ns: Namespace, positives: Group, negatives: Group, margin: float) -> Mined:
    """Those with d_ap < d_an <= d_ap + margin."""
    xp = ns.xp
    reached = positives.keys + margin
    # A margin that rounds to nothing reaches no negative.
    members = positives.members & (reached > positives.keys)
    merged = Merged(ns, Group(reached, members), positives._replace(members=members), negatives)
    reach, near, far = merged.marks
    # The difference of two sums that are much larger than it is: in float64, of the same rounded
    # numbers.
    lowest = ns.double(merged.lowest)
    heights = ns.double(xp.where(reach + near + far > 0, merged.keys, merged.lowest)) - lowest
    raised = ns.double(xp.where(near > 0, merged.keys + margin, merged.lowest)) - lowest
    counted = ns.double(far)
    upper = ns.double(reach) * (merged.so_far(counted) * heights - merged.so_far(counted * heights))
    lower = merged.up_to(counted) * raised - merged.up_to(counted * heights)
    both = upper - ns.double(near) * lower
    inside = reach * merged.below(far) - near * merged.up_to(far)
    chosen = reach * merged.up_to(far) - near * merged.up_to(far)
    pulled = _total(ns, reach) - merged.up_to(reach) - merged.from_here(near)
    by_reach, by_near, by_all = merged.apart(inside - far * pulled)
    active, losses = _sum(ns, inside), ns.cast(_sum(ns, both), inside.dtype)
    losses = xp.where(active == 0, xp.zeros_like(losses), losses)
    return Mined(losses, active, _sum(ns, chosen), by_reach + by_near, by_all)


def semihard(ns: Namespace, positives: Group, negatives: Group, margin: float) -> Mined:
    """For each positive the nearest negative beyond it, else the farthest."""
    xp = ns.xp
    merged = Merged(ns, positives, negatives)
    near, far = merged.marks
    beyond = merged.next_above(far)
    none = beyond == float("inf")
    known = xp.where(negatives.members, negatives.keys, xp.zeros_like(negatives.keys))
    farthest = xp.max(known, axis=1, keepdims=True)
    u = xp.where(near > 0, merged.keys, farthest) - xp.where(none, farthest, beyond) + margin
    active = near * ns.cast(u > 0, u.dtype)
    losses = xp.where(active > 0, u, xp.zeros_like(u))
    # Negative n_k serves the active positives in (n_(k-1), n_k]; the last one also those beyond it.
    below = merged.below(active)
    last = far * ns.cast(ns.running_sum(far, reverse=True) == 1, far.dtype)
    slopes = (
        active
        - far * (below - merged.last_before(below, far))
        - last * (_total(ns, active) - below)
    )
    by_positives, by_all = merged.apart(slopes)
    return Mined(_sum(ns, losses), _sum(ns, active), _sum(ns, near), by_positives, by_all)


MINERS: dict[str, Miner] = {"all": every, "semihard": semihard, "all_semihard": all_semihard}


def classmates(ns: Namespace, others: Others) -> tuple[Array, Array]:
    """Which rows of the window are of an anchor's class, with the anchor itself and without."""
    assert others.same is not None
    return others.same, others.same & ~ns.same(*others.numbers, others.same)


def only_strangers_(ns: Namespace, logits: Array, others: Others) -> Array:
    """Logits with -inf in the place of an anchor's class."""
    inside = ns.columns(logits, others.window)
    left = ns.xp.where(others.same, ns.xp.full_like(inside, -float("inf")), inside)
    return ns.set_columns_(logits, others.window, left)


def unknown(ns: Namespace, logits: Array) -> Array:
    """NaN for each row that has one, which sorting and comparing lose; else 0."""
    one = ns.xp.ones_like(logits[0, :])[:, None]
    return 0 * (logits @ (one / ns.xp.sum(one)))[:, 0]  # the mean, because the sum may overflow


@dataclass(frozen=True)
class MinedTriplets(WithinRule):
    """max(0, u) over the triplets that `mining` takes, u = d_ap - d_an + margin."""

    mining: str
    margin: float
    count_active: bool

    def buffers(self, most: int | None) -> int:
        return 5 if self._few(most) else 24

    def usable(self, positives: Array, negatives: Array) -> Array:
        return (positives > 0) & (negatives > 0)

    def rows(
        self, ns: Namespace, logits: Array, others: Others, weight: Array | None
    ) -> tuple[Array, Array, Array | None]:
        xp, window = ns.xp, others.window
        if self._few(others.most):
            found = every_of_few(ns, logits, others, self.margin)
        else:
            found = self._sorted(ns, logits, others)
        terms = found.active if self.count_active else found.chosen
        nothing = unknown(ns, logits)
        losses = found.losses + nothing
        if weight is None:
            return losses, terms, None
        counted = xp.where(found.chosen > 0, weight, xp.zeros_like(weight))
        weight = (nothing - counted)[:, None]
        near = ns.columns(found.by_all, window) + found.by_positives
        return losses, terms, ns.mul_(ns.set_columns_(found.by_all, window, near), weight)

    def _few(self, most: int | None) -> bool:
        return self.mining == "all" and most is not None and most <= _FEW

    def _sorted(self, ns: Namespace, logits: Array, others: Others) -> Mined:
        xp, window = ns.xp, others.window
        same, mates = classmates(ns, others)
        distances = -logits
        strange = ns.set_columns_(xp.ones_like(logits) > 0, window, ~same)
        positives = Group(ns.columns(distances, window), mates)
        negatives = Group(distances, strange)
        some = (_count(ns, positives) > 0) & (_count(ns, negatives) > 0)
        # An anchor without triplets has no members at all, so that no infinity meets another.
        positives, negatives = (
            g._replace(members=g.members & some[:, None]) for g in (positives, negatives)
        )
        found = MINERS[self.mining](ns, positives, negatives, self.margin)
        none = xp.zeros_like(found.losses)
        losses, active, chosen = (xp.where(some, x, none) for x in found[:3])
        return found._replace(losses=losses, active=active, chosen=chosen)


def _margins(ns: Namespace, merged: Merged, reach: Array, far: Array) -> Array:
    """Sum of key - d_an over the negatives before each positive; ties add nothing."""
    sums = ns.mul_(merged.so_far(far), merged.heights)
    sums = ns.sub_(sums, merged.so_far(far * merged.heights))
    return ns.mul_(sums, reach)


def _count(ns: Namespace, group: Group) -> Array:
    return _sum(ns, ns.cast(group.members, group.keys.dtype))


def _sum(ns: Namespace, x: Array) -> Array:
    return ns.xp.sum(x, axis=1)


def _total(ns: Namespace, x: Array) -> Array:
    return ns.xp.sum(x, axis=1, keepdims=True)

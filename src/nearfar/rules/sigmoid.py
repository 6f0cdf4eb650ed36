"""The rule of SigLIP: a binary cross-entropy for every pair."""

from dataclasses import dataclass

from nearfar.frameworks import Array, Namespace
from nearfar.rules.protocol import PairRule


@dataclass(frozen=True)
class EachPair(PairRule):
    """softplus(logit) of every negative and softplus(-logit) of the positive, added up."""

    def rows(
        self, ns: Namespace, logits: Array, positive: Array, weight: Array | None
    ) -> tuple[Array, Array | None, Array | None]:
        if weight is None:
            return ns.row_sums(ns.softplus_(logits)) + ns.softplus(-positive), None, None
        sums, slopes = ns.softplus_sums_and_sigmoid_(logits)
        loss = sums + ns.softplus(-positive)
        return loss, ns.mul_(slopes, weight[:, None]), -weight * ns.sigmoid(-positive)

    def pairs(
        self,
        ns: Namespace,
        logits: Array,
        positives: Array,
        left_out: Array | None,
        weight: Array | None,
    ) -> tuple[Array, Array | None]:
        xp = ns.xp
        # A positive is a negative of the opposite sign.
        x = xp.where(positives, -logits, logits)
        if left_out is not None:
            x = ns.fill_(x, left_out, -float("inf"))
        if weight is None:
            return ns.row_sums(ns.softplus_(x)), None
        sums, slopes = ns.softplus_sums_and_sigmoid_(x)
        return sums, ns.mul_(xp.where(positives, -slopes, slopes), weight[:, None])

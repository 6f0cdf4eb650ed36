"""The rule of SigLIP: a binary cross-entropy for every pair."""

from dataclasses import dataclass

from nearfar.frameworks import Array, Namespace
from nearfar.rules.protocol import QueryRule


@dataclass(frozen=True)
class EachPair(QueryRule):
    """softplus(logit) of every negative and softplus(-logit) of the positive, added up."""

    def rows(
        self, ns: Namespace, logits: Array, positive: Array, weight: Array | None
    ) -> tuple[Array, Array | None, Array | None]:
        if weight is None:
            return ns.row_sums(ns.softplus_(logits)) + ns.softplus(-positive), None, None
        sums, slopes = ns.softplus_sums_and_sigmoid_(logits)
        loss = sums + ns.softplus(-positive)
        return loss, ns.mul_(slopes, weight[:, None]), -weight * ns.sigmoid(-positive)

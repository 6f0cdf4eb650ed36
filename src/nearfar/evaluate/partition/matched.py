"""Single positives that are found by their place, without a tile."""

from typing import NamedTuple, Protocol

from nearfar.frameworks import Array, Namespace
from nearfar.pairing import Partnered
from nearfar.rules import Slopes
from nearfar.similarity import Rows, Similarity


class Partners(Protocol):
    """The only positives of all anchors."""

    def linear(self, ns: Namespace, similarity: Similarity) -> tuple[Array, ...]:
        """The logit of its positive, for every anchor of every set."""

    def pull(
        self, ns: Namespace, similarity: Similarity, slopes: tuple[Slopes, ...]
    ) -> tuple[Array, ...]:
        """Gradient of those logits, for all rows of the batch."""


class MatchedPairs(NamedTuple):
    """Rows of which the k-th of `a` and the k-th of `b` are each other's only positives."""

    a: Rows
    b: Rows
    pairing: Partnered

    def linear(self, ns: Namespace, similarity: Similarity) -> tuple[Array, ...]:
        return self.pairing.spread(ns, similarity.paired(ns, self.a, self.b))

    def pull(
        self, ns: Namespace, similarity: Similarity, slopes: tuple[Slopes, ...]
    ) -> tuple[Array, ...]:
        g = self.pairing.collect(ns, tuple(s.linear for s in slopes))
        return matched_vjp(ns, similarity, self.a, self.b, g, self.pairing)


def matched_vjp(
    ns: Namespace, similarity: Similarity, a: Rows, b: Rows, g: Array, pairing: Partnered
) -> tuple[Array, ...]:
    """Gradient of the logits of matched rows, for the sides of a pairing."""

    def flow(
        p: Array, q: Array, g: Array, of_p: Array | None, of_q: Array | None
    ) -> tuple[Array, ...]:
        some = a._replace(p=p, raw=of_p), b._replace(p=q, raw=of_q)
        return pairing.gather(ns, similarity.paired_vjp(ns, *some, g))

    return ns.by_rows(flow, a.p, b.p, g, a.raw, b.raw)

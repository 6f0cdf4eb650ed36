"""Single positives that are found by their place, without a tile."""

from typing import NamedTuple

from nearfar.frameworks import Array, Namespace
from nearfar.pairing import Partnered
from nearfar.rules import Slopes
from nearfar.similarity import Rows, Similarity


class MatchedPairs(NamedTuple):
    """Rows of which the k-th of `a` and the k-th of `b` are each other's only positives."""

    a: Rows
    b: Rows
    pairing: Partnered

    def linear(self, ns: Namespace, similarity: Similarity) -> tuple[Array, ...]:
        """The logit of its positive, for every anchor of every side."""
        return self.pairing.spread(ns, similarity.paired(ns, self.a, self.b))

    def pull(
        self, ns: Namespace, similarity: Similarity, slopes: tuple[Slopes, ...]
    ) -> tuple[Array, ...]:
        """Gradient of those logits, for every side."""

        def flow(
            p: Array, q: Array, g: Array, of_p: Array | None, of_q: Array | None
        ) -> tuple[Array, ...]:
            some = self.a._replace(p=p, raw=of_p), self.b._replace(p=q, raw=of_q)
            return self.pairing.gather(ns, similarity.paired_vjp(ns, *some, g))

        g = self.pairing.collect(ns, tuple(s.linear for s in slopes))
        return ns.by_rows(flow, self.a.p, self.b.p, g, self.a.raw, self.b.raw)

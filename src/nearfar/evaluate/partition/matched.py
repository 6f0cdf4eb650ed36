"""Single positives that are found by their place, without a tile."""

from typing import NamedTuple, Protocol, Self

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

    @classmethod
    def of(cls, ns: Namespace, pairing: Partnered, sides: tuple[Rows, ...]) -> Self:
        """Those of the sides of a pairing."""
        p = pairing.scatter(ns, tuple(rows.p for rows in sides))
        raw = (None, None)
        if sides[0].raw is not None:
            raw = pairing.scatter(ns, tuple(rows.raw for rows in sides))
        # What differences are multiplied by is the same on both sides.
        of, unit = sides[0].factor, sides[0].unit
        a, b = (Rows(p[k], raw=raw[k], factor=of, unit=unit) for k in range(2))
        return cls(a, b, pairing)

    def linear(self, ns: Namespace, similarity: Similarity) -> tuple[Array, ...]:
        return self.pairing.spread(ns, similarity.paired(ns, self.a, self.b))

    def pull(
        self, ns: Namespace, similarity: Similarity, slopes: tuple[Slopes, ...]
    ) -> tuple[Array, ...]:
        def flow(
            p: Array, q: Array, g: Array, of_p: Array | None, of_q: Array | None
        ) -> tuple[Array, ...]:
            some = self.a._replace(p=p, raw=of_p), self.b._replace(p=q, raw=of_q)
            return self.pairing.gather(ns, similarity.paired_vjp(ns, *some, g))

        g = self.pairing.collect(ns, tuple(s.linear for s in slopes))
        return ns.by_rows(flow, self.a.p, self.b.p, g, self.a.raw, self.b.raw)

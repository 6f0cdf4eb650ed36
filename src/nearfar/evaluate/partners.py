"""Single positives that are found by their place, without a tile."""

from typing import NamedTuple

from nearfar.evaluate.protocol import Slopes
from nearfar.frameworks import Array, Namespace
from nearfar.pairing import Pairing
from nearfar.similarity import Rows, Similarity


class Partners(NamedTuple):
    """Rows of which the k-th of `a` and the k-th of `b` are each other's only positives."""

    a: Rows
    b: Rows
    pairing: Pairing

    def linear(self, ns: Namespace, similarity: Similarity) -> tuple[Array, ...]:
        """The logit of its positive, for every anchor of every side."""
        column = similarity.paired(ns, self.a, self.b)[:, None]
        first, *second = (side[:, 0] for side in self.pairing.gather(ns, (column, column)))
        # Not the same array twice: compiled programs refuse outputs that share memory.
        return first, *(0 + x for x in second)

    def pull(
        self, ns: Namespace, similarity: Similarity, slopes: tuple[Slopes, ...]
    ) -> tuple[Array, ...]:
        """Gradient of those logits, for every side."""
        columns = tuple(s.linear[:, None] for s in slopes if s.linear is not None)
        a, b = self.pairing.scatter(ns, columns)
        flow = similarity.pull_paired(ns, self.a, self.b, (a + b)[:, 0])
        return self.pairing.gather(ns, flow)

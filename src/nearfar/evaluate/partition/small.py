"""All pairs of a small batch as one matrix, in closed form.

Of few rows most time goes into beginning operations, and most of these are what tiles need: plans,
masks, sums carried along. Here the matrix is exponentiated as it stands: partners are two of its
diagonals, classes a matrix of ones and zeros. Logits that want a shift and functions of positive
pairs are left to tiles.
"""

from functools import lru_cache
from typing import Any, NamedTuple

from nearfar.evaluate.partition.anchors import AnchorSet
from nearfar.evaluate.partition.exponentials import LogSum, exponentials_for
from nearfar.evaluate.partition.forward import TileSums
from nearfar.frameworks import Array, Namespace
from nearfar.similarity import Cosine, Dot, Rows

# Rows and columns up to which the matrix, and what is made of it, stay in cache.
_MOST = 256

_PAIRINGS = ("views", "matched", "labels")


class _Places(NamedTuple):
    """Entries of the matrix, seen as one row."""

    own: slice | None
    """Where a row meets itself, if it does."""
    partners: tuple[slice, ...]
    """Where it meets its partner: the k-th pair at the k-th place of each."""


@lru_cache(64)
def _places(pairing: str, m: int) -> _Places:
    diagonal = slice(0, None, m + 1)
    if pairing == "matched":
        return _Places(None, (diagonal,))
    if pairing == "labels":
        return _Places(diagonal, ())
    half = m // 2
    upper, lower = slice(half, half * m, m + 1), slice(half * m, None, m + 1)
    return _Places(diagonal, (upper, lower))


class SmallBatch(AnchorSet):
    """Its anchors are all rows, of two sides then all columns."""

    with_pair_slope = False
    guarded = False

    def __init__(
        self,
        settings: Any,
        ns: Namespace,
        inputs: tuple[Array, ...],
        sides: tuple[Rows, ...],
        temperature: Any,
        bound: float,
    ) -> None:
        self.ns, self.settings, self.rule, self.inputs = ns, settings, settings.rule, inputs
        self.sides, self.temperature = sides, temperature
        self.m = sides[0].p.shape[0]
        self.places = _places(settings.pairing, self.m)
        self.positives: Array | None = None
        """1 where a column is another row of the row's class, else 0."""
        if self.places.partners:
            itself = 0 if self.places.own is None or settings.include_self else 1
            self.count, self.counted, self.negatives = 1, None, self.m - 1 - itself
            self.weights = settings.reduction.weight(self.m) / len(sides)
        else:
            self._weigh_classes()
        itemsize = ns.itemsize(sides[0].p)
        self.exponentials = exponentials_for(bound, itemsize, full=self.counted is None)

    @classmethod
    def of(cls, settings: Any, ns: Namespace, inputs: tuple[Array, ...]) -> "SmallBatch | None":
        """None where the batch is large, or wants what tiles do."""
        similarity, pairing, rule = settings.similarity, settings.pairing, settings.rule
        m = inputs[0].shape[0] * (2 if pairing == "views" else 1)
        alone = 1 if pairing == "matched" or settings.include_self else 2
        options = settings.options
        if (
            not alone < m <= _MOST
            or not ns.in_place
            or pairing not in _PAIRINGS
            or type(similarity) not in (Cosine, Dot)
            or rule.pair is not None
            or options.tile is not None
            or options.memory is not None
            or settings.include_self == "positive"
            or settings.first_only
            or ns.accelerated(inputs[0])
            or settings.kernel(ns, inputs)[0] is not None
        ):
            return None
        given = settings.sort_out(ns, inputs)
        parts = tuple(ns.matrix(z) for z in given.embeddings)
        largest = max(abs(s.times) for s in rule.sums) if rule.sums else 1.0
        # Of cosines it is known before there are rows.
        bound = 0.0
        if type(similarity) is Cosine:
            bound = largest * similarity.bound(ns, (), given.temperature)
        itemsize = ns.itemsize(parts[0])
        if exponentials_for(bound, itemsize).guarded:
            return None
        if pairing == "views":
            parts = (ns.xp.concat(parts, axis=0),)
        sides = similarity.prepare(ns, parts, given.temperature)
        if type(similarity) is Dot:
            bound = largest * similarity.bound(ns, sides, given.temperature)
            if exponentials_for(bound, itemsize).guarded:
                return None
        return cls(settings, ns, inputs, sides, given.temperature, bound)

    def _weigh_classes(self) -> None:
        ns, settings, labels = self.ns, self.settings, self.inputs[self.settings.parts]
        self.positives = ns.cast(labels[:, None] == labels[None, :], self.sides[0].p.dtype)
        self.positives.reshape(-1)[self.places.own] = 0
        count = ns.row_sums(self.positives)
        others = self.m - (0 if settings.include_self else 1)
        self.weigh(settings.reduction, count, others - count)

    def forward(self) -> Array:
        """The value, or each anchor's."""
        ns, rule, two = self.ns, self.rule, len(self.sides) == 2
        logits = self.sides[0].p @ self.sides[-1].p.T
        linear = paired = None
        if self.positives is None:
            partners = logits.reshape(-1)[self.places.partners[0]]
            paired = linear = ns.xp.concat((partners, partners), axis=0)
        elif rule.linear:
            linear = ns.row_sums(logits * self.positives)
        self.terms: list[Array | None] = []
        """Of each sum the matrix of its terms; None: the partners'."""
        self.logs: list[LogSum] = []
        found: dict[float, Array] = {}
        for over, times in rule.sums:
            if paired is not None and over == "positives":
                terms, total = None, ns.xp.exp(paired * times)
            else:
                if times not in found:
                    found[times] = self._exponentials(logits, times)
                terms = found[times]
                if self.positives is not None:
                    positives = terms * self.positives
                    terms = positives if over == "positives" else terms - positives
                total = ns.row_sums(terms)
                if two:
                    total = ns.xp.concat((total, ns.column_sums(terms)), axis=0)
            self.terms.append(terms)
            self.logs.append(self.exponentials.log(ns, (total,), rule.empty(over)))
        seen = TileSums(tuple(self.logs), linear, None)
        losses, self.slopes = rule.finish(ns, self.anchors(seen))
        losses = self.only_counted(losses)
        if self.settings.reduction.reduction != "none":
            return ns.weighted_sum(losses, self.weights)
        return (losses[: self.m] + losses[self.m :] if two else losses) * self.weights

    def _exponentials(self, logits: Array, times: float) -> Array:
        """Of the logits, 0 where a row meets its partner or, unless it counts, itself."""
        e = self.exponentials.applied_(self.ns, logits + 0, times)
        flat = e.reshape(-1)
        if self.places.own is not None and not self.settings.include_self:
            flat[self.places.own] = 0
        for place in self.places.partners:
            flat[place] = 0
        return e

    def backward(
        self, upstream: Array | None, wanted: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        ns, settings, m, two = self.ns, self.settings, self.m, len(self.sides) == 2
        if two and upstream is not None and upstream.ndim:
            upstream = ns.xp.concat((upstream, upstream), axis=0)
        slopes = self.weighted(self.slopes, upstream)
        linear, g = slopes.linear, None
        for s, terms, log, slope in zip(
            self.rule.sums, self.terms, self.logs, slopes.logs, strict=True
        ):
            slope = slope if s.times == 1 else slope * s.times
            if terms is None:
                linear = slope if linear is None else linear + slope
                continue
            (weight,) = self.exponentials.weigh(ns, slope, log)
            part = terms * (weight[:m, None] + weight[-m:])
            g = part if g is None else ns.add_(g, part)
        if g is None:
            g = ns.zeros((m, m), self.sides[0].p)
        if linear is not None and self.positives is not None:
            g = ns.add_(g, self.positives * (linear[:, None] + linear))
        elif linear is not None:
            half = linear.shape[0] // 2
            pulls, flat = linear[:half] + linear[half:], g.reshape(-1)
            for place in self.places.partners:
                flat[place] = pulls
        rows, columns = self.sides[0], self.sides[-1]
        gradients = (g @ columns.p, g.T @ rows.p) if two else (g @ rows.p,)
        restored = [
            settings.similarity.restore(ns, side, x, self.temperature)
            for side, x in zip(self.sides, gradients, strict=True)
        ]
        embeddings = tuple(z for z, _ in restored)
        if settings.pairing == "views":
            embeddings = embeddings[0][: m // 2], embeddings[0][m // 2 :]
        slope = sum((s for _, s in restored[1:]), restored[0][1])
        if slopes.temperature is not None:
            slope = slope + ns.xp.sum(slopes.temperature)
        aligned = settings.align(ns, self.inputs, wanted, embeddings, (slope,))
        found: tuple[Array | None, ...] = settings.in_their_dtypes(ns, self.inputs, aligned)
        return found

"""A call with candidates of several sets: its anchors, what they weigh, and their walks."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from nearfar.codes import Codes, number_alike, number_sharing
from nearfar.evaluate.candidates.anchors import Anchors
from nearfar.evaluate.candidates.graded import PairGrades
from nearfar.evaluate.candidates.looks import least_positives, left_out
from nearfar.evaluate.candidates.pairs import Pairs, pairs_of
from nearfar.evaluate.candidates.partners import partners_of
from nearfar.evaluate.candidates.sides import Sides
from nearfar.evaluate.candidates.walks import Walks
from nearfar.evaluate.partition.exponentials import exponentials_for
from nearfar.evaluate.partition.tile import TileContext
from nearfar.evaluate.plan import MIXED, grid, tile_side
from nearfar.frameworks import Array, Namespace
from nearfar.pairing import Views


class CandidateBatch:
    def __init__(
        self,
        settings: Any,
        ns: Namespace,
        inputs: tuple[Array, ...],
        wanted: tuple[bool, ...],
        store: bool = False,
    ) -> None:
        """`settings` of a `CandidateEvaluation`; `store`: tiles may be kept for pass 2."""
        self.ns, self.settings = ns, settings
        self.sides = Sides(settings, ns, inputs, wanted)
        self.like = self.sides.like
        itemsize = ns.itemsize(self.like)
        largest = max(abs(s.times) for s in settings.rule.sums)
        exponentials = exponentials_for(largest * self.sides.bound, itemsize)
        options = settings.options_on(ns, self.like)
        sizes = [side.n(ns) for side in self.sides.all]
        widest = max((n for n in sizes if isinstance(n, int)), default=sizes[0])
        best = ns.tile(2, widest, self.like, several=settings.threshold is not None)
        self.side = tile_side(options, itemsize, best)
        self.sets = self._sets(exponentials.guarded)
        count = len(self.sets)
        partners = partners_of(self.sides, count, exponentials.guarded)
        walks = Walks(self.sides, count, exponentials, options, self.side, partners)
        if settings.grading is not None:
            targets = self.sides.facts["targets"]
            grades = PairGrades(ns, settings.grading, targets, self.like, self.side)
            walks = walks._replace(graded=grades)
            self.grades = grades.total
        threshold = settings.threshold
        if threshold is not None:
            walks = walks._replace(thresholds=self._thresholds(walks))
        self.walks = walks.cached(walks.all()) if store else walks.all()
        self._weigh()

    def _sets(self, guarded: bool) -> list[Anchors]:
        settings = self.settings
        if settings.meeting == "sides":
            return [
                Anchors(self.sides, guarded, settings.rule, s.order, s.n(self.ns))
                for s in self.sides.all
            ]
        first = self.sides.all[0]
        of = partial(Anchors, self.sides, guarded, order=first.order, n=first.n(self.ns))
        if settings.meeting != "queries":
            return [of(rule=settings.rule)]
        without = settings.without_positive or settings.rule
        if settings.joint:
            return [of(rule=settings.rule if "qp" in settings.directions else without)]
        return [of(rule=settings.rule if d == "qp" else without) for d in settings.directions]

    def _weigh(self) -> None:
        ns, settings = self.ns, self.settings
        weight = self.sides.facts.get("sample_weight")
        counts = self._counts()
        for k, (anchors, (count, negatives)) in enumerate(zip(self.sets, counts, strict=True)):
            first = None
            if settings.first_only:
                halves = ns.xp.reshape(ns.xp.ones_like(count), (2, -1))
                first = anchors.arrange(halves[0, :]) > 0
            of_anchors = None if weight is None else self._weights_of(anchors, k, weight)
            sets = len(self.sets)
            anchors.weigh(settings.reduction, count, negatives, sets, first, of_anchors)

    def _weights_of(self, anchors: Anchors, k: int, weight: Array) -> Array | None:
        """Those of the rows, for anchors: both views of a pair have one weight, both sides of a
        pair too. Sides of different length have no pairs: the weights are those of the first."""
        if self.settings.meeting == "views":
            if not self.settings.first_only:
                weight = self.ns.xp.concat([weight, weight], axis=0)
        elif k and self.settings.meeting == "sides" and _differ(anchors.n, self.sets[0].n):
            return None
        return anchors.arrange(weight)

    def _counts(self) -> Iterator[tuple[Array, Array]]:
        """Numbers of positives and of negatives, for every set."""
        ns, settings = self.ns, self.settings
        positives = [
            ns.zeros((s.n,), self.like) + (1 if self.sides.by_place else 0) for s in self.sets
        ]
        negatives = [ns.zeros((s.n,), self.like) for s in self.sets]
        for pairs, walk in zip(pairs_of(settings, self.sides), self.walks, strict=True):
            for owner, (alike, others) in zip(walk.owners, self._met(pairs, walk), strict=False):
                if owner is not None:
                    positives[owner] = positives[owner] + alike
                    negatives[owner] = negatives[owner] + others
        asked = any(s.rule.needs_negatives or s.rule.counts_negatives for s in self.sets)
        if asked and any(w.left_out or w.has_offsets for w in self.walks):
            gone = left_out(self.walks)
            negatives = [n - some for n, some in zip(negatives, gone, strict=True)]
        if settings.include_self == "positive":
            positives = [x + 1 for x in positives]
        elif settings.include_self:
            negatives = [x + 1 for x in negatives]
        return zip(positives, negatives, strict=True)

    def _met(self, pairs: Pairs, walk: TileContext) -> Iterator[tuple[Any, Any]]:
        """Of the anchors of the rows, and of the columns: how many others are alike by codes, and
        how many are negatives, as far as nobody is left out."""
        ns, like = self.ns, self.like
        first, last = self.sides.all[pairs.rows], self.sides.all[pairs.columns]
        itself = 1 if pairs.meets else 0
        turns = [(first, last)] if pairs.meets else [(first, last), (last, first)]
        for one, other in turns:
            width = walk.apiece or ns.number(other.n(ns), like)
            if pairs.by == "degrees":
                yield self.grades, width - itself
                continue
            if pairs.by != "codes":
                yield 0, width - itself - (1 if pairs.by == "place" else 0)
                continue
            assert one.codes is not None
            assert other.codes is not None
            alike = self._alike(one.codes, other.codes)
            if pairs.meets:
                # NaN is not like itself.
                codes = one.codes.array
                several = len(codes.shape) == 2
                same = ns.xp.any(codes > 0, axis=1) if several else codes == codes
                alike = alike - ns.cast(same, like.dtype)
            yield alike, width - alike - itself

    def _alike(self, rows: Codes, columns: Codes) -> Array:
        if len(rows.array.shape) == 1:
            return number_alike(self.ns, rows, columns, self.like)
        n, m = (self.ns.shape(c.array)[0] for c in (rows, columns))
        tiles = [items for t in grid(n, m, self.side, lambda i, j: MIXED) for items in t.rounds]
        return number_sharing(self.ns, rows, columns, tiles, self.like)

    def _thresholds(self, walks: Walks) -> tuple[Array, ...]:
        """Of every set of anchors: see `Walks`."""
        ns, sides = self.ns, self.sides
        if sides.limits is None:
            # Walks that do not know yet who is left out, and need not.
            unknown = tuple(ns.zeros((s.n,), self.like) for s in self.sets)
            theta = least_positives(walks._replace(thresholds=unknown).all())
            over = self.settings.threshold.over
            return tuple(over(ns, x, sides.temperature) for x in theta)
        if self.settings.meeting == "views":
            return Views(ns, sides.parts[0]).spread(ns, sides.limits)
        return (sides.limits,) * len(self.sets)


def _differ(n: Any, m: Any) -> bool:
    """Whether two numbers of rows are known to be different."""
    return isinstance(n, int) and isinstance(m, int) and n != m

"""Walks over tiles, which take anchors past their candidates."""

from functools import partial
from typing import Any, NamedTuple

from nearfar.codes import Alike, Own
from nearfar.evaluate.candidates.graded import PairGrades
from nearfar.evaluate.candidates.own_rows import OwnRows, blocks_of_own
from nearfar.evaluate.candidates.pairs import Pairs, pairs_of
from nearfar.evaluate.candidates.sides import Side, Sides
from nearfar.evaluate.partition.exponentials import Exponentials
from nearfar.evaluate.partition.mark_cache import MarkCache, marks_size
from nearfar.evaluate.partition.matched import Partners
from nearfar.evaluate.partition.tile import LeftOut, TileContext, each_once
from nearfar.evaluate.partition.tile_cache import TileCache
from nearfar.evaluate.plan import Kind, Plan, grid, overlap, tiles_of, triangle
from nearfar.evaluate.settings import Options
from nearfar.frameworks import Array, Block
from nearfar.relations import Relation, SamePlace

# Tiles that a thread works in, and where each direction of a tile may have some of its own.
_BUFFERS, _DIRECTED = 4, 8


def _alike(first: Side, last: Side) -> Alike:
    assert first.codes is not None
    assert last.codes is not None
    return Alike(first.codes, last.codes)


def _buffers(walk: TileContext) -> int:
    apart = walk.directed and not all(walk.keeps_applied(tiles.kind) for tiles in walk.plan)
    return _DIRECTED if apart else _BUFFERS


def _unsigned(walk: TileContext, room: int, itemsize: int) -> list[tuple[Block, Block]]:
    """Tiles of a guided walk of which nothing tells pass 2 who is left out, where so many bytes are
    there for others: see `Thresholds.signs`."""
    tiles = tiles_of(walk.plan)
    room -= sum(marks_size(*tile) for tile in tiles)
    found = []
    for i, j in tiles:
        room -= i.size * j.size * itemsize
        if room < 0 or walk.wider(i, j) is None:
            found.append((i, j))
    return found


class Walks(NamedTuple):
    """What all walks of a batch share."""

    sides: Sides
    sets: int
    """How many sets of anchors there are."""
    exponentials: Exponentials
    options: Options
    side: int
    """Rows of a tile."""
    partners: Partners | None
    graded: PairGrades | None = None
    thresholds: tuple[Array, ...] = ()
    """Above which a similarity to an anchor leaves out, for every set."""

    def all(self) -> tuple[TileContext, ...]:
        return tuple(
            self._own_rows(p) if p.own else self._walk(p)
            for p in pairs_of(self.sides.settings, self.sides)
        )

    def cached(self, walks: tuple[TileContext, ...]) -> tuple[TileContext, ...]:
        """The same, with room for what pass 1 may leave to pass 2."""
        assert self.options.memory is not None
        workers = self.sides.ns.workers(self.options.workers) or 1
        itemsize = self.sides.ns.itemsize(self.sides.like)
        buffers = max(_buffers(walk) for walk in walks)
        room = self.options.memory - workers * buffers * self.side**2 * itemsize
        found = []
        for walk in walks:
            if walk.left_out and walk.left_out.thresholds and not walk.apiece:
                unsigned = _unsigned(walk, room, itemsize) if walk.left_out.guide else ()
                marks = MarkCache(unsigned, room)
                room -= marks.nbytes
                walk = walk._replace(marks=marks)
            found.append(walk)
        for k, walk in enumerate(found):
            if not walk.apiece:
                cache = TileCache(self.sides.ns, walk.plan, room, self.sides.like)
                room -= cache.numbers * itemsize
                found[k] = walk._replace(store=cache)
        return tuple(found)

    def _walk(self, pairs: Pairs) -> TileContext:
        """Rows of one side past those of another, or the same."""
        ns, settings = self.sides.ns, self.sides.settings
        first, last = self.sides.all[pairs.rows], self.sides.all[pairs.columns]
        together = 2 if settings.meeting == "views" else 1
        kind = partial(self._kind, pairs, first, last)
        n, m = first.n(ns), last.n(ns)
        plan: Plan
        if pairs.meets:
            plan, sides = triangle(n, self.side, together, kind), [first]
        else:
            plan, sides = grid(n, m, self.side, kind), [first, last]
        of_rows = first.offset if pairs.owners[1] is not None else None
        return TileContext(
            **self._common(),
            sides=tuple(side.rows for side in sides),
            cuts=tuple(each_once(ns, partial(side.rows.block, ns)) for side in sides),
            plan=plan,
            relation=self._relation(pairs, first, last, together if pairs.meets else 1),
            owners=pairs.owners,
            slots=self._slots(pairs),
            left_out=self._left_out(pairs, first, last),
            ascending=self.sides.ascending,
            offsets=(last.offset, of_rows),
        )

    def _slots(self, pairs: Pairs) -> tuple[int | None, int | None]:
        wanted = self.sides.wanted
        rows, columns = (k if wanted[k] else None for k in (pairs.rows, pairs.columns))
        return rows, columns

    def _common(self) -> dict[str, Any]:
        ns, settings = self.sides.ns, self.sides.settings
        rows = self.sides.rows
        by_side = settings.meeting == "sides"
        wanted = self.sides.wanted
        return {
            "ns": ns,
            "rule": settings.rule,
            "similarity": self.sides.similarity,
            "include_self": settings.include_self,
            "exponentials": self.exponentials,
            "workers": ns.workers(self.options.workers),
            "single": self.sides.by_place,
            "partners": self.partners,
            "graded": self.graded,
            "anchors": tuple(rows[k if by_side else 0] for k in range(self.sets)),
            "embedded": tuple(x if w else None for x, w in zip(rows, wanted, strict=False)),
        }

    def _kind(
        self, pairs: Pairs, first: Side, last: Side, i: Block | None, j: Block | None
    ) -> Kind:
        diagonal = pairs.meets and i is not None and j is not None and i.start == j.start
        positives, negatives = False, True
        if pairs.by == "codes":
            positives, negatives = _alike(first, last).either(i, j)
        elif pairs.by == "place":
            positives = not pairs.meets if i is None or j is None else overlap(i, j)
        elif pairs.by == "degrees":
            positives = True
        if diagonal:
            # Who stands there is neither, so that such a tile is masked.
            positives, negatives = pairs.by != "none", True
        left = self.sides.settings.threshold is not None or pairs.others
        if self._by_ids(pairs, first, last):
            left = left or _alike(first, last).either(i, j)[0]
        return Kind(positives, negatives, diagonal=diagonal, left_out=left and negatives)

    def _relation(self, pairs: Pairs, first: Side, last: Side, width: int) -> Relation:
        by_codes = pairs.by == "codes"
        return _alike(first, last) if by_codes else SamePlace(self.sides.like, width)

    def _by_ids(self, pairs: Pairs, first: Side, last: Side) -> bool:
        """Whether who has the anchor's id is left out, its positive aside."""
        known = first.codes is not None and last.codes is not None
        return known and self.sides.settings.same == "ignore" and pairs.by != "codes"

    def _left_out(self, pairs: Pairs, first: Side, last: Side) -> LeftOut | None:
        alike: Relation | None = None
        if pairs.others:
            codes = first.codes if self.sides.settings.same == "ignore" else None
            alike = Own(self.sides.like, self.sides.apiece(pairs.columns), codes)
        elif self._by_ids(pairs, first, last):
            alike = _alike(first, last)
        if alike is None and self.sides.settings.threshold is None:
            return None
        guide = None
        if first.guide is not None and last.guide is not None:
            guide = first.guide, last.guide
        but = pairs.again or bool(self.sides.settings.include_self)
        return LeftOut(alike, self.thresholds, guide, but)

    def _own_rows(self, pairs: Pairs) -> OwnRows:
        """Each query past its own negatives."""
        ns = self.sides.ns
        first, last = self.sides.all[pairs.rows], self.sides.all[pairs.columns]
        apiece = self.sides.apiece(pairs.columns)
        kind = Kind(False, True, left_out=self.sides.settings.threshold is not None)
        return OwnRows(
            **self._common(),
            sides=(first.rows, last.rows),
            cuts=(partial(first.rows.block, ns), partial(last.rows.block, ns)),
            plan=blocks_of_own(ns, first.n(ns), apiece, self.sides.like, self.options, kind),
            relation=self._relation(pairs, first, last, 1),
            owners=pairs.owners,
            slots=self._slots(pairs),
            left_out=self._left_out(pairs, first, last),
            offsets=(last.offset, None),
            apiece=apiece,
        )

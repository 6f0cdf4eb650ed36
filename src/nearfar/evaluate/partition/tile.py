"""What a partition rule's tiles are made of: logits, masks, and whose sums they add to."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal, NamedTuple, Protocol, TypeVar

from nearfar.evaluate.partition.exponentials import Exponentials, LogSum
from nearfar.evaluate.partition.mark_cache import MarkCache
from nearfar.evaluate.partition.matched import Partners
from nearfar.evaluate.partition.tile_cache import TileCache
from nearfar.evaluate.plan import Kind, Plan
from nearfar.frameworks import Array, Block, Namespace, Scratch
from nearfar.relations import Relation
from nearfar.rules import PartitionRule
from nearfar.similarity import Place, Rows, Similarity, Tile

T = TypeVar("T")

Only = Callable[[Array, str, float], Array]
"""A tile with the "positives" or the "negatives" of its rows alone and `nothing` in the place of
all others; consumes the tile."""


class LeftOut(NamedTuple):
    """Who among the negatives of a tile's anchors is left out."""

    alike: Relation | None = None
    """Tells of the pairs that are left out, whichever of the two is the anchor."""
    thresholds: tuple[Array, ...] = ()
    """For each set of anchors, (n,): who is above is left out."""
    guide: tuple[Array, Array] | None = None
    """Unit rows of a guide beside the rows and the columns, whose products are held against the
    thresholds; None: the logits are."""
    but_diagonal: bool = False
    """Whether who stands on the diagonal never is."""


class Graded(Protocol):
    """How much of a positive each row is to an anchor."""

    def tile(self, i: Block, j: Block, axis: int) -> Array:
        """For the anchors along an axis of a tile; of an anchor and itself it may be anything."""


class TileContext(NamedTuple):
    """A walk over the tiles of some rows against others: what does not change from tile to tile.

    `sides` holds one set of rows, whose pairs are visited once, or two (rows and columns). By
    `relation` a row belongs to its positives and to itself. A batch may take several walks, all of
    which add to the sums of the same anchors.
    """

    ns: Namespace
    rule: PartitionRule
    similarity: Similarity
    sides: tuple[Rows, ...]
    cuts: tuple[Callable[[Block], Rows], ...]
    """Blocks of the sides' rows."""
    plan: Plan
    relation: Relation
    include_self: bool | str
    exponentials: Exponentials
    workers: int | None
    complete: Callable[[Array], Array] = lambda x: x
    """Makes values of the anchors whole, (n,), where this process computes some of them only."""
    store: TileCache | None = None
    """Where pass 1 may leave tiles for pass 2."""
    aligned: bool = True
    """Whether rows and columns are cut at the same places."""
    turned: Literal["none", "below", "all"] = "none"
    """Which tiles are made with their columns as rows, as another process makes them: two products
    may round the same logit differently."""
    single: bool = False
    """Whether every anchor has one positive."""
    partners: Partners | None = None
    """Given where these are found without tiles. They are not where exponentials are guarded: two
    products may round a logit differently, and then it does not cancel with the largest."""
    anchors: tuple[Rows, ...] = ()
    """Every set of anchors of the batch, each with sums of its own; () for the sides."""
    owners: tuple[int, int | None] = (0, -1)
    """To whose sums the rows of a tile add, and its columns, if to any."""
    embedded: tuple[Rows | None, ...] = ()
    """All rows of the batch, None where they want no gradient; () for the sides."""
    slots: tuple[int | None, int | None] = (0, -1)
    """Which of these the rows of a tile are, and its columns, where they want a gradient."""
    left_out: LeftOut | None = None
    ascending: bool = False
    """Whether thresholds ascend along the rows and along the columns, and are the same there."""
    offsets: tuple[Array | None, Array | None] = (None, None)
    """What is added to the logits of columns as candidates, and of rows as candidates."""
    graded: "Graded | None" = None
    """How much of a positive each pair is, where that is a number: all are negatives too."""
    marks: MarkCache | None = None
    """Where pass 1 may leave who is left out by a guide, and where nobody is."""
    apiece: int = 0
    """How many columns each row has for itself: see `OwnRows`."""

    @property
    def mixed(self) -> Callable[[Block, Block], Array] | None:
        """Whether a tile off the diagonal holds positives, where the plan does not know."""
        found = self.relation.mixed
        return None if found is None else partial(found, self.ns)

    @property
    def directed(self) -> bool:
        """Whether a pair is another thing with its column for the anchor than with its row."""
        above = bool(self.left_out and self.left_out.thresholds)
        return above or self.has_offsets or self.graded is not None

    @property
    def has_offsets(self) -> bool:
        return any(offset is not None for offset in self.offsets)

    def places(self, kind: Kind, i: Block, j: Block) -> tuple[Place, ...]:
        """Whose sums a tile adds to; one on the diagonal of a symmetric matrix, which holds both
        (i, j) and (j, i)."""
        if kind.one_way or self.meets(kind):
            return (Place(self.owners[0], i),)
        return self.owned(i, j)

    def owned(self, i: Block, j: Block) -> tuple[Place, ...]:
        """Whose sums know of the pairs of a tile."""
        rows, columns = self.owners
        if columns is None:
            return (Place(rows, i),)
        return Place(rows, i), Place(columns, j)

    def pulled(self, kind: Kind, i: Block, j: Block) -> tuple[Place | None, ...]:
        """Whose gradient a tile adds to."""
        rows, columns = self.slots
        first = None if rows is None else Place(rows, i)
        if kind.one_way or self.meets(kind):
            return (first,)
        return first, None if columns is None else Place(columns, j)

    def blocks(self, i: Block, j: Block) -> tuple[Rows, Rows]:
        return self.cuts[0](i), self.cuts[-1](j)

    def tile(
        self, kind: Kind, i: Block, j: Block, rows: tuple[Rows, Rows], scratch: Scratch | None
    ) -> Tile:
        """Logits of these blocks, or what pass 1 left of them: see `keeps_applied`."""
        store = self.store
        kept = store.find(i, j) if store else None
        if kept is not None:
            return kept
        if store:
            scratch = store.scratch(i, j, scratch)
        if self.turned == "all":
            return self._tile_of_columns(kind, i, j, rows, scratch)
        if self.turned == "below":
            found: Tile = self.ns.cond(
                j.start < i.start,
                lambda: self._tile_of_columns(kind, i, j, rows, scratch),
                lambda: self._tile_of_rows(kind, i, j, rows, scratch),
            )
            return found
        tile = self._tile_of_rows(kind, i, j, rows, scratch)
        if store and store.has_place(i, j):
            store.keep(i, j, tile)
        return tile

    def _tile_of_rows(
        self, kind: Kind, i: Block, j: Block, rows: tuple[Rows, Rows], scratch: Scratch | None
    ) -> Tile:
        diagonal = (i, j) if self.meets(kind) else None
        return self.similarity.tile(self.ns, *rows, diagonal, scratch)

    def _tile_of_columns(
        self, kind: Kind, i: Block, j: Block, rows: tuple[Rows, Rows], scratch: Scratch | None
    ) -> Tile:
        """The same as its transpose, with the columns as rows."""
        return self._tile_of_rows(kind, j, i, rows[::-1], scratch).turned(self.ns)

    def keeps_applied(self, kind: Kind) -> bool:
        """Whether exponentials alone can be cached: the sums of the tile share them, or are over
        the same members, each of twice the last one's exponent."""
        sums = [self.rule.sums[k] for k in self.sums(kind)]
        if not sums or self.similarity.keeps_logits:
            return False
        if self.directed:
            return self.shares_by_threshold(kind)
        if self.shares_by_class(kind):
            return True
        if kind.positives and (self.rule.pair or (self.linear_in_tiles and not self.runs(kind))):
            return False
        *others, last = sums
        return all(s.over == last.over and s.times == 2 * last.times for s in others)

    def _shares(self, kind: Kind, over: tuple[str, ...]) -> bool:
        """Whether exponentials of a tile need no shift, and the sums of it are over these."""
        sums = [self.rule.sums[k] for k in self.sums(kind)]
        return (
            self.ns.in_place
            and not self.exponentials.guarded
            and not self.similarity.keeps_logits
            and not self.apiece
            and tuple(s.over for s in sums) == over
            and len({s.times for s in sums}) == 1
        )

    def shares_by_threshold(self, kind: Kind) -> bool:
        """Whether the anchors of rows and of columns share exponentials, though others are left out
        for either: see `thresholds`."""
        above = bool(self.left_out and self.left_out.thresholds)
        if not above or self.has_offsets or self.graded is not None:
            return False
        if kind.positives and (self.linear_in_tiles or self.rule.pair):
            return False
        return self._shares(kind, ("negatives",)) and self.rule.sums[0].times > 0

    def wider(self, i: Block, j: Block) -> int | None:
        """Along which axis of a tile all anchors have thresholds that are no lower than those along
        the other, if that is known: who is in for the latter is in for these."""
        if not self.ascending or self.owners[1] is None:
            return None
        if i.start + i.size <= j.start:
            return 1
        return 0 if j.start + j.size <= i.start else None

    def shares_by_class(self, kind: Kind) -> bool:
        """Whether the sums over positives and over negatives share exponentials: see `by_class`."""
        if self.directed or self.rule.pair or (kind.left_out and self.left_out):
            return False
        return kind.masked and self._shares(kind, ("negatives", "positives"))

    @property
    def linear_in_tiles(self) -> bool:
        """Whether the sum of the positives' logits is found in tiles."""
        return self.rule.linear and self.partners is None

    @property
    def linear_last(self) -> bool:
        """Whether that takes tiles of its own, once the largest logit is known of each anchor."""
        return self.linear_in_tiles and self.exponentials.guarded and not self.single

    def meets(self, kind: Kind) -> bool:
        """Whether rows meet themselves."""
        return kind.diagonal and len(self.sides) == 1

    def mirrored(self, kind: Kind) -> bool:
        """Whether a tile holds (i, j) and (j, i), each anchor's own logits along its row."""
        return self.meets(kind) and self.aligned

    def runs(self, kind: Kind) -> int:
        """How many rows stand together whose partners are known by their place in a tile: 2 of one
        set, 1 of two sides; 0 where a mask has to tell."""
        known = self.single and self.ns.in_place and kind.diagonal and not kind.one_way
        return (2 if self.meets(kind) else 1) if known else 0

    def only(
        self,
        kind: Kind,
        i: Block,
        j: Block,
        scratch: Scratch | None,
        axis: int = 0,
        logits: Array | None = None,
    ) -> Only:
        """What keeps the members of a sum in a tile, of the anchors along an axis; `logits` as the
        similarity gives them, where these tell who is left out."""
        some = self.either_way(kind, i, j, scratch)
        if not kind.left_out or self.left_out is None or not self.left_out.thresholds:
            return some

        def only(x: Array, over: str, nothing: float) -> Array:
            x = some(x, over, nothing)
            return (
                self._below(x, nothing, i, j, axis, logits, scratch) if over == "negatives" else x
            )

        return only

    def either_way(self, kind: Kind, i: Block, j: Block, scratch: Scratch | None) -> Only:
        """The same but for thresholds: who belongs, whichever of a pair is the anchor."""
        some, left_out = self.members(kind, i, j, scratch), self.left_out
        if not kind.left_out or left_out is None or left_out.alike is None:
            return some
        alike = left_out.alike

        def only(x: Array, over: str, nothing: float) -> Array:
            x = some(x, over, nothing)
            if over != "negatives":
                return x
            members = self.ns.members(
                *alike.compared(self.ns, i, j), False, self.sides[0].p, scratch
            )
            return self.ns.only_(x, self.with_diagonal(members, i, j, True), nothing)

        return only

    def positives(
        self,
        x: Array,
        only: Only,
        i: Block,
        j: Block,
        axis: int,
    ) -> Array:
        """A tile as its positives count, of which 0 remains of all others; consumes the tile."""
        x = only(x, "positives", 0)
        return x if self.graded is None else self.ns.mul_(x, self.graded.tile(i, j, axis))

    def members(self, kind: Kind, i: Block, j: Block, scratch: Scratch | None) -> Only:
        """The same, whoever is left out."""
        ns, meets = self.ns, self.meets(kind)
        if not (kind.masked or meets):
            return _all
        beside = self.single and not self.include_self and not kind.one_way

        def only(x: Array, over: str, nothing: float) -> Array:
            alike = over == "positives"
            if self.graded is not None or not kind.positives:
                return ns.fill_diagonal_(x, i, j, nothing) if meets else x
            if beside and not alike:  # an anchor and its partner stand side by side
                return ns.fill_diagonal_(x, i, j, nothing, 2 if meets else 1)
            members = ns.members(*self.relation.compared(ns, i, j), alike, x, scratch)
            if meets:
                itself = self.include_self == ("positive" if alike else True)
                members = ns.fill_diagonal_(members, i, j, itself)
            return ns.only_(x, members, nothing)

        return only

    def _below(
        self,
        x: Array,
        nothing: float,
        i: Block,
        j: Block,
        axis: int,
        logits: Array | None,
        scratch: Scratch | None,
    ) -> Array:
        """Without those above the thresholds of the anchors along an axis."""
        ns, left_out = self.ns, self.left_out
        assert left_out is not None
        place = self.owned(i, j)[axis]
        g = logits if left_out.guide is None else self.guide(i, j, scratch)
        limit = across(ns, left_out.thresholds[place.side], place.block, axis)
        below = ns.at_most(g, limit, scratch)
        return ns.only_(x, self.with_diagonal(below, i, j, True), nothing)

    def with_diagonal(self, members: Array, i: Block, j: Block, value: float) -> Array:
        assert self.left_out is not None
        if not self.left_out.but_diagonal:
            return members
        return self.ns.fill_diagonal_(members, i, j, value)

    def guide(self, i: Block, j: Block, scratch: Scratch | None) -> Array:
        """Cosines of the guide's rows."""
        assert self.left_out is not None
        assert self.left_out.guide is not None
        rows, columns = self.left_out.guide
        return self.ns.product(self.ns.rows(rows, i), self.ns.rows(columns, j), scratch, "guide")

    def offset(self, i: Block, j: Block, axis: int) -> Array | None:
        """What the logits of a tile gain for the anchors along an axis."""
        offset = self.offsets[axis]
        return None if offset is None else across(self.ns, offset, i if axis else j, 1 - axis)

    def seen(
        self, logits: Array, i: Block, j: Block, axis: int, scratch: Scratch | None, key: str
    ) -> Array:
        """The logits as the anchors along an axis see them, to be consumed."""
        offset = self.offset(i, j, axis)
        if offset is None:
            return self.ns.copy(logits, scratch, key)
        return self.ns.plus(logits, offset, scratch, key)

    def sums(self, kind: Kind) -> list[int]:
        """The declared sums that find members in tiles of a kind."""
        found = {"positives": kind.positives, "negatives": kind.negatives}
        return [k for k, s in enumerate(self.rule.sums) if found[s.over]]

    def applied(self, x: Array, k: int, only: Only) -> Array:
        """`Exponentials.applied_` of the logits for sum k; consumes `x`."""
        over, times = self.rule.sums[k]
        return only(self.exponentials.applied_(self.ns, x, times), over, self.exponentials.nothing)

    def applied_each(
        self,
        logits: Array,
        wanted: list[int],
        only: Only,
        keep: bool,
        scratch: Scratch | None,
        key: str = "",
    ) -> Iterator[tuple[int, Array]]:
        """`applied` of one sum after another, each to be consumed before the next is asked for.

        Consumes the logits in the end, unless they are to be kept. Sums that differ only in whom
        they are over share their exponentials. Calls of another key leave these alone.
        """
        ns = self.ns
        alike = len(wanted) > 1 and len({self.rule.sums[k].times for k in wanted}) == 1
        if alike:
            x = ns.copy(logits, scratch, f"alike{key}") if keep else logits
            logits, keep = self.applied(x, wanted[0], _all), False
        for k in wanted:
            last = k == wanted[-1] and not keep
            x = logits if last else ns.copy(logits, scratch, f"sum{k}{key}")
            if alike:
                yield k, only(x, self.rule.sums[k].over, self.exponentials.nothing)
            else:
                yield k, self.applied(x, k, only)

    def relative(
        self,
        x: Array,
        logs: tuple[LogSum, ...],
        place: Place,
        axis: int,
        scratch: Scratch | None,
        key: str,
        offset: Array | None = None,
    ) -> Array:
        """A tile less the logarithm of each anchor's sum, whose `times` is 1; an offset is added
        to the tile first."""
        ns = self.ns
        if offset is not None:
            x = ns.plus(x, offset, scratch, f"{key} offset")
        peak, log, *_ = logs[place.side]
        log = across(ns, log, place.block, axis)
        if peak is None:
            return ns.minus(x, log, scratch, key)
        peak = across(ns, ns.finite(peak), place.block, axis)
        return ns.sub_(ns.minus(x, peak, scratch, key), log)

    def pull(
        self,
        gradients: tuple[Array, ...],
        places: tuple[Place | None, ...],
        rows: tuple[Rows, Rows],
        tile: Tile,
        g: Array,
        scratch: Scratch | None,
    ) -> tuple[Array, ...]:
        return self.similarity.vjp_(self.ns, gradients, places, *rows, tile, g, scratch)

    def start_each(self, start: Callable[[Namespace, int, Array], T]) -> tuple[T, ...]:
        """Sums of every set of anchors."""
        ns = self.ns
        return tuple(start(ns, ns.shape(x.p)[0], x.p) for x in self.anchors or self.sides)

    def start_gradients(self) -> tuple[Array, ...]:
        ns, like = self.ns, self.sides[0].p
        every = self.embedded or self.sides
        shapes = ((1,) if x is None else ns.shape(x.p) for x in every)
        return tuple(ns.accumulator(shape, like) for shape in shapes)


def each_once(ns: Namespace, cut: Callable[[Block], T]) -> Callable[[Block], T]:
    """The same, but a block that many tiles share is cut once where blocks are known."""
    if not ns.in_place:
        return cut
    found: dict[Block, T] = {}

    def once(block: Block) -> T:
        if block not in found:
            found[block] = cut(block)
        return found[block]

    return once


def _all(x: Array, over: str, nothing: float) -> Array:
    return x


def zeros(ns: Namespace, n: int, like: Array) -> Array:
    return ns.zeros((n,), like)


def across(ns: Namespace, x: Array, block: Block, axis: int) -> Array:
    """Per-anchor values so that they broadcast over the anchors' own axis of a tile."""
    return ns.xp.expand_dims(ns.rows(x, block), axis=1 - axis)


def replaced(items: tuple[T, ...], index: int, item: T) -> tuple[T, ...]:
    out = list(items)
    out[index] = item  # which may be counted from the end
    return tuple(out)

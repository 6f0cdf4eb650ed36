"""The two passes over tiles behind every partition rule.

Pass 1, the value: a tile is exponentiated once and summed along its rows for the anchors there and
along its columns for the anchors there. A rule with a function of each positive pair needs the
first sum complete and sees its positives in a pass of their own; where rows are sorted by class,
those are tiles that the first pass skipped.

Pass 2, the gradient: the same tiles again. With L_i the loss of anchor i, weighted,

    G_ij = dL_i/ds_ij + dL_j/ds_ij,    dp_i = sum_j G_ij ds_ij/dp_i

so one tile of G serves its rows and its columns. Where rows and columns are the same embeddings,
half of the tiles are enough: two products a pair of rows in place of three.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from nearfar.evaluate.partners import Partners
from nearfar.evaluate.plan import Kind, Plan, Tiles
from nearfar.evaluate.protocol import Pair, PartitionRule, Slopes
from nearfar.evaluate.store import Store
from nearfar.evaluate.sweep import sweep
from nearfar.evaluate.tiles import GUARDED, Exponentials, State
from nearfar.frameworks import Array, Block, Namespace, Scratch
from nearfar.similarity import Place, Rows, Similarity, Tile

T = TypeVar("T")


class Seen(NamedTuple):
    """What pass 1 found for the anchors of one side; every array is (n,)."""

    logs: tuple[Array, ...]
    linear: Array | None
    pair: Array | None


class Passes(NamedTuple):
    """Everything about a batch that does not change from tile to tile.

    `sides` holds one set of rows, whose pairs are visited once, or two (rows and columns).
    `same(i, j)` is true where a column is a positive of the row, or the row itself.
    """

    ns: Namespace
    rule: PartitionRule
    similarity: Similarity
    sides: tuple[Rows, ...]
    plan: Plan
    same: Callable[[Block, Block], Array]
    include_self: bool | str
    exponentials: Exponentials
    workers: int | None
    complete: Callable[[Array], Array] = lambda x: x
    """Makes values of the anchors whole, (n,), where this process computes some of them only."""
    store: Store | None = None
    """Where pass 1 may leave tiles for pass 2."""
    partners: Partners | None = None
    """Given where every anchor has one positive and these are found without tiles."""

    # -- pass 1 ----------------------------------------------------------------------------

    def see(self) -> tuple[Seen, ...]:
        """Sum up what the rule asks for, for every side."""
        logs, linear = self._see_sums()
        pair = self._see_pairs(self.rule.pair, logs) if self.rule.pair else (None,) * 2
        return tuple(
            Seen(tuple(log[k] for log in logs), linear[k] if linear else None, pair[k])
            for k in range(len(self.sides))
        )

    def _see_sums(self) -> tuple[list[tuple[Array, ...]], tuple[Array, ...]]:
        ns, rule = self.ns, self.rule

        def body(
            tiles: Tiles,
            carry: tuple[list[tuple[State, ...]], tuple[Array, ...]],
            i: Block,
            j: Block,
            scratch: Scratch | None,
        ) -> tuple[list[tuple[State, ...]], tuple[Array, ...]]:
            sums, linear = list(carry[0]), carry[1]
            kind, add = tiles.kind, self.exponentials.add_
            places = self._places(kind, i, j)
            logits = self._tile(kind, i, j, scratch).logits
            kept = self.store is not None and self.store.has_place(i, j)
            strangers = self._strangers(kind, i, j)
            if linear and kind.positives:
                x = ns.copy(logits, scratch, "linear")
                x = x if strangers is None else ns.fill_(x, strangers["positives"], 0)
                linear = self._add_sums(linear, places, x)
            wanted = self._sums(kind)
            if self._keeps_applied(kind):
                y = self._applied(logits, wanted[-1], strangers)
                for k in wanted[:-1]:
                    twice = self.exponentials.doubled(ns, y, scratch)
                    sums[k] = add(ns, sums[k], places, twice, scratch, False)
                sums[wanted[-1]] = add(ns, sums[wanted[-1]], places, y, scratch, kept)
                return sums, linear
            for k in wanted:
                last = k == wanted[-1] and not kept
                x = logits if last else ns.copy(logits, scratch, "times")
                y = self._applied(x, k, strangers)
                sums[k] = add(ns, sums[k], places, y, scratch, False)
            return sums, linear

        start = [tuple(self._start_each(self.exponentials.start)) for _ in rule.sums]
        linear = tuple(self._start_each(_zeros)) if self._linear_in_tiles() else ()
        plan = tuple(t for t in self.plan if self._sums(t.kind) or (linear and t.kind.positives))
        sums, linear = sweep(ns, plan, body, (start, linear), self.workers)
        if self.partners and rule.linear:
            linear = self.partners.linear(ns, self.similarity)
        empty = {"negatives": -float("inf"), "positives": 0.0}
        logs = [
            tuple(self.exponentials.log(ns, state, empty[s.over]) for state in states)
            for s, states in zip(rule.sums, sums, strict=True)
        ]
        return logs, linear

    def _see_pairs(self, pair: Pair, logs: list[tuple[Array, ...]]) -> tuple[Array, ...]:
        ns = self.ns

        def body(
            tiles: Tiles, states: tuple[State, ...], i: Block, j: Block, scratch: Scratch | None
        ) -> tuple[State, ...]:
            logits = self._tile(tiles.kind, i, j, scratch).logits
            found = self._strangers(tiles.kind, i, j)
            strangers = None if found is None else found["positives"]
            out = states
            for axis, place in enumerate(self._places(tiles.kind, i, j)):
                u = self._relative(ns.copy(logits, scratch, "u"), logs[0], place, axis)
                phi = pair.value(ns, u)
                if strangers is not None:
                    phi = ns.fill_(phi, strangers, -float("inf") if pair.log else 0)
                if pair.log:
                    state = GUARDED.absorb(ns, out[place.side], place.block, phi, 1 - axis)
                else:
                    sums = ns.column_sums(phi) if axis else ns.row_sums(phi)
                    state = (ns.add_rows_(out[place.side][0], place.block, sums),)
                out = _replaced(out, place.side, state)
            return out

        start = GUARDED.start if pair.log else (lambda ns, n, like: (_zeros(ns, n, like),))
        plan = tuple(t for t in self.plan if t.kind.positives)
        states = sweep(ns, plan, body, tuple(self._start_each(start)), self.workers)
        return tuple(GUARDED.log(ns, s, 0.0) if pair.log else s[0] for s in states)

    # -- pass 2 ----------------------------------------------------------------------------

    def gradient(self, seen: tuple[Seen, ...], slopes: tuple[Slopes, ...]) -> tuple[Array, ...]:
        """Gradient of each side's rows, from the weighted slopes of its anchors."""
        ns = self.ns
        gradients = (
            self.partners.pull(ns, self.similarity, slopes)
            if self.partners and self.rule.linear
            else tuple(ns.zeros(ns.shape(rows.p), rows.p) for rows in self.sides)
        )
        first = tuple(s.logs[0] for s in slopes)
        if self.rule.pair:
            gradients, pulled = self._pull_pairs(self.rule.pair, seen, slopes, gradients)
            first = tuple(a + self.complete(b) for a, b in zip(first, pulled, strict=True))
        weights = [
            tuple(
                self.exponentials.weigh(
                    ns, (first[side] if k == 0 else slopes[side].logs[k]) * s.times, one.logs[k]
                )
                for side, one in enumerate(seen)
            )
            for k, s in enumerate(self.rule.sums)
        ]
        linear = tuple(s.linear for s in slopes) if self._linear_in_tiles() else ()
        return self._pull_sums(weights, linear, gradients)

    def _pull_pairs(
        self,
        pair: Pair,
        seen: tuple[Seen, ...],
        slopes: tuple[Slopes, ...],
        gradients: tuple[Array, ...],
    ) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """Add the positives' part; return too what their functions add to the first sum's slope."""
        ns = self.ns
        logs = tuple(one.logs[0] for one in seen)

        def along(
            logits: Array,
            strangers: Array | None,
            place: Place,
            axis: int,
            scratch: Scratch | None,
        ) -> Array:
            """slope_i phi'(u), times exp(phi(u) - log of the sum) where the rule takes that log."""
            u = self._relative(ns.copy(logits, scratch, f"slope{axis}"), logs, place, axis)
            if pair.log:
                phi = pair.value(ns, ns.copy(u, scratch, "phi"))
                if strangers is not None:
                    phi = ns.fill_(phi, strangers, -float("inf"))
                total = _across(ns, seen[place.side].pair, place.block, axis)
                out = ns.mul_(pair.slope(ns, u), ns.exp_(ns.sub_(phi, total)))
            else:
                out = pair.slope(ns, u)
                if strangers is not None:
                    out = ns.fill_(out, strangers, 0)
            return ns.mul_(out, _across(ns, slopes[place.side].pair, place.block, axis))

        def body(
            tiles: Tiles,
            carry: tuple[tuple[Array, ...], tuple[Array, ...]],
            i: Block,
            j: Block,
            scratch: Scratch | None,
        ) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
            gradients, pulled = carry
            tile = self._tile(tiles.kind, i, j, scratch)
            found = self._strangers(tiles.kind, i, j)
            strangers = None if found is None else found["positives"]
            places = self._places(tiles.kind, i, j)
            parts = []
            for axis, place in enumerate((Place(0, i), Place(len(self.sides) - 1, j))):
                part = along(tile.logits, strangers, place, axis, scratch)
                if axis < len(places):
                    sums = ns.column_sums(part) if axis else ns.row_sums(part)
                    pulled = _replaced(
                        pulled, place.side, ns.add_rows_(pulled[place.side], place.block, -sums)
                    )
                parts.append(part)
            g = ns.add_(parts[0], parts[1])
            if self.store and self.similarity.keeps_logits and self._sums(tiles.kind):
                # They are wanted once more, and what comes now may consume them.
                tile = tile._replace(logits=ns.copy(tile.logits, scratch, "once more"))
            return self._pull(gradients, places, i, j, tile, g, scratch), pulled

        plan = tuple(t for t in self.plan if t.kind.positives)
        start = (gradients, tuple(self._start_each(_zeros)))
        return sweep(ns, plan, body, start, self.workers)

    def _pull_sums(
        self,
        weights: list[tuple[State, ...]],
        linear: tuple[Array | None, ...],
        gradients: tuple[Array, ...],
    ) -> tuple[Array, ...]:
        ns = self.ns
        last = len(self.sides) - 1

        def body(
            tiles: Tiles, gradients: tuple[Array, ...], i: Block, j: Block, scratch: Scratch | None
        ) -> tuple[Array, ...]:
            kind = tiles.kind
            seen_before = self.store is not None and self.store.find(i, j) is not None
            tile = self._tile(kind, i, j, scratch)
            wanted, applied = self._sums(kind), self._keeps_applied(kind)
            in_tile = linear and kind.positives
            # Of a tile that was kept with its strangers filled in these are not asked again.
            strangers = None if applied and seen_before else self._strangers(kind, i, j)
            parts: list[Array] = []
            g: Array = None
            if applied:
                y = tile.logits
                if not seen_before:
                    y = self._applied(y, wanted[-1], strangers)
                parts = [self.exponentials.doubled(ns, y, scratch) for _ in wanted[:-1]] + [y]
            for position, k in enumerate(wanted):
                if not applied:
                    keep = self.similarity.keeps_logits or k != wanted[-1]
                    x = ns.copy(tile.logits, scratch, f"sum{k}") if keep else tile.logits
                    parts.append(self._applied(x, k, strangers))
                row = tuple(ns.rows(w, i) for w in weights[k][0])
                column = tuple(ns.rows(w, j) for w in weights[k][last])
                part = self.exponentials.coefficients(ns, parts[position], row, column, scratch)
                g = part if not position else ns.add_(g, part)
            if in_tile:
                pull = ns.outer_sum(
                    ns.rows(linear[0], i), ns.rows(linear[last], j), scratch, "linear"
                )
                pull = pull if strangers is None else ns.fill_(pull, strangers["positives"], 0)
                g = ns.add_(g, pull) if wanted else pull
            return self._pull(gradients, self._places(kind, i, j), i, j, tile, g, scratch)

        plan = tuple(t for t in self.plan if self._sums(t.kind) or (linear and t.kind.positives))
        return sweep(ns, plan, body, gradients, self.workers)

    # -- what a tile is made of ------------------------------------------------------------

    def _places(self, kind: Kind, i: Block, j: Block) -> tuple[Place, ...]:
        """Whose sums a tile adds to; one on the diagonal of a symmetric matrix, which holds both
        (i, j) and (j, i)."""
        if kind.one_way or (kind.diagonal and len(self.sides) == 1):
            return (Place(0, i),)
        return Place(0, i), Place(len(self.sides) - 1, j)

    def _tile(self, kind: Kind, i: Block, j: Block, scratch: Scratch | None) -> Tile:
        """Logits, or what pass 1 left of them: see `_keeps_applied`."""
        store = self.store
        found = store.find(i, j) if store else None
        if found is not None:
            return found
        if store:
            scratch = store.scratch(i, j, scratch)
        meeting = (i, j) if self._meets(kind) else None
        tile = self.similarity.tile(self.ns, *self._blocks(i, j), meeting, scratch)
        if store and store.has_place(i, j):
            store.keep(i, j, tile)
        return tile

    def _keeps_applied(self, kind: Kind) -> bool:
        """Whether a tile's only use is one that `Exponentials.applied_` serves all of.

        Sums over the same members, each of twice the last one's exponent.
        """
        sums = [self.rule.sums[k] for k in self._sums(kind)]
        if not sums or self.similarity.keeps_logits:
            return False
        if kind.positives and (self._linear_in_tiles() or self.rule.pair):
            return False
        *others, last = sums
        return all(s.over == last.over and s.times == 2 * last.times for s in others)

    def _linear_in_tiles(self) -> bool:
        return self.rule.linear and self.partners is None

    def _meets(self, kind: Kind) -> bool:
        """Whether rows meet themselves."""
        return kind.diagonal and len(self.sides) == 1

    def _blocks(self, i: Block, j: Block) -> tuple[Rows, Rows]:
        return self.sides[0].block(self.ns, i), self.sides[-1].block(self.ns, j)

    def _strangers(self, kind: Kind, i: Block, j: Block) -> dict[str, Array] | None:
        """What in a tile is no positive, and what is no negative; None where all is."""
        if not kind.masked:
            return None
        if self.store:
            return self.store.masks(i, j, lambda: self._masks(kind, i, j))
        return self._masks(kind, i, j)

    def _masks(self, kind: Kind, i: Block, j: Block) -> dict[str, Array]:
        same = self.same(i, j)
        positives = self.rule.pair or self._linear_in_tiles()
        positives = positives or any(s.over == "positives" for s in self.rule.sums)
        if self.partners and not positives and not self.include_self:
            return {"negatives": same}  # views know that a row is itself
        itself = self.ns.same(i, j, self.sides[0].p) if self._meets(kind) else None
        if itself is not None and self.include_self == "positive":
            same, itself = same | itself, None  # the anchor is one of its own positives
        found = {}
        if positives:
            found["positives"] = ~same if itself is None else ~same | itself
        if itself is not None:
            same = same & ~itself if self.include_self else same | itself
        return found | {"negatives": same}

    def _sums(self, kind: Kind) -> list[int]:
        """The declared sums that find members in tiles of a kind."""
        found = {"positives": kind.positives, "negatives": kind.negatives}
        return [k for k, s in enumerate(self.rule.sums) if found[s.over]]

    def _applied(self, x: Array, k: int, strangers: dict[str, Array] | None) -> Array:
        """`Exponentials.applied_` of what sum k exponentiates, times * logit; consumes `x`."""
        s = self.rule.sums[k]
        if s.times != 1:
            x = self.ns.mul_(x, s.times)
        if strangers is not None:
            # Before the exponential, not after it: a stranger's logit may overflow.
            x = self.ns.fill_(x, strangers[s.over], -float("inf"))
        return self.exponentials.applied_(self.ns, x)

    def _add_sums(
        self, sums: tuple[Array, ...], places: tuple[Place, ...], x: Array
    ) -> tuple[Array, ...]:
        ns = self.ns
        for axis, (side, block) in enumerate(places):
            part = ns.column_sums(x) if axis else ns.row_sums(x)
            sums = _replaced(sums, side, ns.add_rows_(sums[side], block, part))
        return sums

    def _relative(self, x: Array, logs: tuple[Array, ...], place: Place, axis: int) -> Array:
        return self.ns.sub_(x, _across(self.ns, logs[place.side], place.block, axis))

    def _pull(
        self,
        gradients: tuple[Array, ...],
        places: tuple[Place, ...],
        i: Block,
        j: Block,
        tile: Tile,
        g: Array,
        scratch: Scratch | None,
    ) -> tuple[Array, ...]:
        a, b = self._blocks(i, j)
        return self.similarity.pull_(self.ns, gradients, places, a, b, tile, g, scratch)

    def _start_each(self, start: Callable[[Namespace, int, Array], T]) -> tuple[T, ...]:
        return tuple(start(self.ns, self.ns.shape(rows.p)[0], rows.p) for rows in self.sides)


def _zeros(ns: Namespace, n: int, like: Array) -> Array:
    return ns.zeros((n,), like)


def _across(ns: Namespace, x: Array, block: Block, axis: int) -> Array:
    """Per-anchor values so that they broadcast over the anchors' own axis of a tile."""
    return ns.xp.expand_dims(ns.rows(x, block), axis=1 - axis)


def _replaced(items: tuple[T, ...], index: int, item: T) -> tuple[T, ...]:
    return (*items[:index], item, *items[index + 1 :])

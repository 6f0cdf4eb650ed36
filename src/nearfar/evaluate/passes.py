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

from nearfar.evaluate.plan import Kind, Plan, Tiles
from nearfar.evaluate.protocol import Pair, PartitionRule, Slopes
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
        scratch = ns.scratch()

        def body(
            tiles: Tiles,
            carry: tuple[list[tuple[State, ...]], tuple[Array, ...]],
            i: Block,
            j: Block,
        ) -> tuple[list[tuple[State, ...]], tuple[Array, ...]]:
            sums, linear = list(carry[0]), carry[1]
            places = self._places(tiles.kind, i, j)
            logits = self._tile(tiles.kind, i, j, scratch).logits
            positives, negatives = self._strangers(tiles.kind, i, j)
            if linear and tiles.kind.positives:
                linear = self._add_sums(linear, places, _drop(ns, logits, positives))
            wanted = self._sums(tiles.kind)
            for k in wanted:
                x = logits if k == wanted[-1] else ns.copy(logits, scratch, "times")
                x = self._exponent(x, k, positives, negatives)
                sums[k] = self.exponentials.add_(ns, sums[k], places, x, scratch)
            return sums, linear

        start = [tuple(self._start_each(self.exponentials.start)) for _ in rule.sums]
        linear = tuple(self._start_each(_zeros)) if rule.linear else ()
        plan = tuple(
            t for t in self.plan if self._sums(t.kind) or (rule.linear and t.kind.positives)
        )
        sums, linear = sweep(ns, plan, body, (start, linear), self.workers)
        empty = {"negatives": -float("inf"), "positives": 0.0}
        logs = [
            tuple(self.exponentials.log(ns, state, empty[s.over]) for state in states)
            for s, states in zip(rule.sums, sums, strict=True)
        ]
        return logs, linear

    def _see_pairs(self, pair: Pair, logs: list[tuple[Array, ...]]) -> tuple[Array, ...]:
        ns = self.ns
        scratch = ns.scratch()

        def body(tiles: Tiles, states: tuple[State, ...], i: Block, j: Block) -> tuple[State, ...]:
            logits = self._tile(tiles.kind, i, j, scratch).logits
            strangers, _ = self._strangers(tiles.kind, i, j)
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
        gradients = tuple(ns.zeros(ns.shape(rows.p), rows.p) for rows in self.sides)
        first = tuple(s.logs[0] for s in slopes)
        if self.rule.pair:
            gradients, pulled = self._pull_pairs(self.rule.pair, seen, slopes, gradients)
            first = tuple(a + b for a, b in zip(first, pulled, strict=True))
        weights = [
            tuple(
                self.exponentials.weigh(
                    ns, (first[side] if k == 0 else slopes[side].logs[k]) * s.times, one.logs[k]
                )
                for side, one in enumerate(seen)
            )
            for k, s in enumerate(self.rule.sums)
        ]
        linear = tuple(s.linear for s in slopes) if self.rule.linear else ()
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
        scratch = ns.scratch()
        logs = tuple(one.logs[0] for one in seen)

        def along(logits: Array, strangers: Array | None, place: Place, axis: int) -> Array:
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
            tiles: Tiles, carry: tuple[tuple[Array, ...], tuple[Array, ...]], i: Block, j: Block
        ) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
            gradients, pulled = carry
            tile = self._tile(tiles.kind, i, j, scratch)
            strangers, _ = self._strangers(tiles.kind, i, j)
            places = self._places(tiles.kind, i, j)
            parts = []
            for axis, place in enumerate((Place(0, i), Place(len(self.sides) - 1, j))):
                part = along(tile.logits, strangers, place, axis)
                if axis < len(places):
                    sums = ns.column_sums(part) if axis else ns.row_sums(part)
                    pulled = _replaced(
                        pulled, place.side, ns.add_rows_(pulled[place.side], place.block, -sums)
                    )
                parts.append(part)
            g = ns.add_(parts[0], parts[1])
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
        scratch = ns.scratch()
        last = len(self.sides) - 1

        def body(
            tiles: Tiles, gradients: tuple[Array, ...], i: Block, j: Block
        ) -> tuple[Array, ...]:
            tile = self._tile(tiles.kind, i, j, scratch)
            positives, negatives = self._strangers(tiles.kind, i, j)
            wanted = self._sums(tiles.kind)
            g = None
            for k in wanted:
                keep = self.similarity.keeps_logits or k != wanted[-1]
                x = ns.copy(tile.logits, scratch, f"sum{k}") if keep else tile.logits
                x = self._exponent(x, k, positives, negatives)
                row = tuple(ns.rows(w, i) for w in weights[k][0])
                column = tuple(ns.rows(w, j) for w in weights[k][last])
                part = self.exponentials.coefficients(ns, x, row, column, scratch)
                g = part if g is None else ns.add_(g, part)
            if linear and tiles.kind.positives:
                pull = ns.outer_sum(
                    ns.rows(linear[0], i), ns.rows(linear[last], j), scratch, "linear"
                )
                pull = _drop(ns, pull, positives)
                g = pull if g is None else ns.add_(g, pull)
            return self._pull(gradients, self._places(tiles.kind, i, j), i, j, tile, g, scratch)

        plan = tuple(t for t in self.plan if self._sums(t.kind) or (linear and t.kind.positives))
        return sweep(ns, plan, body, gradients, self.workers)

    # -- what a tile is made of ------------------------------------------------------------

    def _places(self, kind: Kind, i: Block, j: Block) -> tuple[Place, ...]:
        """Whose sums a tile adds to; one on the diagonal of a symmetric matrix, which holds both
        (i, j) and (j, i)."""
        if kind.diagonal and len(self.sides) == 1:
            return (Place(0, i),)
        return Place(0, i), Place(len(self.sides) - 1, j)

    def _tile(self, kind: Kind, i: Block, j: Block, scratch: Scratch | None) -> Tile:
        return self.similarity.tile(self.ns, *self._blocks(i, j), self._itself(kind, i, j), scratch)

    def _itself(self, kind: Kind, i: Block, j: Block) -> Array | None:
        """True where a row meets itself; None where none does."""
        meets = kind.diagonal and len(self.sides) == 1
        return self.ns.same(i, j, self.sides[0].p) if meets else None

    def _blocks(self, i: Block, j: Block) -> tuple[Rows, Rows]:
        return self.sides[0].block(self.ns, i), self.sides[-1].block(self.ns, j)

    def _strangers(self, kind: Kind, i: Block, j: Block) -> tuple[Array | None, Array | None]:
        """What in a tile is no positive, and what is no negative; None where all is."""
        if not kind.masked:
            return None, None
        same, itself = self.same(i, j), self._itself(kind, i, j)
        if itself is None:
            return ~same, same
        if self.include_self == "positive":
            return ~(same | itself), same | itself
        return ~same | itself, same & ~itself if self.include_self else same | itself

    def _sums(self, kind: Kind) -> list[int]:
        """The declared sums that find members in tiles of a kind."""
        found = {"positives": kind.positives, "negatives": kind.negatives}
        return [k for k, s in enumerate(self.rule.sums) if found[s.over]]

    def _exponent(
        self, x: Array, k: int, positives: Array | None, negatives: Array | None
    ) -> Array:
        """What sum k exponentiates: times * logit, and -inf for strangers. Consumes `x`."""
        s = self.rule.sums[k]
        if s.times != 1:
            x = self.ns.mul_(x, s.times)
        # Before the exponential, not after it: a stranger's logit may overflow.
        strangers = positives if s.over == "positives" else negatives
        return x if strangers is None else self.ns.fill_(x, strangers, -float("inf"))

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


def _drop(ns: Namespace, x: Array, strangers: Array | None) -> Array:
    return x if strangers is None else ns.xp.where(strangers, ns.xp.zeros_like(x), x)


def _across(ns: Namespace, x: Array, block: Block, axis: int) -> Array:
    """Per-anchor values so that they broadcast over the anchors' own axis of a tile."""
    return ns.xp.expand_dims(ns.rows(x, block), axis=1 - axis)


def _replaced(items: tuple[T, ...], index: int, item: T) -> tuple[T, ...]:
    return (*items[:index], item, *items[index + 1 :])

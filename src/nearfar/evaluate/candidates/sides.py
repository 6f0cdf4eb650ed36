"""The sets of rows of a call, in the order that they are worked through, with all that is known of
them."""

from collections.abc import Callable
from typing import Any, NamedTuple

from nearfar.codes import AS_GIVEN, Codes, Order, numbered
from nearfar.evaluate.partition.matched import MatchedPairs
from nearfar.frameworks import Array, Namespace
from nearfar.pairing import Views
from nearfar.similarity import Rows, Similarity


class Side(NamedTuple):
    """A set of rows, in the order that it is worked through."""

    rows: Rows
    codes: Codes | None = None
    offset: Array | None = None
    """What its logits gain where it holds candidates."""
    guide: Array | None = None
    """Unit rows of the guide."""
    order: Order = AS_GIVEN

    def n(self, ns: Namespace) -> Any:
        return ns.shape(self.rows.p)[0]


class Sides:
    """Rows made ready, and the way back to the embeddings as they were given."""

    def __init__(
        self, settings: Any, ns: Namespace, inputs: tuple[Array, ...], wanted: tuple[bool, ...]
    ) -> None:
        self.ns, self.settings = ns, settings
        self.similarity: Similarity = settings.similarity
        given = settings.sort_out(ns, inputs)
        self.temperature = given.temperature
        self.facts = dict(zip(settings.names[settings.parts :], given.facts, strict=True))
        self.parts = given.embeddings
        wanted = settings.differentiated(inputs, wanted)
        # The temperature's gradient is a sum over all sides, wanted or not.
        learns = settings.learns(wanted)
        self.wanted = [w or learns for w in wanted[: settings.parts]]
        """Whether each side wants a gradient."""
        if settings.meeting == "views":
            self.wanted = [any(self.wanted)]
        made: Callable[[], list[Side]] = getattr(self, f"_of_{settings.meeting}")
        self.all = made()
        self.like = self.all[0].rows.p
        self.limits: Array | None = None
        """Above which similarity each pair leaves others out, (n,), where pairs are found by their
        place."""
        self.ascending = False
        """Whether these ascend along the rows."""
        if settings.threshold is not None and self.by_place:
            self.limits = settings.threshold.over(ns, self._of_pairs(), self.temperature)
            if settings.meeting in ("views", "sides") and self.all[0].codes is None:
                self._sort(self.limits)

    @property
    def rows(self) -> tuple[Rows, ...]:
        return tuple(side.rows for side in self.all)

    @property
    def bound(self) -> float:
        """On every |logit|, offsets included; infinity where the host cannot know."""
        return self.similarity.bound(self.ns, self.rows, self.temperature) + self._largest_offset()

    @property
    def meets_batch(self) -> bool:
        """Whether labelled rows are each other's candidates."""
        return self.settings.both or "reference" not in self.settings.names

    @property
    def by_place(self) -> bool:
        """Whether every anchor has one positive, found by its place."""
        meeting = self.settings.meeting
        if meeting in ("labels", "graded") or self.settings.include_self == "positive":
            return False
        return not (meeting == "sides" and self.alike_are_positive)

    @property
    def alike_are_positive(self) -> bool:
        return self.settings.same == "positive" and self.all[0].codes is not None

    def _of_pairs(self) -> Array:
        """The guide's similarity of each pair, (n,), where there is a guide, else the logit."""
        ns, first = self.ns, self.all[0]
        if self.settings.meeting == "views":
            pairing = Views(ns, self.parts[0])
            if first.guide is not None:
                return ns.dots(*pairing.scatter(ns, (first.guide,)))
            pairs = MatchedPairs.of(ns, pairing, self.rows)
            return self.similarity.paired(ns, pairs.a, pairs.b)
        last = self.all[1]
        if first.guide is not None and last.guide is not None:
            return ns.dots(first.guide, last.guide)
        return self.similarity.paired(ns, first.rows, last.rows)

    def _sort(self, limits: Array) -> None:
        """Put all sides into the order of these: who is left out for one end of a pair tells of the
        other end then."""
        ns, xp = self.ns, self.ns.xp
        # NaN leaves out everybody, as the least number does.
        limits = xp.where(limits == limits, limits, xp.full_like(limits, -float("inf")))
        order = xp.argsort(limits)
        pairs = Order(order, xp.argsort(order))
        rows = order
        if self.settings.meeting == "views":
            rows = xp.reshape(xp.stack([2 * order, 2 * order + 1], axis=1), (-1,))

        def taken(x: Array | None) -> Array | None:
            return None if x is None else ns.take(x, rows)

        self.all = [
            side._replace(
                rows=side.rows.ordered(ns, rows),
                offset=taken(side.offset),
                guide=taken(side.guide),
                order=pairs,
            )
            for side in self.all
        ]
        self.limits, self.ascending = ns.take(self.limits, order), True

    def own(self, k: int) -> bool:
        """Whether embeddings k are each query's own."""
        return len(self.parts[k].shape) > len(self.parts[0].shape)

    def apiece(self, k: int) -> Any:
        """How many of them a query has."""
        return self.ns.shape(self.parts[k])[1]

    def _prepare(self, parts: list[Array], **more: list[Any]) -> list[Side]:
        rows = self.similarity.prepare(self.ns, tuple(parts), self.temperature)
        return [
            Side(x, *each)
            for x, *each in zip(
                rows, more["codes"], more["offsets"], more["guides"], more["orders"], strict=True
            )
        ]

    def _of(self, fact: str, k: int, order: Order = AS_GIVEN) -> Array | None:
        """Part k of a fact that is several arrays, in an order, rows flattened."""
        x = self.facts.get(f"{fact}.{k}")
        return None if x is None else order.take(self.ns, x)

    def _offset(self, k: int, order: Order = AS_GIVEN) -> Array | None:
        x = self._of("log_q", k, order)
        return None if x is None else -x

    def _guide(self, k: int, order: Order = AS_GIVEN) -> Array | None:
        x = self._of("guide", k, order)
        if x is None:
            return None
        x = self.ns.stop_gradient(self.ns.matrix(x, len(x.shape) - 1))
        return self.ns.unit_rows(x, 1.0)[0]

    def _of_labels(self) -> list[Side]:
        ns = self.ns
        labels = [self.facts[x] for x in ("labels", "reference_labels") if x in self.facts]
        codes = numbered(ns, labels, self.parts[0], range(len(labels)))
        orders = [c.order for c in codes]
        offsets: list[Array | None] = [None] * len(orders)
        log_q = self.facts.get("log_q.0")
        if log_q is not None:
            own = ns.shape(self.parts[0])[0]
            if self.meets_batch:
                offsets[0] = -orders[0].take(ns, log_q[:own])
            if len(orders) == 2:
                beyond = log_q[own:] if self.meets_batch else log_q
                offsets[1] = -orders[1].take(ns, beyond)
        parts = [o.take(ns, ns.matrix(z)) for z, o in zip(self.parts, orders, strict=True)]
        guides = [self._guide(k, order) for k, order in enumerate(orders)]
        return self._prepare(parts, codes=codes, offsets=offsets, guides=guides, orders=orders)

    def _of_graded(self) -> list[Side]:
        rows = [self.ns.matrix(self.parts[0])]
        return self._prepare(rows, codes=[None], offsets=[None], guides=[None], orders=[AS_GIVEN])

    def _ids(self) -> list[Codes | None]:
        """Ids of both sides, in one order for pairs of rows, or each sorted where ids pair them."""
        ids = [self.facts[x] for x in ("ids", "ids.0", "ids.1") if x in self.facts]
        if not ids or self.settings.same == "negative":
            return [None, None]
        ids = ids if len(ids) == 2 else [*ids, *ids]
        each = self.settings.same == "positive"
        found: list[Codes | None] = [
            *numbered(self.ns, ids, self.parts[0], [0, 1] if each else [0, 0])
        ]
        return found

    def _of_sides(self) -> list[Side]:
        ns = self.ns
        codes = self._ids()
        orders = [AS_GIVEN if c is None else c.order for c in codes]
        parts = [o.take(ns, ns.matrix(z)) for z, o in zip(self.parts, orders, strict=True)]
        guides = [self._guide(k, order) for k, order in enumerate(orders)]
        offsets = [self._offset(k, order) for k, order in enumerate(orders)]
        return self._prepare(parts, codes=codes, offsets=offsets, guides=guides, orders=orders)

    def _of_views(self) -> list[Side]:
        ns, xp = self.ns, self.ns.xp
        codes = self._ids()[0]
        order = AS_GIVEN if codes is None else codes.order

        def beside(parts: list[Array | None]) -> Array | None:
            if parts[0] is None or parts[1] is None:
                return None
            flat = xp.stack(parts, axis=1)
            return xp.reshape(flat, (-1, *flat.shape[2:]))

        rows = beside([order.take(ns, ns.matrix(z)) for z in self.parts])
        assert rows is not None
        return self._prepare(
            [rows],
            codes=[None if codes is None else codes.repeated(ns, 2)],
            offsets=[beside([self._offset(k, order) for k in (0, 1)])],
            guides=[beside([self._guide(k, order) for k in (0, 1)])],
            orders=[order],
        )

    def _of_queries(self) -> list[Side]:
        ns = self.ns
        codes = self._ids()[0]
        order = AS_GIVEN if codes is None else codes.order
        # Own negatives stand with their queries: they keep the order of these.
        orders = [order if k < 2 or self.own(k) else AS_GIVEN for k in range(len(self.parts))]
        depth = [2 if self.own(k) else 1 for k in range(len(self.parts))]
        parts = [
            ns.matrix(o.take(ns, z), d) for z, o, d in zip(self.parts, orders, depth, strict=True)
        ]
        guides = [self._guide(k, o) for k, o in enumerate(orders)]
        offsets = [self._offset_of_candidates(k, o) for k, o in enumerate(orders)]
        some = [codes, codes, *(None for _ in parts[2:])]
        return self._prepare(parts, codes=some, offsets=offsets, guides=guides, orders=orders)

    def _offset_of_candidates(self, k: int, order: Order) -> Array | None:
        ns = self.ns
        offset = self._offset(k - 1, order) if k else None
        valid = self.facts.get("valid")
        if self.own(k) and valid is not None:
            pad = order.take(ns, valid)
            none = ns.zeros(ns.shape(pad), self.parts[0])
            offset = none if offset is None else offset
            offset = ns.xp.where(pad, offset, none - float("inf"))
        return None if offset is None else ns.xp.reshape(offset, (-1,))

    def _largest_offset(self) -> float:
        """Of those that are no padding; infinity where the host cannot know."""
        found, xp = [0.0], self.ns.xp
        for side in self.all:
            # An offset of 0 more, since a set may be empty.
            if side.offset is not None:
                x = xp.concat([side.offset, self.ns.zeros((1,), self.like)], axis=0)
                x = xp.where(x == -float("inf"), xp.zeros_like(x), x)
                known = self.ns.peek(xp.max(xp.abs(x)))
                found.append(float("inf") if known is None else float(known))
        return max(found)

    def restore(self, gradients: tuple[Array, ...]) -> tuple[tuple[Array | None, ...], Any]:
        """Gradients of the embeddings as they were given, and of the temperature."""
        ns = self.ns
        views = self.settings.meeting == "views"
        found: list[Array | None] = []
        slope: Any = 0.0
        for k, (side, g) in enumerate(zip(self.all, gradients, strict=True)):
            if not self.wanted[k]:
                found.append(None)
                continue
            z, more = self.similarity.restore(ns, side.rows, g, self.temperature)
            slope = slope + more
            found.append(z if views else self._undone(k, z))
        if views and found[0] is None:
            return (None, None), slope
        if views:
            parts = Views(ns, self.parts[0]).scatter(ns, (found[0],))
            order = self.all[0].order
            return tuple(order.undo(ns, x) for x in parts), slope
        return tuple(found), slope

    def _undone(self, k: int, z: Array) -> Array:
        ns, order = self.ns, self.all[k].order
        if order.order is None:
            return z
        if self.settings.meeting == "queries" and self.own(k):
            n, own = ns.shape(self.parts[k])[:2]
            z = ns.xp.reshape(z, (n, own, -1))
        return order.undo(ns, z)

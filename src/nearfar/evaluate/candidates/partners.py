"""Positives that are found by their place, of rows whose logits may have offsets."""

from typing import Any, NamedTuple

from nearfar.evaluate.candidates.sides import Sides
from nearfar.evaluate.partition.matched import MatchedPairs, Partners
from nearfar.frameworks import Array, Namespace
from nearfar.pairing import Matched, Views
from nearfar.rules import Slopes
from nearfar.similarity import Rows, Similarity


class _OffsetPartners(NamedTuple):
    """Partners whose logits have offsets."""

    partners: Partners
    offsets: tuple[Array, ...]
    """Of each anchor's positive, for every set."""

    def linear(self, ns: Namespace, similarity: Similarity) -> tuple[Array, ...]:
        found = self.partners.linear(ns, similarity)
        return tuple(x + offset for x, offset in zip(found, self.offsets, strict=True))

    def pull(
        self, ns: Namespace, similarity: Similarity, slopes: tuple[Slopes, ...]
    ) -> tuple[Array, ...]:
        return self.partners.pull(ns, similarity, slopes)


class _QueryPartners(NamedTuple):
    """Queries and their positives, the first two of all rows that get gradients."""

    sides: tuple[Rows, ...]
    wanted: tuple[bool, ...]
    sets: int

    def linear(self, ns: Namespace, similarity: Similarity) -> tuple[Array, ...]:
        found = similarity.paired(ns, *self.sides[:2])
        return tuple(found + 0 for _ in range(self.sets))

    def pull(
        self, ns: Namespace, similarity: Similarity, slopes: tuple[Slopes, ...]
    ) -> tuple[Array, ...]:
        g: Any = 0
        for s in slopes:
            g = g + s.linear
        query, positive = self.sides[:2]
        found = [*similarity.paired_vjp(ns, query, positive, g)]
        for x, wanted in zip(self.sides[2:], self.wanted[2:], strict=True):
            found.append(ns.zeros(ns.shape(x.p) if wanted else (1,), x.p))
        return tuple(found)


def partners_of(sides: Sides, sets: int, guarded: bool) -> Partners | None:
    """Who finds the positives of so many sets of anchors without tiles, where anybody does: see
    `TileContext.partners`."""
    ns, settings = sides.ns, sides.settings
    if not sides.by_place:
        return None
    if settings.meeting == "queries":
        partners: Partners = _QueryPartners(sides.rows, tuple(sides.wanted), sets)
        offset = sides.all[1].offset
        return partners if offset is None else _OffsetPartners(partners, (offset,) * sets)
    if guarded:
        return None
    pairing = (
        Views(ns, sides.parts[0]) if settings.meeting == "views" else Matched(ns, sides.parts[0])
    )
    partners = MatchedPairs.of(ns, pairing, sides.rows)
    offsets = [side.offset for side in sides.all]
    if offsets[0] is None:
        return partners
    if settings.meeting == "views":
        a, b = pairing.scatter(ns, (offsets[0][:, None],))
        turned = pairing.gather(ns, (b, a))[0]
        return _OffsetPartners(partners, (ns.xp.reshape(turned, (-1,)),))
    return _OffsetPartners(partners, (offsets[1], offsets[0]))

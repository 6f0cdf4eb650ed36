"""Which sets of rows meet, for whose sums, and what tells positives there."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from nearfar.evaluate.candidates.sides import Sides


class Pairs(NamedTuple):
    """Rows of one side against those of another, or of the same."""

    rows: int
    columns: int
    owners: tuple[int, int | None]
    """To which sets' sums these add."""
    by: str = "none"
    """What tells positives: "codes", "place", "degrees", or "none" where there are none."""
    own: bool = False
    """Whether each row meets columns of its own only."""
    others: bool = False
    """Whether it meets those of the other rows only."""
    again: bool = False
    """Whether its positive is among them once more, whatever leaves others out."""

    @property
    def meets(self) -> bool:
        return self.rows == self.columns


def pairs_of(settings: Any, sides: Sides) -> Iterator[Pairs]:
    """All that meet, under the settings of a `CandidateEvaluation`."""
    meeting = settings.meeting
    if meeting == "views":
        yield Pairs(0, 0, (0, 0), "place")
    elif meeting == "sides":
        yield Pairs(0, 1, (0, 1), "codes" if sides.alike_are_positive else "place")
    elif meeting == "graded":
        yield Pairs(0, 0, (0, 0), "degrees")
    elif meeting == "labels":
        if sides.meets_batch:
            yield Pairs(0, 0, (0, 0), "codes")
        if len(sides.all) == 2:
            yield Pairs(0, 1, (0, None), "codes")
    else:
        for number, direction in enumerate(settings.directions):
            yield from _along(sides, direction, 0 if settings.joint else number)


def _along(sides: Sides, direction: str, owner: int) -> Iterator[Pairs]:
    more = range(2, len(sides.all))
    if direction == "qp":
        if sides.settings.in_batch:
            yield Pairs(0, 1, (owner, None), "place")
        for k in more:
            mine = sides.own(k) and sides.settings.own == "mine"
            yield Pairs(0, k, (owner, None), own=mine)
    elif direction == "pq":
        yield Pairs(1, 0, (owner, None), again=True)
    elif direction == "pn":
        yield from (Pairs(1, k, (owner, None), others=True) for k in more if sides.own(k))
    else:
        k = 0 if direction == "qq" else 1
        yield Pairs(k, k, (owner, owner))

"""Several groups of numbers per row, sorted together: counts and sums of all that are nearer."""

from typing import NamedTuple

from nearfar.frameworks import Array, Namespace


class Group(NamedTuple):
    keys: Array
    """(b, w)"""
    members: Array
    """Which of the keys count, (b, w)."""


class Merged:
    """Groups of each row side by side in ascending order.

    What does not count is sorted to the end and marked by no group. Entries with equal keys are a
    run: `below` and `up_to` do not depend on how it was sorted.
    """

    def __init__(self, ns: Namespace, *groups: Group) -> None:
        xp = ns.xp
        self.ns = ns
        self._widths = [ns.shape(group.keys)[1] for group in groups]
        inf = float("inf")
        strange = ~xp.concat([group.members for group in groups], axis=1)
        joined = ns.fill_(xp.concat([group.keys for group in groups], axis=1), strange, inf)
        self._order = ns.argsort(joined)
        self.keys = ns.gather(joined, self._order)
        strange = self.keys == inf
        # Strangers are no run: what they are given is not looked at.
        changes = self.keys[:, 1:] != self.keys[:, :-1]
        first = xp.ones_like(strange[:, :1])
        self._starts = xp.concat([first, changes], axis=1) | strange
        self._ties = xp.any(~self._starts)
        self.marks = self._marks(strange)
        # From the lowest key up, so that sums of heights only rise; a stranger has none.
        first_key = self.keys[:, :1]
        self.lowest = xp.where(strange[:, :1], xp.zeros_like(first_key), first_key)
        self.heights = ns.fill_(self.keys - self.lowest, strange, 0)

    def _marks(self, strange: Array) -> tuple[Array, ...]:
        """For each group 1 for its members and 0 for all else, in ascending order."""
        ns, xp = self.ns, self.ns.xp
        rest = 1 - ns.cast(strange, self.keys.dtype)
        marks = []
        for own in range(len(self._widths) - 1):
            parts = [
                xp.full_like(self.keys[:, :width], float(k == own))
                for k, width in enumerate(self._widths)
            ]
            marks.append(rest * ns.gather(xp.concat(parts, axis=1), self._order))
        return (*marks, rest - sum(marks))

    def so_far(self, x: Array) -> Array:
        """Running sums, entry for entry."""
        return self.ns.running_sum(x, reverse=False)

    def up_to(self, x: Array) -> Array:
        """Sums of x >= 0 over all entries whose key is at most an entry's own."""
        return self._of_runs(self.so_far(x), last=True)

    def below(self, x: Array) -> Array:
        """Sums of x >= 0 over all entries whose key is less than an entry's own."""
        # They rise, and a run falls to its first entry when turned over.
        return -self._of_runs(x - self.so_far(x), last=False)

    def from_here(self, x: Array) -> Array:
        """Sums of x >= 0 over all entries whose key is at least an entry's own."""
        return self._of_runs(self.ns.running_sum(x, reverse=True), last=False)

    def _of_runs(self, x: Array, last: bool) -> Array:
        return self.ns.cond(
            self._ties, lambda: self.ns.segment_fill(x, self._starts, last), lambda: x
        )

    def next_above(self, mark: Array) -> Array:
        """The least marked key that is more than an entry's own; infinity where none is."""
        xp = self.ns.xp
        some = self.ns.running_sum(mark, reverse=True) > 0
        starts = xp.concat([mark[:, :1] == mark[:, :1], mark[:, :-1] > 0], axis=1)
        least = self.ns.segment_fill(self.keys, starts, last=True)
        least = xp.where(some, least, xp.full_like(least, float("inf")))
        after = xp.concat([least[:, 1:], xp.full_like(least[:, :1], float("inf"))], axis=1)
        return self._of_runs(after, last=True)

    def last_before(self, x: Array, mark: Array) -> Array:
        """x, which rises from 0, at the last marked entry before each entry; 0 where none is."""
        xp = self.ns.xp
        starts = xp.concat([mark[:, :1] == mark[:, :1], mark[:, 1:] > 0], axis=1)
        last = -self.ns.segment_fill(-x, starts, last=False)
        return xp.concat([xp.zeros_like(last[:, :1]), last[:, :-1]], axis=1)

    def apart(self, x: Array) -> list[Array]:
        """Values of the entries, back in the places of their groups."""
        back = self.ns.scatter(x, self._order, sum(self._widths))
        parts, start = [], 0
        for width in self._widths:
            parts.append(back[:, start : start + width])
            start = start + width
        return parts

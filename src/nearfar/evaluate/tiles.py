"""Exponentials of a tile; the only file that knows of overflow, shift and empty sums.

`Plain` exponentiates as it stands, which is safe while every |logit| keeps inside a range that the
similarity can promise. `Guarded` keeps a running maximum for every anchor and never overflows, at
the price of one exponential for the rows and one for the columns of a tile.
"""

from typing import Any, Protocol

from nearfar.frameworks import Array, Block, Namespace, Scratch

State = tuple[Array, ...]

# |times * logit| up to which Plain is used, by item size: e**40 summed over a million rows and
# multiplied by a loss scaler is far inside float32, and so is its inverse.
_SAFE = {4: 40.0, 8: 300.0}


class Exponentials(Protocol):
    nothing: float
    """What stands in `applied_` for what does not belong."""

    def start(self, ns: Namespace, n: int, like: Array) -> State:
        """An empty sum for each of n anchors."""

    def applied_(self, ns: Namespace, x: Array) -> Array:
        """What both passes start from, so that it may be kept; consumes `x`."""

    def doubled(self, ns: Namespace, y: Array, scratch: Scratch | None) -> Array:
        """`applied_` of 2 x, from y = `applied_` of x."""

    def add_(
        self,
        ns: Namespace,
        states: tuple[State, ...],
        places: tuple[Any, ...],
        y: Array,
        scratch: Scratch | None,
        kept: bool,
    ) -> tuple[State, ...]:
        """Add exp(x) along the rows of a tile, and along its columns at a second place.

        `y` is `applied_` of x, and consumed unless it is to be kept.
        """

    def log(self, ns: Namespace, state: State, empty: float) -> Array:
        """Logarithms of the sums (n,), `empty` for an empty one."""

    def weigh(self, ns: Namespace, slope: Array, log: Array) -> State:
        """What `coefficients` needs of anchors whose loss has this slope by the logarithm."""

    def coefficients(
        self, ns: Namespace, y: Array, row: State, column: State, scratch: Scratch | None
    ) -> Array:
        """slope_i exp(x_ij - log_i) + slope_j exp(x_ij - log_j); consumes y = `applied_` of x."""


def exponentials_for(bound: float, itemsize: int, full: bool = False) -> Exponentials:
    """Plain where |times * logit| <= bound is safe; a NaN bound is not. `full`: no sum is empty."""
    if not bound <= _SAFE[itemsize]:
        return GUARDED
    return PLAIN_FULL if full else PLAIN


class Plain:
    nothing: float = 0.0

    def __init__(self, full: bool) -> None:
        self._full = full

    def applied_(self, ns: Namespace, x: Array) -> Array:
        return ns.exp_(x)

    def doubled(self, ns: Namespace, y: Array, scratch: Scratch | None) -> Array:
        return ns.times(y, y, scratch, "doubled")

    def start(self, ns: Namespace, n: int, like: Array) -> State:
        return (ns.zeros((n,), like),)

    def add_(
        self,
        ns: Namespace,
        states: tuple[State, ...],
        places: tuple[Any, ...],
        y: Array,
        scratch: Scratch | None,
        kept: bool,
    ) -> tuple[State, ...]:
        out = list(states)
        for (side, block), sums in zip(places, (ns.row_sums, ns.column_sums), strict=False):
            out[side] = (ns.add_rows_(out[side][0], block, sums(y)),)
        return tuple(out)

    def log(self, ns: Namespace, state: State, empty: float) -> Array:
        return ns.xp.log(state[0]) if self._full else _log(ns, state[0], None, empty)

    def weigh(self, ns: Namespace, slope: Array, log: Array) -> State:
        return (slope / ns.xp.exp(log if self._full else _finite(ns, log)),)

    def coefficients(
        self, ns: Namespace, y: Array, row: State, column: State, scratch: Scratch | None
    ) -> Array:
        return ns.mul_(y, ns.outer_sum(row[0], column[0], scratch, "outer"))


class Guarded:
    nothing: float = -float("inf")

    def applied_(self, ns: Namespace, x: Array) -> Array:
        return x

    def doubled(self, ns: Namespace, y: Array, scratch: Scratch | None) -> Array:
        return ns.plus(y, y, scratch, "doubled")

    def start(self, ns: Namespace, n: int, like: Array) -> State:
        zeros = ns.zeros((n,), like)
        return zeros - float("inf"), ns.zeros((n,), like)

    def add_(
        self,
        ns: Namespace,
        states: tuple[State, ...],
        places: tuple[Any, ...],
        y: Array,
        scratch: Scratch | None,
        kept: bool,
    ) -> tuple[State, ...]:
        out = list(states)
        for axis, (side, block) in enumerate(places):
            last = axis == len(places) - 1
            spare = y if last and not kept else ns.copy(y, scratch, "guarded")
            out[side] = self.absorb(ns, out[side], block, spare, 1 - axis)
        return tuple(out)

    def absorb(self, ns: Namespace, state: State, block: Block, x: Array, axis: int) -> State:
        xp = ns.xp
        largest, total = (ns.rows(array, block) for array in state)
        peak = ns.stop(xp.maximum(largest, xp.max(x, axis=axis)))
        # A row without members so far has the maximum -inf; any finite shift serves it.
        shift = _finite(ns, peak)
        e = ns.exp_(ns.sub_(x, xp.expand_dims(shift, axis=axis)))
        sums = ns.row_sums(e) if axis == 1 else ns.column_sums(e)
        total = total * xp.exp(largest - shift) + sums
        return ns.set_rows_(state[0], block, peak), ns.set_rows_(state[1], block, total)

    def log(self, ns: Namespace, state: State, empty: float) -> Array:
        return _log(ns, state[1], _finite(ns, state[0]), empty)

    def weigh(self, ns: Namespace, slope: Array, log: Array) -> State:
        return slope, _finite(ns, log)

    def coefficients(
        self, ns: Namespace, y: Array, row: State, column: State, scratch: Scratch | None
    ) -> Array:
        along = ns.minus(y, row[1][:, None], scratch, "guarded")
        along = ns.mul_(ns.exp_(along), row[0][:, None])
        across = ns.mul_(ns.exp_(ns.sub_(y, column[1][None, :])), column[0][None, :])
        return ns.add_(across, along)


PLAIN = Plain(full=False)
PLAIN_FULL = Plain(full=True)
GUARDED = Guarded()


def _log(ns: Namespace, total: Array, shift: Array | None, empty: float) -> Array:
    xp = ns.xp
    none = total == 0
    log = xp.log(xp.where(none, xp.ones_like(total), total))
    if shift is not None:
        log = log + shift
    return xp.where(none, xp.full_like(total, empty), log)


def _finite(ns: Namespace, log: Array) -> Array:
    """0 for -inf; NaN and +inf stay, so that they reach the result."""
    return ns.xp.where(log == -float("inf"), ns.xp.zeros_like(log), log)

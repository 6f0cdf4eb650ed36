"""Sums of exponentials over tiles; the only file that knows of overflow, shift and empty sums.

`Direct` exponentiates logits as they stand, which is safe while every |logit| keeps inside a range
that the similarity can promise. `Streaming` keeps a running maximum for every anchor (streaming
log-sum-exp) and never overflows, at the price of one exponential for the rows and one for the
columns of a tile.

Beyond that range the rounding of a logit may be larger than 1, and two things must hold for the
softmax to stay one. Nothing is added to a logit before the largest of its sum is taken off, so that
the largest cancels exactly: a logarithm stays in two parts, `LogSum`. And an anchor's share of the
gradient is made of the very numbers that its sum was made of: a product of a block of rows with
itself need not be symmetric to the last bit, so on the diagonal the columns' part is not computed
from the tile but is the rows' part transposed. (Inside the range the two logits of a pair differ by
some roundings of 40, which is no more than what each of them is off by.)
"""

from functools import reduce
from typing import Any, NamedTuple, Protocol

from nearfar.frameworks import Array, Block, Namespace, Scratch
from nearfar.rules import Sum

State = tuple[Array, ...]


class LogSum(NamedTuple):
    """The logarithm of a sum of exp(times * logit) for each anchor, |times| * peak + log, (n,)."""

    peak: Array | None
    """The largest logit of the sum (minus the least, for negative `times`), -inf for an empty sum;
    None: 0 for all."""
    log: Array
    total: Array | None = None
    """The sum itself, or that of exp(times * (logit - peak)), where it is at hand and spares a
    launch."""
    terms: Array | None = None
    """Of one tile that holds them all, exp(times * (logit - peak)) in the place of each logit: left
    to the gradient, which consumes it."""
    full: bool = False
    """Whether it is known that no sum is empty."""

    def whole(self) -> Array:
        return self.log if self.peak is None else self.peak + self.log


# |times * logit| up to which Direct is used, by item size: e**40 summed over a million rows and
# multiplied by a loss scaler is far inside float32, and so is its inverse.
SAFE = {4: 40.0, 8: 300.0}


class Exponentials(Protocol):
    guarded: bool
    nothing: float
    """What stands in `applied_` for what does not belong."""

    def start(self, ns: Namespace, n: int, like: Array) -> State:
        """An empty sum for each of n anchors."""

    def applied_(self, ns: Namespace, x: Array, times: float) -> Array:
        """What both passes start from, so that it may be kept; consumes `x`."""

    def doubled(self, ns: Namespace, y: Array, scratch: Scratch | None) -> Array:
        """`applied_` of twice the `times`, from y = `applied_` of x; `y` itself where that is the
        same."""

    def squared(
        self, ns: Namespace, states: tuple[State, ...], places: tuple[Any, ...]
    ) -> tuple[State, ...] | None:
        """The sums of exp(2 * times * x) from those of exp(times * x), where their terms are at
        hand."""

    def add_(
        self,
        ns: Namespace,
        states: tuple[State, ...],
        places: tuple[Any, ...],
        y: Array,
        times: float,
        scratch: Scratch | None,
        kept: bool,
    ) -> tuple[State, ...]:
        """Add exp(times * x) along the rows of a tile, and along its columns at a second place.

        `y` is `applied_` of x, and consumed unless it is to be kept.
        """

    def add_along_(
        self, ns: Namespace, state: State, block: Block, y: Array, axis: int, times: float
    ) -> State:
        """Add exp(times * x) along the rows of a tile, or its columns; consumes y = `applied_` of
        x."""

    def log(self, ns: Namespace, state: State, empty: float) -> LogSum:
        """Logarithms of the sums, `empty` for an empty one."""

    def weigh(self, ns: Namespace, slope: Array, log: LogSum) -> State:
        """Per-anchor factors slope / sum, precomputed for `coefficients`."""

    def coefficients(
        self,
        ns: Namespace,
        y: Array,
        times: float,
        row: State,
        column: State | None,
        scratch: Scratch | None,
        kept: bool,
    ) -> Array:
        """slope_i exp(times x_ij - log_i) + slope_j exp(times x_ij - log_j), the latter where it is
        given; consumes y = `applied_` of x. Where pass 1 has `kept` that, it is no longer in the
        cache, and to write beside it is quicker."""

    def coefficients_along(
        self, ns: Namespace, y: Array, times: float, state: State, axis: int
    ) -> Array:
        """The one part of `coefficients`, of the anchors along the rows or the columns."""


def exponentials_for(bound: float, itemsize: int, full: bool = False) -> Exponentials:
    """Direct where |times * logit| <= bound is safe, as NaN is not; `full`: no sum is empty."""
    if not bound <= SAFE[itemsize]:
        return STREAMING_FULL if full else STREAMING
    return DIRECT_FULL if full else DIRECT


class Direct:
    guarded: bool = False
    nothing: float = 0.0

    def __init__(self, full: bool) -> None:
        self._full = full

    def applied_(self, ns: Namespace, x: Array, times: float) -> Array:
        return ns.exp_(x if times == 1 else ns.mul_(x, times))

    def doubled(self, ns: Namespace, y: Array, scratch: Scratch | None) -> Array:
        return ns.times(y, y, scratch, "doubled")

    def squared(
        self, ns: Namespace, states: tuple[State, ...], places: tuple[Any, ...]
    ) -> tuple[State, ...] | None:
        return None

    def start(self, ns: Namespace, n: int, like: Array) -> State:
        return (ns.accumulator((n,), like),)

    def add_(
        self,
        ns: Namespace,
        states: tuple[State, ...],
        places: tuple[Any, ...],
        y: Array,
        times: float,
        scratch: Scratch | None,
        kept: bool,
    ) -> tuple[State, ...]:
        out = list(states)
        for (side, block), sums in zip(places, (ns.row_sums, ns.column_sums), strict=False):
            out[side] = (ns.add_rows_(out[side][0], block, sums(y)),)
        return tuple(out)

    def add_along_(
        self, ns: Namespace, state: State, block: Block, y: Array, axis: int, times: float
    ) -> State:
        sums = ns.column_sums(y) if axis else ns.row_sums(y)
        return (ns.add_rows_(state[0], block, sums),)

    def log(self, ns: Namespace, state: State, empty: float) -> LogSum:
        total = ns.accumulated(state[0])
        if self._full:
            return LogSum(None, ns.xp.log(total), total if ns.accelerated(total) else None)
        return LogSum(None, _log(ns, total, empty))

    def weigh(self, ns: Namespace, slope: Array, log: LogSum) -> State:
        if log.total is not None:
            return (slope / log.total,)
        return (slope / ns.xp.exp(log.log if self._full else ns.finite(log.log)),)

    def coefficients(
        self,
        ns: Namespace,
        y: Array,
        times: float,
        row: State,
        column: State | None,
        scratch: Scratch | None,
        kept: bool,
    ) -> Array:
        if column is None:
            return self.coefficients_along(ns, y, times, row, 0)
        outer = ns.outer_sum(row[0], column[0], scratch, "outer")
        return ns.mul_(outer, y) if kept else ns.mul_(y, outer)

    def coefficients_along(
        self, ns: Namespace, y: Array, times: float, state: State, axis: int
    ) -> Array:
        return ns.mul_(y, ns.xp.expand_dims(state[0], axis=1 - axis))


class Streaming:
    guarded: bool = True
    nothing: float = -float("inf")

    def __init__(self, full: bool) -> None:
        self._full = full

    def applied_(self, ns: Namespace, x: Array, times: float) -> Array:
        # Before rows that are no members are made -inf, which is what the largest never is.
        return _least_as_largest(ns, x, times)

    def doubled(self, ns: Namespace, y: Array, scratch: Scratch | None) -> Array:
        return y

    def squared(
        self, ns: Namespace, states: tuple[State, ...], places: tuple[Any, ...]
    ) -> tuple[State, ...] | None:
        if any(len(states[side]) < 3 for side, _ in places):
            return None
        out = list(states)
        for (side, _), sums in zip(places, (ns.row_sums, ns.column_sums), strict=False):
            peak, _, terms = states[side]
            terms = terms * terms
            out[side] = (peak, sums(terms), terms)
        return tuple(out)

    def start(self, ns: Namespace, n: int, like: Array) -> State:
        if ns.accelerated(like):
            return ns.accumulator((n,), like), ns.accumulator((n,), like)
        return nothing_yet(ns, n, like)

    def add_(
        self,
        ns: Namespace,
        states: tuple[State, ...],
        places: tuple[Any, ...],
        y: Array,
        times: float,
        scratch: Scratch | None,
        kept: bool,
    ) -> tuple[State, ...]:
        out = list(states)
        for axis, (side, block) in enumerate(places):
            last = axis == len(places) - 1
            beside = None if last and not kept else scratch
            if ns.untouched(out[side][0], block):
                out[side] = self._held(ns, y, 1 - axis, times)
            else:
                out[side] = self.absorb(ns, out[side], block, y, 1 - axis, times, beside)
        return tuple(out)

    def add_along_(
        self, ns: Namespace, state: State, block: Block, y: Array, axis: int, times: float
    ) -> State:
        return self.absorb(ns, state, block, y, 1 - axis, times)

    def _held(self, ns: Namespace, x: Array, axis: int, times: float) -> State:
        """The sums along an axis of a tile that holds them whole, and their terms."""
        peak = ns.xp.max(x, axis=axis)
        less = ns.xp.expand_dims(self._finite(ns, peak), axis=axis)
        terms = _exponentials(ns, x - less, times)
        return peak, ns.row_sums(terms) if axis == 1 else ns.column_sums(terms), terms

    def absorb(
        self,
        ns: Namespace,
        state: State,
        block: Block,
        x: Array,
        axis: int,
        times: float = 1.0,
        scratch: Scratch | None = None,
    ) -> State:
        """Add exp(times * x) along an axis, and rescale what was there to the new maximum.

        Consumes `x`, unless there is scratch to write beside it.
        """
        xp = ns.xp
        whole = ns.untouched(state[0], block)
        state = state if whole else self._begun(ns, state)
        peak = ns.stop_gradient(xp.max(x, axis=axis))
        if not whole:
            largest, total = (ns.rows(array, block) for array in state)
            peak = xp.maximum(largest, peak)
        # A row without members so far has the maximum -inf; any finite shift serves it.
        shift = ns.finite(peak)
        less = xp.expand_dims(shift, axis=axis)
        x = ns.sub_(x, less) if scratch is None else ns.minus(x, less, scratch, "guarded")
        e = _exponentials(ns, x, times)
        sums = ns.row_sums(e) if axis == 1 else ns.column_sums(e)
        if whole:
            return peak, sums
        total = total * xp.exp((largest - shift) * abs(times)) + sums
        return ns.set_rows_(state[0], block, peak), ns.set_rows_(state[1], block, total)

    def _begun(self, ns: Namespace, state: State) -> State:
        """The largest and the sums, of arrays."""
        if not ns.untouched(state[0]):
            return state[:2]
        zeros = ns.accumulated(state[0])
        return nothing_yet(ns, ns.shape(zeros)[0], zeros)

    def log(self, ns: Namespace, state: State, empty: float) -> LogSum:
        terms = state[2] if len(state) == 3 else None
        peak, total = self._begun(ns, state)
        log = ns.xp.log(total) if self._full else _log(ns, total, empty)
        return LogSum(peak, log, None if terms is None else total, terms, self._full)

    def weigh(self, ns: Namespace, slope: Array, log: LogSum) -> State:
        # The largest term of a sum is 1 beside its peak, so that no sum is below 1.
        if log.total is not None and self._full:
            factor = slope / log.total
        else:
            factor = slope * ns.xp.exp(-self._finite(ns, log.log))
        peak = self._finite(ns, log.peak)
        return (factor, peak) if log.terms is None else (factor, peak, log.terms)

    def _finite(self, ns: Namespace, x: Array) -> Array:
        return x if self._full else ns.finite(x)

    def coefficients(
        self,
        ns: Namespace,
        y: Array,
        times: float,
        row: State,
        column: State | None,
        scratch: Scratch | None,
        kept: bool,
    ) -> Array:
        alone = column is None
        slope, e = self._terms(
            ns, y, times, row, 0, scratch if kept or not alone else None, "guarded"
        )
        along = ns.mul_(e, slope)
        if column is None:
            return along
        slope, e = self._terms(ns, y, times, column, 1, scratch if kept else None, "outer")
        # In place one pass does both.
        if ns.in_place:
            return ns.add_times_(along, e, slope)
        return ns.add_(ns.mul_(e, slope), along)

    def coefficients_along(
        self, ns: Namespace, y: Array, times: float, state: State, axis: int
    ) -> Array:
        slope, e = self._terms(ns, y, times, state, axis, None, "")
        return ns.mul_(e, slope)

    def _terms(
        self,
        ns: Namespace,
        y: Array,
        times: float,
        state: State,
        axis: int,
        scratch: Scratch | None,
        key: str,
    ) -> tuple[Array, Array]:
        """Factors of the anchors along an axis, and what they multiply. Consumes `y`, unless there
        is scratch to write beside it."""
        slope, peak, *left = state
        slope = ns.xp.expand_dims(slope, axis=1 - axis)
        if left:
            return slope, left[0]
        peak = ns.xp.expand_dims(peak, axis=1 - axis)
        y = ns.sub_(y, peak) if scratch is None else ns.minus(y, peak, scratch, key)
        return slope, _exponentials(ns, y, times, slope)


def _least_as_largest(ns: Namespace, x: Array, times: float) -> Array:
    return x if times > 0 else ns.mul_(x, -1)


def _exponentials(ns: Namespace, x: Array, times: float, slope: Array | None = None) -> Array:
    return ns.exp_beside_one_(x if abs(times) == 1 else ns.mul_(x, abs(times)), slope)


DIRECT = Direct(full=False)
DIRECT_FULL = Direct(full=True)
STREAMING = Streaming(full=False)
STREAMING_FULL = Streaming(full=True)


def nothing_yet(ns: Namespace, n: int, like: Array) -> State:
    """An empty sum for each of n anchors, as `Streaming` holds it."""
    zeros = ns.zeros((n,), like)
    return zeros - float("inf"), ns.zeros((n,), like)


def relative(
    ns: Namespace, sums: tuple[Sum, ...], logs: tuple[LogSum, ...]
) -> tuple[Any, tuple[Array, ...]]:
    """A shift for each anchor, the largest of its peaks, and the logarithms of its sums of
    exp(times * (logit - shift))."""
    xp, none = ns.xp, -float("inf")
    peaks: list[Array] = [log.peak for log in logs]
    if peaks[0] is None:
        return 0.0, tuple(log.log for log in logs)
    if all(log.full and log.peak is peaks[0] for log in logs) and len(sums) > 1:
        return peaks[0], tuple(log.log for log in logs)
    if len(sums) == 1:
        shift = peaks[0] if logs[0].full else ns.finite(peaks[0])
        return shift if sums[0].times > 0 else -shift, (logs[0].log,)
    if all(s.times > 0 for s in sums):  # an empty one is below all others
        shift = ns.finite(reduce(xp.maximum, peaks))
        apart = [ns.finite(peak) - shift for peak in peaks]
        return shift, _less(sums, apart, logs)
    empty = [peak == none for peak in peaks]
    ends = [peak if s.times > 0 else -peak for s, peak in zip(sums, peaks, strict=True)]
    shift = xp.full_like(ends[0], none)
    for nobody, end in zip(empty, ends, strict=True):
        shift = xp.where(nobody, shift, xp.maximum(shift, end))
    shift = ns.finite(shift)
    apart = [xp.where(e, xp.zeros_like(x), x - shift) for e, x in zip(empty, ends, strict=True)]
    return shift, _less(sums, apart, logs)


def _less(sums: tuple[Sum, ...], apart: list[Array], logs: tuple[LogSum, ...]) -> tuple[Array, ...]:
    """Logarithms of sums whose peaks are so far from the shift."""
    each = zip(sums, apart, logs, strict=True)
    return tuple((x if s.times == 1 else s.times * x) + log.log for s, x, log in each)


def _log(ns: Namespace, total: Array, empty: float) -> Array:
    xp = ns.xp
    none = total == 0
    log = xp.log(xp.where(none, xp.ones_like(total), total))
    return xp.where(none, xp.full_like(total, empty), log)

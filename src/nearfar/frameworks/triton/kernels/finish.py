"""From the partial sums of pass 1 to losses and their slopes, O(n), in one launch."""

import triton
import triton.language as tl

from nearfar.frameworks.triton.kernels.layout import field, store_field
from nearfar.frameworks.triton.kernels.tile import parameter, unguarded


@triton.jit
def _together(a, b, guarded):
    """Two partial sums as one; guarded ones are logarithms to base 2."""
    if guarded:
        peak = tl.maximum(a, b)
        shift = tl.where(peak == float("-inf"), 0.0, peak)
        found = shift + tl.log2(tl.exp2(a - shift) + tl.exp2(b - shift))
    else:
        found = a + b
    return found


@triton.jit
def _merged(
    found, parts, k, columns, row, row_here, column, column_here, band, above, slots, width, room,
    guarded,
):  # fmt: skip
    """Partial sum k of these anchors added to `found`: the strips of their rows, then what `above`
    blocks of a band found for their columns."""
    nothing = tl.where(guarded, float("-inf"), 0.0)
    for c in range(0, slots):
        part = tl.load(parts + (k * slots + c) * width + row, mask=row_here, other=0.0)
        found = _together(found, tl.where(row_here, part, nothing), guarded)
    for b in range(0, above):
        part = tl.load(columns + (k * band + b) * room + column, mask=column_here, other=0.0)
        found = _together(found, tl.where(column_here, part, nothing), guarded)
    return found


@triton.jit
def conclude(
    vectors, weights, losses, log0, log1, linear, pair, t, index, at, here, side, size, n, total,
    alike, negatives,
    K: tl.constexpr, PAIRING: tl.constexpr, RULE: tl.constexpr, WEIGHED: tl.constexpr,
    EACH: tl.constexpr, FIRST: tl.constexpr, HAS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The rule's losses of BLOCK anchors, weighted and with EACH one by one, else summed up in
    `losses`, and its slopes. HAS: which slopes by linear sums, pairs and temperature there are."""
    count = tl.full([BLOCK], 1.0, tl.float32)
    others = count * negatives
    weight = count * alike
    if WEIGHED:
        weight = tl.load(weights + index, mask=here, other=0.0)
        count = tl.where(weight != 0, field(vectors, 13, total, at, here, 1.0), 1.0)
        others = negatives - count
    if FIRST:
        weight = tl.where(index % 2 == 0, weight, 0.0)
    weight = tl.where(here, weight, 0.0)
    counted = weight != 0
    loss, slope0, slope1, by_linear, by_pair, by_temperature = RULE(
        log0, log1, linear, pair, count, others, t
    )
    loss = tl.where(counted, loss * weight, 0.0)
    store_field(vectors, 8, total, at, here, tl.where(counted, slope0 * weight, 0.0))
    if K == 2:
        store_field(vectors, 9, total, at, here, tl.where(counted, slope1 * weight, 0.0))
    if HAS[0]:
        store_field(vectors, 10, total, at, here, tl.where(counted, by_linear * weight, 0.0))
    if HAS[1]:
        store_field(vectors, 11, total, at, here, tl.where(counted, by_pair * weight, 0.0))
    if HAS[2]:
        store_field(vectors, 12, total, at, here, tl.where(counted, by_temperature * weight, 0.0))
    if EACH:
        place = side * size + index
        if PAIRING == 0:
            place = index // 2 + (index % 2) * (n // 2)
            if FIRST:
                here = here & (index % 2 == 0)
        tl.store(losses + place, loss, mask=here)
    else:
        tl.store(losses + side * tl.num_programs(0) + tl.program_id(0), tl.sum(loss, 0))


@triton.jit(
    do_not_specialize=["n", "m", "first", "band", "left", "slots", "number", "alike", "negatives"]
)
def finish(
    parts, vectors, weights, temperature, bound, losses,
    n, m, second, total, first, band, left, slots, width: tl.int64, room: tl.int64,
    number, alike, negatives,
    K: tl.constexpr, SUMS: tl.constexpr, LINEAR: tl.constexpr, SYMMETRIC: tl.constexpr,
    PAIRING: tl.constexpr, GUARDED: tl.constexpr, DECIDE: tl.constexpr, TIMES: tl.constexpr,
    RULE: tl.constexpr, OPEN: tl.constexpr, CLOSE: tl.constexpr, CONCLUDE: tl.constexpr,
    LEARNED: tl.constexpr, WEIGHED: tl.constexpr, EACH: tl.constexpr, FIRST: tl.constexpr,
    HAS: tl.constexpr, BM: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (b, side): BLOCK anchors of the rows, or of the columns on a second side.

    Partial sums of a band are added to what the bands before it left in `vectors`, unless OPEN says
    that it is the first; CLOSE: it is the last, so sums become natural logarithms, -inf for an
    empty one over negatives and 0 over positives. CONCLUDE: nothing more has to be known for the
    rule. `number` is the temperature where the host knows it.
    """
    side = tl.program_id(1)
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    size = tl.where(side == 0, n, m)
    here = index < size
    at = index + tl.where(side == 0, 0, second)
    guarded = GUARDED
    if DECIDE != 0:
        guarded = unguarded(bound, TIMES, DECIDE) == 0
    columns = parts + (K + LINEAR) * slots * width
    row, column = index - first * BM, index - left * BM
    row_here = here & (row >= 0) & (row < width)
    column_here = here & (column >= 0) & (column < room)
    if SYMMETRIC:
        # The blocks of the band above these anchors' own have met them as columns.
        above = tl.minimum(tl.maximum((tl.program_id(0) * BLOCK) // BM - first, 0), band)
    else:
        above = tl.where(side == 0, 0, band)
        row_here = row_here & (side == 0)
        column_here = column_here & (side == 1)
    nothing = tl.zeros([BLOCK], tl.float32)
    log0, log1 = nothing, nothing
    for k in tl.static_range(K):
        if OPEN:
            found = nothing + tl.where(guarded, float("-inf"), 0.0)
        else:
            found = field(vectors, 4 + k, total, at, here, 0.0)
        found = _merged(
            found, parts, k, columns, row, row_here, column, column_here, band, above, slots,
            width, room, guarded,
        )  # fmt: skip
        if CLOSE:
            found = tl.where(guarded, found, tl.log2(found)) * 0.6931471805599453
            if SUMS[k][0] == 1:
                found = tl.where(found == float("-inf"), 0.0, found)
        store_field(vectors, 4 + k, total, at, here, found)
        if k == 0:
            log0 = found
        log1 = found
    if LINEAR:
        linear = nothing
        if not OPEN:
            linear = field(vectors, 3, total, at, here, 0.0)
        linear = _merged(
            linear, parts, K, columns, row, row_here, column, column_here, band, above, slots,
            width, room, False,
        )  # fmt: skip
        store_field(vectors, 3, total, at, here, linear)
    else:
        linear = field(vectors, 3, total, at, here, 0.0)
    if CONCLUDE:
        conclude(
            vectors, weights, losses, log0, log1, linear, nothing,
            parameter(temperature, number, LEARNED), index, at, here, side, size, n, total, alike,
            negatives, K, PAIRING, RULE, WEIGHED, EACH, FIRST, HAS, BLOCK,
        )  # fmt: skip

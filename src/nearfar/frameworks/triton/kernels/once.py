"""What one program does over all anchors: their weights, and the temperature's gradient."""

import triton
import triton.language as tl

from nearfar.frameworks.triton.kernels.layout import field, store_field


@triton.jit
def _term(vectors, at, n, total, others, PAIRS: tl.constexpr, NEGATIVES: tl.constexpr):
    """What anchors weigh before the mean, see `weigh_anchors`."""
    count = field(vectors, 13, total, at, at < n, 0.0)
    counted = count > 0
    if NEGATIVES:
        counted = counted & (others - count > 0)
    return tl.where(counted, count if PAIRS else 1.0, 0.0)


@triton.jit(do_not_specialize=["n", "others", "scale"])
def weigh_anchors(
    vectors, n, total, others, scale,
    MEAN: tl.constexpr, PAIRS: tl.constexpr, ZERO: tl.constexpr, NEGATIVES: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """WEIGHT of each anchor by its COUNT of positives, 0 where it has none, or with NEGATIVES no
    other among `others`. MEAN: over the anchors that count, with PAIRS over their positives, with
    ZERO over all anchors."""
    sums = tl.zeros([BLOCK], tl.float32)
    for j in range(0, tl.cdiv(n, BLOCK)):
        at = j * BLOCK + tl.arange(0, BLOCK)
        term = _term(vectors, at, n, total, others, PAIRS, NEGATIVES)
        if ZERO:
            term = tl.where(at < n, 1.0, 0.0)
        sums += term
    whole = tl.sum(sums, 0)
    factor = scale
    if MEAN:
        factor = scale / tl.where(whole > 0, whole, 1.0)
    for j in range(0, tl.cdiv(n, BLOCK)):
        at = j * BLOCK + tl.arange(0, BLOCK)
        term = _term(vectors, at, n, total, others, PAIRS, NEGATIVES)
        store_field(vectors, 15, total, at, at < n, term * factor)


@triton.jit
def by_temperature(
    vectors, temperature, upstream, out, total,
    OWN: tl.constexpr, RAISED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Minus the sum of ALONG by twice the temperature, to which it is homogeneous; with OWN the sum
    of TEMPERATURE_SLOPE besides, times a number from above if RAISED."""
    along = tl.zeros([BLOCK], tl.float32)
    own = tl.zeros([BLOCK], tl.float32)
    for j in range(0, tl.cdiv(total, BLOCK)):
        at = j * BLOCK + tl.arange(0, BLOCK)
        along += field(vectors, 14, total, at, at < total, 0.0)
        if OWN:
            own += field(vectors, 12, total, at, at < total, 0.0)
    slope = -tl.sum(along, 0) / (2 * tl.load(temperature).to(tl.float32))
    if OWN:
        more = tl.sum(own, 0)
        if RAISED:
            more = more * tl.load(upstream).to(tl.float32)
        slope += more
    tl.store(out, slope.to(out.dtype.element_ty))

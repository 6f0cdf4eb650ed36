"""What one tile of pairs is made of, for every kernel that meets one."""

import triton
import triton.language as tl

from nearfar.frameworks.triton.kernels.layout import field


@triton.jit
def unguarded(bound, TIMES: tl.constexpr, DECIDE: tl.constexpr):
    """Whether |times * logit| <= 40, so that exponentials are safe as they are.

    DECIDE 1: `bound` is a temperature, which unit rows make the inverse of the largest logit; 2: it
    is the largest squared length, in units of log 2. NaN is not safe.
    """
    found = tl.load(bound).to(tl.float32)
    if DECIDE == 1:
        largest = 1.0 / found
    else:
        largest = found * 0.6931471805599453
    return TIMES * largest <= 40.0


@triton.jit
def stand_aside(bound, TIMES: tl.constexpr, DECIDE: tl.constexpr, GUARDED: tl.constexpr):
    """Whether the other variant of a kernel is the one to run, which the device decides."""
    safe = unguarded(bound, TIMES, DECIDE)
    if GUARDED:
        found = safe
    else:
        found = safe == 0
    return found


@triton.jit
def parameter(given, number, LEARNED: tl.constexpr):
    """A temperature or bias: `given`, an array of the device, or a number that the host knows."""
    found = number
    if LEARNED:
        found = tl.load(given).to(tl.float32)
    return found


@triton.jit
def load_rows(rows, at, features, D: tl.constexpr, PIECES: tl.constexpr):
    """Rows of an array: three pieces of each, or the one there is three times."""
    of = rows + at.to(tl.int64)[:, None] * (PIECES * D) + features[None, :]
    first = tl.load(of)
    second, third = first, first
    if PIECES == 3:
        second, third = tl.load(of + D), tl.load(of + 2 * D)
    return first, second, third


@triton.jit
def add_products(dot, a, b, PIECES: tl.constexpr):
    """dot + <a_i, b_j>, exact but for float32 sums.

    A float32 is the sum of three bfloat16, whose products matrix units make exactly; of nine the
    three that are below the last bit of float32 are left out. Small ones come first.
    """
    if PIECES == 3:
        dot = tl.dot(a[2], tl.trans(b[0]), dot)
        dot = tl.dot(a[0], tl.trans(b[2]), dot)
        dot = tl.dot(a[1], tl.trans(b[1]), dot)
        dot = tl.dot(a[1], tl.trans(b[0]), dot)
        dot = tl.dot(a[0], tl.trans(b[1]), dot)
    return tl.dot(a[0], tl.trans(b[0]), dot)


@triton.jit
def products(
    rows, at, of, D: tl.constexpr, PIECES: tl.constexpr, BK: tl.constexpr, BM: tl.constexpr,
    BN: tl.constexpr,
):  # fmt: skip
    """<row_i, row_j> of a tile, by BK features at a time."""
    dot = tl.zeros([BM, BN], tl.float32)
    for k in range(0, D, BK):
        features = k + tl.arange(0, BK)
        a = load_rows(rows, at, features, D, PIECES)
        b = load_rows(rows, of, features, D, PIECES)
        dot = add_products(dot, a, b, PIECES)
    return dot


@triton.jit
def logits(dot, vectors, total, at, of, SQUARED: tl.constexpr):
    """x_ij of a tile from its products; with SQUARED minus the squared distances."""
    x = dot * field(vectors, 0, total, at, None, None)[:, None]
    x = x * field(vectors, 0, total, of, None, None)[None, :]
    if SQUARED:
        x = 2 * x - field(vectors, 2, total, at, None, None)[:, None]
        x = tl.minimum(x - field(vectors, 2, total, of, None, None)[None, :], 0.0)
    return x


@triton.jit
def class_of(codes, index, here, PAIRING: tl.constexpr):
    """What is equal for a row and its positives. PAIRING 0: the number of the pair, where rows 2k
    and 2k + 1 are two views; 1: a label; 2: the number of the row, on two sides; 3: nothing is.
    """
    found = index
    if PAIRING == 0:
        found = index // 2
    if PAIRING == 1:
        found = tl.load(codes + index, mask=here, other=0)
    return found


@triton.jit
def upstream_of(
    upstream, index, here, n, PAIRING: tl.constexpr, EACH: tl.constexpr, FIRST: tl.constexpr
):
    """What comes down to each anchor from above. EACH 0: one number for all; 2: nothing yet; 1: one
    for each, of n pairs those of the first view first, and with FIRST no others.
    """
    if EACH == 2:
        found = 1.0
    elif EACH == 1:
        if PAIRING == 0:
            if FIRST:
                here = here & (index % 2 == 0)
            index = index // 2 + (index % 2) * n
        found = tl.load(upstream + index, mask=here, other=0.0).to(tl.float32)
    else:
        found = tl.load(upstream).to(tl.float32)
    return found


@triton.jit
def members(
    ci, cj, at, index, here, there, OVER: tl.constexpr, PAIRING: tl.constexpr, SELF: tl.constexpr,
    SYMMETRIC: tl.constexpr, EDGE: tl.constexpr,
):  # fmt: skip
    """Who of a tile a sum is over: 0 negatives, 1 positives.

    With EDGE the tile may hold anchors themselves, which are in no sum (SELF 0), among the
    negatives (1) or the positives (2), and ends beyond the rows or columns there are. Anchors are
    told by their place, since a label that is NaN does not equal itself.
    """
    if OVER == 1:
        mine = ci[:, None] == cj[None, :]
    else:
        mine = ci[:, None] != cj[None, :]
    if PAIRING == 3:
        mine = (at[:, None] >= 0) & (index[None, :] >= 0)
    if EDGE:
        if SYMMETRIC:
            itself = at[:, None] == index[None, :]
            if SELF == OVER + 1:
                mine = mine | itself
            else:
                mine = mine & (itself == 0)
        mine = mine & here[:, None] & there[None, :]
    return mine


@triton.jit
def edges(block, start, end, n, m, PAIRING: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    """Of column blocks from `start` to `end` those that want masks: from `low` to `high` where they
    meet the rows of `block`, and from `full` on where the last one is ragged. Where the rows
    themselves are, all of them."""
    full = tl.where(m % BN == 0, end, tl.minimum(end, m // BN))
    full = tl.maximum(full, start)
    low = (block * BM) // BN
    high = tl.cdiv((block + 1) * BM, BN)
    if PAIRING == 3:
        high = low
    ragged = (block + 1) * BM > n
    low = tl.where(ragged, start, low)
    high = tl.where(ragged, full, high)
    low = tl.minimum(tl.maximum(low, start), full)
    return low, tl.minimum(tl.maximum(high, low), full), full


@triton.jit
def column_block(step, start, low, high, full, EDGE: tl.constexpr):
    """The number of the step-th column block: of those that `edges` names, or of all others."""
    if EDGE:
        j = tl.where(step < high - low, low + step, full)
    else:
        j = start + step
        j += tl.where(j >= low, high - low, 0)
    return j


@triton.jit
def softplus(x):
    """log(1 + exp(x)) and sigmoid(x), exact for small losses too, which log(1 + small) loses: what
    rounding left out of 1 + small is added to its logarithm."""
    small = tl.exp2(-tl.abs(x) * 1.4426950408889634)
    one = 1.0 + small
    inverse = 1.0 / one
    log = tl.log(one) + (small - (one - 1.0)) * inverse
    return tl.maximum(x, 0.0) + log, tl.where(x >= 0, 1.0, small) * inverse


@triton.jit
def sigmoid(x):
    small = tl.exp2(-tl.abs(x) * 1.4426950408889634)
    return tl.where(x >= 0, 1.0, small) / (1.0 + small)


@triton.jit
def log1p(x):
    """As in `softplus`."""
    one = 1.0 + x
    return tl.log(one) + (x - (one - 1.0)) / one


@triton.jit
def logaddexp(a, b):
    peak = tl.maximum(a, b)
    shift = tl.where(tl.abs(peak) == float("inf"), 0.0, peak)
    return shift + tl.log(tl.exp(a - shift) + tl.exp(b - shift))


@triton.jit
def matrix_bits(x):
    """The bits of a float32 that matrix units read."""
    return (x.to(tl.int32, bitcast=True) & -8192).to(tl.float32, bitcast=True)


@triton.jit
def leading(x):
    """The leading bits of x as bfloat16, and what is left of it; nothing is lost.

    By whole numbers: conversions run on the slow unit that exponentials need. Cut off, not rounded:
    0x8000 added to NVIDIA's NaN, 0x7fffffff, would make it -0.
    """
    bits = x.to(tl.int32, bitcast=True)
    top = (bits >> 16).to(tl.int16).to(tl.bfloat16, bitcast=True)
    return top, x - (bits & -65536).to(tl.float32, bitcast=True)


@triton.jit
def nearest(x):
    """x as bfloat16, to the nearest; for a last piece, whose NaN need not stay one."""
    bits = x.to(tl.int32, bitcast=True) + 32768
    return (bits >> 16).to(tl.int16).to(tl.bfloat16, bitcast=True)

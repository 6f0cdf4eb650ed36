"""The first and the last kernel: embeddings to rows, and the rows' gradient to the embeddings'."""

import triton
import triton.language as tl

from nearfar.frameworks.triton.kernels.layout import field, store_field
from nearfar.frameworks.triton.kernels.tile import (
    leading,
    matrix_bits,
    parameter,
    upstream_of,
)


@triton.jit
def entries(x, r, here, row_stride, feature_stride, features, d, centre, CENTRED: tl.constexpr):
    """Features of rows r as float32, 0 beyond the rows and the features there are."""
    inside = here[:, None] & (features < d)[None, :]
    at = r[:, None] * row_stride + features.to(tl.int64)[None, :] * feature_stride
    found = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    if CENTRED:
        middle = tl.load(centre + features, mask=features < d, other=0.0)
        found = tl.where(inside, found - middle[None, :], 0.0)
    return found


@triton.jit(do_not_specialize=["n", "d", "padded", "start0", "start1", "number"])
def prepare(
    x0, x1, rows, vectors, temperature, centre,
    row_stride0: tl.int64, row_stride1: tl.int64, feature_stride0, feature_stride1,
    n, d, padded, start0, start1, total, number,
    D: tl.constexpr, STEP: tl.constexpr, PARTS: tl.constexpr, LEARNED: tl.constexpr,
    COSINE: tl.constexpr, CENTRED: tl.constexpr, PARTNERS: tl.constexpr, PIECES: tl.constexpr,
    BM: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Rows r of one or two embeddings become rows start + STEP r: the same times a power of two,
    which rounds nothing and keeps squares inside float32; rows from n to `padded` are zero.

    One look for the largest entry and one to write; PARTNERS: the logit of each pair too. PIECES of
    D features: 1 as they are; 3 bfloat16 that add up to a float32; 4 float32 that matrix units read
    exactly, high, low, high, high, so that products of features 0 to 3 D with D to 4 D are high low
    + low high + high high.
    """
    r = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)
    here, room = r < n, r < padded
    t = parameter(temperature, number, LEARNED)
    # Logits in units of log 2: the root of log2(e) / t goes into each side.
    root = tl.sqrt_rn(tl.zeros([BM], tl.float32) + 1.4426950408889634 / t)
    down0, factor0 = root, root
    logit = tl.zeros([BM], tl.float32)
    for part in tl.static_range(PARTS):
        x = x0 if part == 0 else x1
        row_stride = row_stride0 if part == 0 else row_stride1
        feature_stride = feature_stride0 if part == 0 else feature_stride1
        at = (start0 if part == 0 else start1) + STEP * r
        if CENTRED:
            down = tl.full([BM], 1.0, tl.float32)  # distances compare rows of one scale
        else:
            top = tl.zeros([BM], tl.float32)
            for k in range(0, D, BK):
                features = k + tl.arange(0, BK)
                found = entries(x, r, here, row_stride, feature_stride, features, d, centre, False)
                top = tl.maximum(top, tl.max(tl.abs(found), 1))
            exponent = (tl.where(top == 0, 1.0, top).to(tl.int32, bitcast=True) >> 23) & 255
            exponent = tl.minimum(tl.maximum(exponent, 3), 250)
            down = ((254 - exponent) << 23).to(tl.float32, bitcast=True)
        square = tl.zeros([BM], tl.float32)
        for k in range(0, D, BK):
            features = k + tl.arange(0, BK)
            found = entries(x, r, here, row_stride, feature_stride, features, d, centre, CENTRED)
            found *= down[:, None]
            to = rows + at[:, None] * (PIECES * D) + features[None, :]
            if PIECES == 1:
                tl.store(to, found.to(rows.dtype.element_ty), mask=room[:, None])
            elif PIECES == 3:
                first, rest = leading(found)
                second, rest = leading(rest)
                third, rest = leading(rest)
                tl.store(to, first, mask=room[:, None])
                tl.store(to + D, second, mask=room[:, None])
                tl.store(to + 2 * D, third, mask=room[:, None])
            else:
                high = matrix_bits(found)
                low = matrix_bits(found - high)
                tl.store(to, high, mask=room[:, None])
                tl.store(to + D, low, mask=room[:, None])
                tl.store(to + 2 * D, high, mask=room[:, None])
                tl.store(to + 3 * D, high, mask=room[:, None])
            square += tl.sum(found * found, 1)
            if PARTNERS and part == 1:
                one = entries(
                    x0, r, here, row_stride0, feature_stride0, features, d, centre, CENTRED
                )
                if CENTRED:  # by differences, which keep the digits of near pairs
                    logit -= tl.sum((one - found) * (one - found), 1)
                else:
                    logit += tl.sum(one * down0[:, None] * found, 1)
        if COSINE:
            zero = square == 0
            factor = tl.where(zero, 0.0, root / tl.sqrt_rn(tl.where(zero, 1.0, square)))
        else:
            factor = root / down
        store_field(vectors, 0, total, at, room, factor)
        store_field(vectors, 1, total, at, room, factor * down)
        store_field(vectors, 2, total, at, room, factor * factor * square)
        # Sums over all rows are taken of these.
        store_field(vectors, 12, total, at, room & (r >= n), tl.zeros([BM], tl.float32))
        store_field(vectors, 14, total, at, room & (r >= n), tl.zeros([BM], tl.float32))
        if part == 0:
            down0, factor0 = down, factor
        elif PARTNERS:
            logit = logit * factor0 * factor * 0.6931471805599453
            store_field(vectors, 3, total, start0 + STEP * r, room, logit)
            store_field(vectors, 3, total, at, room, logit)


@triton.jit
def whole(rows, at, features, inside, D: tl.constexpr, PIECES: tl.constexpr):
    """Rows as `prepare` left them, in float32."""
    of = rows + at[:, None] * (PIECES * D) + features[None, :]
    found = tl.load(of, mask=inside, other=0.0).to(tl.float32)
    if PIECES > 1:
        found += tl.load(of + D, mask=inside, other=0.0).to(tl.float32)
    if PIECES == 3:
        found += tl.load(of + 2 * D, mask=inside, other=0.0).to(tl.float32)
    return found


@triton.jit(
    do_not_specialize=["n", "d", "splits", "start0", "start1", "row_stride0", "row_stride1"]
)
def restore(
    pulls, sums, rows, vectors, upstream, out0, out1, row_stride0, row_stride1,
    n, d, start0, start1, total, splits,
    D: tl.constexpr, STEP: tl.constexpr, DP: tl.constexpr, PARTS: tl.constexpr,
    PULLED: tl.constexpr, COSINE: tl.constexpr, SQUARED: tl.constexpr, PARTNERS: tl.constexpr,
    BOTH: tl.constexpr, SCALED: tl.constexpr, PIECES: tl.constexpr, RAISED: tl.constexpr,
    PAIRING: tl.constexpr, EACH: tl.constexpr, FIRST: tl.constexpr, BM: tl.constexpr,
):  # fmt: skip
    """Gradients of the embeddings from `pulls` (splits, total, D), sum_j g_ij f_j row_j, where g is
    the gradient by the logits; `sums` (splits, total) of g alone where distances need them.

    With u = f row and x_ij = <u_i, u_j> / ln 2: du_i = ln 2 sum_j g_ij u_j, and the embedding has
    (I - u u^T / |u|^2) du times f 2^k. PARTNERS: what flows between the rows of a pair comes here,
    as no tile has it, from anchors of both parts with BOTH. Of the parts PULLED have pulls at all.
    SCALED: these hold f_i too. RAISED: and what comes from above they do not.
    """
    r = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)
    here = r < n
    features = tl.arange(0, DP)
    inside = here[:, None] & (features < D)[None, :]
    for part in tl.static_range(PARTS):
        at = (start0 if part == 0 else start1) + STEP * r
        du = tl.zeros([BM, DP], tl.float32)
        g = tl.zeros([BM], tl.float32)
        if part < PULLED:
            for s in range(0, splits):
                of = s * total.to(tl.int64) + at
                of_row = of[:, None] * D + features[None, :]
                du += tl.load(pulls + of_row, mask=inside, other=0.0)
                if SQUARED:
                    g += tl.load(sums + of, mask=here, other=0.0)
        if RAISED:
            above = tl.load(upstream).to(tl.float32)
            du, g = du * above, g * above
        factor = field(vectors, 0, total, at, here, 0.0)
        if SCALED:
            du = du * tl.where(factor == 0, 0.0, 1.0 / tl.where(factor == 0, 1.0, factor))[:, None]
        row = whole(rows, at, features, inside, D, PIECES)
        u = row * factor[:, None]
        if PARTNERS:
            beside = (start1 if part == 0 else start0) + STEP * r
            index, mate_index = r, r
            if PAIRING == 0:
                index, mate_index = 2 * r + part, 2 * r + 1 - part
            w = tl.zeros([BM], tl.float32)
            if part == 0 or BOTH:
                up = upstream_of(upstream, index, here, n, PAIRING, EACH, FIRST)
                w += field(vectors, 10, total, at, here, 0.0) * up
            if part == 1 or BOTH:
                up = upstream_of(upstream, mate_index, here, n, PAIRING, EACH, FIRST)
                w += field(vectors, 10, total, beside, here, 0.0) * up
            other = whole(rows, beside, features, inside, D, PIECES)
            mate = field(vectors, 0, total, beside, here, 0.0)
            du += (w * mate)[:, None] * other
            g += w
        if SQUARED:
            du = 2 * (du - g[:, None] * u)
        du *= 0.6931471805599453
        along = tl.sum(u * du, 1)
        store_field(vectors, 14, total, at, here, along)
        if COSINE:
            square = tl.sum(u * u, 1)
            du -= u * (along / tl.where(square == 0, 1.0, square))[:, None]
        du *= field(vectors, 1, total, at, here, 0.0)[:, None]
        out = out0 if part == 0 else out1
        row_stride = row_stride0 if part == 0 else row_stride1
        to = out + r[:, None] * row_stride + features[None, :]
        tl.store(to, du.to(out.dtype.element_ty), mask=here[:, None] & (features < d)[None, :])

"""Pass 2: the gradient of the rows, from weights that live only in registers."""

import triton
import triton.language as tl

from nearfar.frameworks.triton.kernels.layout import field
from nearfar.frameworks.triton.kernels.tile import (
    add_products,
    class_of,
    column_block,
    edges,
    leading,
    load_rows,
    logits,
    members,
    nearest,
    products,
    softplus,
    stand_aside,
    upstream_of,
)


@triton.jit
def anchor(
    vectors, upstream, index, at, total, here, n, K: tl.constexpr, SUMS: tl.constexpr,
    LINEAR: tl.constexpr, PAIR: tl.constexpr, GUARDED: tl.constexpr, PAIRING: tl.constexpr,
    EACH: tl.constexpr, FIRST: tl.constexpr,
):  # fmt: skip
    """What anchors pull with, of which 0 where `here` is false.

    weight0, weight1: slope times / sum, or with GUARDED slope times, and log0, log1 to base 2. An
    empty sum is made infinite, so that nothing pulls. Then the linear sum's slope, that of the
    pairs, the first sum's logarithm and the aggregate of the pairs.
    """
    up = upstream_of(upstream, index, here, n, PAIRING, EACH, FIRST)
    natural = field(vectors, 4, total, at, here, float("inf"))
    log0 = natural * 1.4426950408889634
    log0 = tl.where(log0 == float("-inf"), float("inf"), log0)
    slope = field(vectors, 8, total, at, here, 0.0)
    pair, aggregate = slope, slope
    if PAIR != 0:
        pair = field(vectors, 11, total, at, here, 0.0)
        slope -= pair * field(vectors, 7, total, at, here, 0.0)
        pair *= up
        if PAIR == 2:
            aggregate = field(vectors, 6, total, at, here, 0.0)
    weight0 = slope * up * SUMS[0][1]
    weight1, log1 = weight0, log0
    if K == 2:
        log1 = field(vectors, 5, total, at, here, float("inf")) * 1.4426950408889634
        log1 = tl.where(log1 == float("-inf"), float("inf"), log1)
        weight1 = field(vectors, 9, total, at, here, 0.0) * up * SUMS[1][1]
    if not GUARDED:
        weight0 *= tl.exp2(-log0)
        if K == 2:
            weight1 *= tl.exp2(-log1)
    linear = weight0
    if LINEAR:
        linear = field(vectors, 10, total, at, here, 0.0) * up
    return weight0, weight1, log0, log1, linear, pair, natural, aggregate


@triton.jit
def _of_pair(x, log, slope, aggregate, PAIR: tl.constexpr):
    """Slope by a positive's logit of the function of the pair: 1 softplus(-u), summed; 2 the
    logarithm of the sum of exp(-softplus(-u)); u is the logit less the first sum's logarithm."""
    u = x * 0.6931471805599453 - log
    loss, down = softplus(-u)
    found = -down * slope
    if PAIR == 2:  # exp(phi - aggregate) phi'
        found = tl.exp(-loss - aggregate) * down * slope
    return found


@triton.jit
def gradient(
    x, a, b, ci, cj, at, index, here, there, K: tl.constexpr, SUMS: tl.constexpr,
    LINEAR: tl.constexpr, PAIR: tl.constexpr, GUARDED: tl.constexpr, PAIRING: tl.constexpr,
    SELF: tl.constexpr, SYMMETRIC: tl.constexpr, EDGE: tl.constexpr,
):  # fmt: skip
    """G of one tile, from what the anchors of its rows `a` and of its columns `b` pull with."""
    g = tl.zeros(x.shape, tl.float32)
    for k in tl.static_range(K):
        if PAIRING == 1 or EDGE or SUMS[k][0] == 0:
            w = a[k][:, None]
            v = b[k][None, :]
            y = x * SUMS[k][1]
            if GUARDED:
                part = w * tl.exp2(y - a[2 + k][:, None]) + v * tl.exp2(y - b[2 + k][None, :])
            else:
                part = tl.exp2(y) * (w + v)
            if PAIRING == 1 or EDGE:
                mine = members(
                    ci, cj, at, index, here, there, SUMS[k][0], PAIRING, SELF, SYMMETRIC, EDGE
                )
                part = tl.where(mine, part, 0.0)
            g += part
    if (PAIRING == 1 or EDGE) and (LINEAR or PAIR != 0):
        part = tl.zeros(x.shape, tl.float32)
        if LINEAR:
            part += a[4][:, None] + b[4][None, :]
        if PAIR != 0:
            part += _of_pair(x, a[6][:, None], a[5][:, None], a[7][:, None], PAIR)
            part += _of_pair(x, b[6][None, :], b[5][None, :], b[7][None, :], PAIR)
        mine = members(ci, cj, at, index, here, there, 1, PAIRING, SELF, SYMMETRIC, EDGE)
        g += tl.where(mine, part, 0.0)
    return g


@triton.jit
def add_flow(acc, g, q, PIECES: tl.constexpr, TERMS: tl.constexpr):
    """acc + g q, with g cut into pieces of half precision: three for rows of three, as in
    `add_products`, else so many TERMS."""
    if PIECES == 3:
        first, g = leading(g)
        second, g = leading(g)
        third, g = leading(g)
        acc = tl.dot(third, q[0], acc)
        acc = tl.dot(first, q[2], acc)
        acc = tl.dot(second, q[1], acc)
        acc = tl.dot(second, q[0], acc)
        acc = tl.dot(first, q[1], acc)
        acc = tl.dot(first, q[0], acc)
    else:
        for _ in tl.static_range(TERMS - 1):
            top, g = leading(g)
            acc = tl.dot(top, q[0], acc)
        acc = tl.dot(nearest(g), q[0], acc)
    return acc


@triton.jit(do_not_specialize=["n", "m", "per", "pairs"])
def pull(
    rows, vectors, codes, upstream, bound, pulls, sums, n, m, second, total, per, pairs,
    D: tl.constexpr, K: tl.constexpr, SUMS: tl.constexpr, LINEAR: tl.constexpr, PAIR: tl.constexpr,
    SYMMETRIC: tl.constexpr, BOTH: tl.constexpr, PAIRING: tl.constexpr, SELF: tl.constexpr,
    GUARDED: tl.constexpr, DECIDE: tl.constexpr, TIMES: tl.constexpr, SQUARED: tl.constexpr,
    EACH: tl.constexpr, FIRST: tl.constexpr, PIECES: tl.constexpr, TERMS: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Program (i, s, side): sum_j g_ij factor_j row_j for the i-th block of a side's rows, over the
    s-th part of `per` blocks of the columns; into pulls (splits, total, D).

    Of two sides the second has the first as its columns. BOTH: anchors stand on both; else the
    second side's rows are pulled only.
    """
    if DECIDE != 0:
        if stand_aside(bound, TIMES, DECIDE, GUARDED):
            return
    block, split, side = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    own = tl.where(side == 0, 0, second)
    other = own if SYMMETRIC else second - own
    if side == 1:
        n, m = m, n
    if block * BM < n:
        local = block * BM + tl.arange(0, BM)
        here = local < n
        at = own + local
        features = tl.arange(0, D)
        ci = class_of(codes, local, here, PAIRING)
        pulls_here = here if BOTH else here & (side == 0)
        a = anchor(
            vectors, upstream, local, at, total, pulls_here, pairs, K, SUMS, LINEAR, PAIR, GUARDED,
            PAIRING, EACH, FIRST,
        )  # fmt: skip
        if BK == D:
            p = load_rows(rows, at, features, D, PIECES)
        acc = tl.zeros([BM, D], tl.float32)
        gathered = tl.zeros([BM], tl.float32)
        start = split * per
        end = tl.minimum(start + per, tl.cdiv(m, BN))
        start = tl.minimum(start, end)
        low, high, full = edges(block, start, end, n, m, PAIRING, BM, BN)
        for phase in tl.static_range(2):
            steps = (high - low) + (end - full) if phase == 1 else (full - start) - (high - low)
            for step in range(0, steps):
                j = column_block(step, start, low, high, full, phase == 1)
                index = j * BN + tl.arange(0, BN)
                there = index < m
                of = other + index
                if BK == D:
                    q = load_rows(rows, of, features, D, PIECES)
                    dot = add_products(tl.zeros([BM, BN], tl.float32), p, q, PIECES)
                else:
                    dot = products(rows, at, of, D, PIECES, BK, BM, BN)
                x = logits(dot, vectors, total, at, of, SQUARED)
                cj = class_of(codes, index, there, PAIRING)
                pulls_there = there if BOTH else there & (side == 1)
                b = anchor(
                    vectors, upstream, index, of, total, pulls_there, pairs, K, SUMS, LINEAR, PAIR,
                    GUARDED, PAIRING, EACH, FIRST,
                )  # fmt: skip
                g = gradient(
                    x, a, b, ci, cj, local, index, here, there, K, SUMS, LINEAR, PAIR, GUARDED,
                    PAIRING, SELF, SYMMETRIC, phase == 1,
                )  # fmt: skip
                if SQUARED:
                    gathered += tl.sum(g, 1)
                g *= field(vectors, 0, total, of, None, None)[None, :]
                if BK != D:
                    q = load_rows(rows, of, features, D, PIECES)
                acc = add_flow(acc, g, q, PIECES, TERMS)
        place = split * total.to(tl.int64) + at
        tl.store(pulls + place[:, None] * D + features[None, :], acc)
        if SQUARED:
            tl.store(sums + place, gathered)

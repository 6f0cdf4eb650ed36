"""Pass 1: every declared sum of exp(times * logit), tile by tile, without an array of all pairs."""

import triton
import triton.language as tl

from nearfar.frameworks.triton.kernels.tile import (
    add_products,
    class_of,
    column_block,
    edges,
    load_rows,
    logits,
    members,
    products,
    stand_aside,
)


@triton.jit(do_not_specialize=["n", "m", "first", "band", "slots", "left"])
def accumulate(
    rows, vectors, given, codes, parts, bound, n, m, second, total, first, band, left, slots,
    width: tl.int64, room: tl.int64,
    D: tl.constexpr, K: tl.constexpr, SUMS: tl.constexpr, LINEAR: tl.constexpr,
    SYMMETRIC: tl.constexpr, COLUMNS: tl.constexpr, PAIRING: tl.constexpr, SELF: tl.constexpr,
    GUARDED: tl.constexpr, DECIDE: tl.constexpr, TIMES: tl.constexpr, SQUARED: tl.constexpr,
    GIVEN: tl.constexpr, PIECES: tl.constexpr, STRIP: tl.constexpr, BM: tl.constexpr,
    BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Program (i, c): block first + i of n rows against the c-th strip of m columns from block
    `left` on, STRIP blocks.

    Sums of the rows stay in registers over the strip; those of a tile's columns are stored at once.
    Every place of `parts` is written by one program, so there are no atomics and always the same
    bits: (K, slots, width) of the rows of a band, then (K, band, room) of the columns, where K
    counts the sums and, with LINEAR, that of the positives' logits. Guarded sums are left as
    logarithms to base 2. SYMMETRIC: rows are the columns, and the upper triangle of tiles serves
    both. GIVEN: products are read, (width, room), instead of made.
    """
    if DECIDE != 0:
        if stand_aside(bound, TIMES, DECIDE, GUARDED):
            return
    block = first + tl.program_id(0)
    at = block * BM + tl.arange(0, BM)
    here = at < n
    start = left + tl.program_id(1) * STRIP
    end = tl.minimum(start + STRIP, tl.cdiv(m, BN))
    if SYMMETRIC:
        start = tl.minimum(tl.maximum(start, block), end)
    ci = class_of(codes, at, here, PAIRING)
    total0 = tl.zeros([BM], tl.float32)
    total1 = tl.zeros([BM], tl.float32)
    peak0 = tl.full([BM], float("-inf"), tl.float32)
    peak1 = tl.full([BM], float("-inf"), tl.float32)
    linear = tl.zeros([BM], tl.float32)
    features = tl.arange(0, BK)
    if not GIVEN and BK == D:
        p = load_rows(rows, at, features, D, PIECES)
    columns = parts + (K + LINEAR) * slots * width + (block - first) * room - left * BN
    low, high, full = edges(block, start, end, n, m, PAIRING, BM, BN)
    for phase in tl.static_range(2):
        steps = (high - low) + (end - full) if phase == 1 else (full - start) - (high - low)
        for step in range(0, steps):
            j = column_block(step, start, low, high, full, phase == 1)
            index = j * BN + tl.arange(0, BN)
            there = index < m
            if GIVEN:
                local = (at - first * BM).to(tl.int64) * room - left * BN
                dot = tl.load(given + local[:, None] + index[None, :])
            elif BK == D:
                q = load_rows(rows, second + index, features, D, PIECES)
                dot = add_products(tl.zeros([BM, BN], tl.float32), p, q, PIECES)
            else:
                dot = products(rows, at, second + index, D, PIECES, BK, BM, BN)
            x = logits(dot, vectors, total, at, second + index, SQUARED)
            store = there
            if SYMMETRIC:
                store = there & (j > block)
            cj = class_of(codes, index, there, PAIRING)
            for k in tl.static_range(K):
                sums = tl.full([BN], float("-inf") if GUARDED else 0.0, tl.float32)
                if PAIRING == 1 or phase == 1 or SUMS[k][0] == 0:
                    y = x * SUMS[k][1]
                    if PAIRING == 1 or phase == 1:
                        mine = members(
                            ci, cj, at, index, here, there, SUMS[k][0], PAIRING, SELF, SYMMETRIC,
                            phase == 1,
                        )  # fmt: skip
                    if GUARDED:
                        if PAIRING == 1 or phase == 1:
                            y = tl.where(mine, y, float("-inf"))
                        old = peak0 if k == 0 else peak1
                        peak = tl.maximum(old, tl.max(y, 1))
                        shift = tl.where(peak == float("-inf"), 0.0, peak)
                        keep, added = tl.exp2(old - shift), tl.sum(tl.exp2(y - shift[:, None]), 1)
                        if k == 0:
                            total0, peak0 = total0 * keep + added, peak
                        else:
                            total1, peak1 = total1 * keep + added, peak
                        if COLUMNS:
                            top = tl.max(y, 0)
                            top = tl.where(top == float("-inf"), 0.0, top)
                            sums = top + tl.log2(tl.sum(tl.exp2(y - top[None, :]), 0))
                    else:
                        # Masked afterwards, so that sums over others share their exponentials.
                        e = tl.exp2(y)
                        if PAIRING == 1 or phase == 1:
                            e = tl.where(mine, e, 0.0)
                        if k == 0:
                            total0 += tl.sum(e, 1)
                        else:
                            total1 += tl.sum(e, 1)
                        if COLUMNS:
                            sums = tl.sum(e, 0)
                if COLUMNS:
                    tl.store(columns + k * band * room + index, sums, mask=store)
            if LINEAR:
                sums = tl.zeros([BN], tl.float32)
                if PAIRING == 1 or phase == 1:
                    mine = members(
                        ci, cj, at, index, here, there, 1, PAIRING, SELF, SYMMETRIC, phase == 1
                    )
                    chosen = tl.where(mine, x * 0.6931471805599453, 0.0)
                    linear += tl.sum(chosen, 1)
                    sums = tl.sum(chosen, 0)
                if COLUMNS:
                    tl.store(columns + K * band * room + index, sums, mask=store)
    place = parts + tl.program_id(1) * width + tl.program_id(0) * BM + tl.arange(0, BM)
    for k in tl.static_range(K):
        found = total0 if k == 0 else total1
        if GUARDED:
            peak = peak0 if k == 0 else peak1
            found = tl.where(peak == float("-inf"), 0.0, peak) + tl.log2(found)
        tl.store(place + k * slots * width, found)
    if LINEAR:
        tl.store(place + K * slots * width, linear)

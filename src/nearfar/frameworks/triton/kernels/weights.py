"""Rows of many features: products by the vendor's library, everything else in one kernel a tile.

A fused gradient keeps a block of rows times all features in registers, which many features do not
fit. Here a tile of products is an array, of `memory` bytes at most, and its weights another, whose
products with the rows serve both sides.
"""

import triton
import triton.language as tl

from nearfar.frameworks.triton.kernels.layout import field
from nearfar.frameworks.triton.kernels.pull import anchor, gradient
from nearfar.frameworks.triton.kernels.sigmoid import each_pair
from nearfar.frameworks.triton.kernels.tile import (
    class_of,
    leading,
    logits,
    matrix_bits,
    nearest,
    parameter,
    stand_aside,
    upstream_of,
)


@triton.jit
def store_terms(high, low, g, place):
    """A weight as the sum of two that matrix units read exactly."""
    if high.dtype.element_ty == tl.float32:
        top = matrix_bits(g)
        rest = matrix_bits(g - top)
    else:
        top, rest = leading(g)
        rest = nearest(rest)
    tl.store(high + place, top)
    tl.store(low + place, rest)


@triton.jit(do_not_specialize=["n", "m", "top", "left", "pairs"])
def weigh_pairs(
    products, vectors, codes, upstream, bound, high, low, n, m, second, total, top, left, pairs,
    room: tl.int64, K: tl.constexpr, SUMS: tl.constexpr, LINEAR: tl.constexpr,
    SYMMETRIC: tl.constexpr, BOTH: tl.constexpr, PAIRING: tl.constexpr, SELF: tl.constexpr,
    GUARDED: tl.constexpr, DECIDE: tl.constexpr, TIMES: tl.constexpr, EACH: tl.constexpr,
    FIRST: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Program (i, j): g_ij factor_i factor_j of a part of a tile, rows from `top` and columns from
    `left` on, from its products (rows, room)."""
    if DECIDE != 0:
        if stand_aside(bound, TIMES, DECIDE, GUARDED):
            return
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    column = tl.program_id(1) * BN + tl.arange(0, BN)
    at, index = top + row, left + column
    here, there = at < n, index < m
    place = row.to(tl.int64)[:, None] * room + column[None, :]
    of = second + index
    dot = tl.load(products + place)
    x = logits(dot, vectors, total, at, of, False)
    a = anchor(
        vectors, upstream, at, at, total, here, pairs, K, SUMS, LINEAR, 0, GUARDED, PAIRING, EACH,
        FIRST,
    )  # fmt: skip
    pulls_there = there if BOTH else there & (index < 0)
    b = anchor(
        vectors, upstream, index, of, total, pulls_there, pairs, K, SUMS, LINEAR, 0, GUARDED,
        PAIRING, EACH, FIRST,
    )  # fmt: skip
    ci, cj = class_of(codes, at, here, PAIRING), class_of(codes, index, there, PAIRING)
    g = gradient(
        x, a, b, ci, cj, at, index, here, there, K, SUMS, LINEAR, 0, GUARDED, PAIRING, SELF,
        SYMMETRIC, True,
    )  # fmt: skip
    g *= field(vectors, 0, total, at, None, None)[:, None]
    g *= field(vectors, 0, total, of, None, None)[None, :]
    store_terms(high, low, g, place)


@triton.jit(do_not_specialize=["n", "top", "left", "columns", "alike", "number"])
def weigh_sigmoid(
    products, vectors, upstream, bias, high, low, losses, sums, n, second, total, top, left,
    columns, room: tl.int64, alike, number,
    PULL: tl.constexpr, LEARNED: tl.constexpr, EACH: tl.constexpr, BM: tl.constexpr,
    BN: tl.constexpr,
):  # fmt: skip
    """As `weigh_pairs`, program i for all columns of a tile: losses of the rows and row sums of the
    slopes are added to `losses` and `sums` (n,)."""
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    at = top + row
    here = at < n
    b = parameter(bias, number, LEARNED)
    weight = upstream_of(upstream, at, here, n, 2, EACH, False) * alike
    found = tl.zeros([BM], tl.float32)
    gathered = tl.zeros([BM], tl.float32)
    for j in range(0, tl.cdiv(columns, BN)):
        column = j * BN + tl.arange(0, BN)
        index = left + column
        place = row.to(tl.int64)[:, None] * room + column[None, :]
        dot = tl.load(products + place)
        x = logits(dot, vectors, total, at, second + index, False)
        loss, g = each_pair(x, b, at, index, here, index < n, True, True)
        found += tl.sum(loss, 1)
        if PULL:
            if EACH == 1:
                g *= weight[:, None]
            else:
                g *= weight
            gathered += tl.sum(g, 1)
            g *= field(vectors, 0, total, at, None, None)[:, None]
            g *= field(vectors, 0, total, second + index, None, None)[None, :]
            store_terms(high, low, g, place)
    tl.store(losses + at, tl.load(losses + at, mask=here, other=0.0) + found * alike, mask=here)
    if PULL:
        tl.store(sums + at, tl.load(sums + at, mask=here, other=0.0) + gathered, mask=here)

"""SigLIP's losses and gradient in one pass: no sum has to be complete first."""

import triton
import triton.language as tl

from nearfar.frameworks.triton.kernels.pull import add_flow
from nearfar.frameworks.triton.kernels.tile import (
    add_products,
    column_block,
    edges,
    load_rows,
    logits,
    parameter,
    products,
    sigmoid,
    softplus,
    upstream_of,
)


@triton.jit
def each_pair(x, bias, local, index, here, there, LOSS: tl.constexpr, EDGE: tl.constexpr):
    """softplus(logit) of negatives and softplus(-logit) of the positive, and their slopes."""
    z = x * 0.6931471805599453 + bias
    if EDGE:
        positive = local[:, None] == index[None, :]
        z = tl.where(positive, -z, z)
    if LOSS:
        loss, slope = softplus(z)
    else:
        loss, slope = z, sigmoid(z)
    if EDGE:
        slope = tl.where(positive, -slope, slope)
        inside = here[:, None] & there[None, :]
        loss, slope = tl.where(inside, loss, 0.0), tl.where(inside, slope, 0.0)
    return loss, slope


@triton.jit(do_not_specialize=["n", "per", "alike", "number"])
def pull_sigmoid(
    rows, vectors, upstream, bias, pulls, sums, losses, n, second, total, per, alike, number,
    D: tl.constexpr, SIDE: tl.constexpr, PULL: tl.constexpr, LEARNED: tl.constexpr,
    SQUARED: tl.constexpr, EACH: tl.constexpr, PIECES: tl.constexpr, TERMS: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Program (i, s) as of `pull`, for one SIDE; the first has losses of its rows, in `losses`
    (splits, n), and row sums of the slopes go to `sums`. A query weighs `alike` times its upstream;
    the second side's rows are candidates. Without PULL losses only.
    """
    block, split = tl.program_id(0), tl.program_id(1)
    own = 0 if SIDE == 0 else second
    other = second if SIDE == 0 else 0
    local = block * BM + tl.arange(0, BM)
    here = local < n
    at = own + local
    features = tl.arange(0, D)
    if BK == D:
        p = load_rows(rows, at, features, D, PIECES)
    b = parameter(bias, number, LEARNED)
    weight = upstream_of(upstream, local, here, n, 2, EACH, False) * alike
    acc = tl.zeros([BM, D], tl.float32)
    gathered = tl.zeros([BM], tl.float32)
    found = tl.zeros([BM], tl.float32)
    end = tl.minimum(split * per + per, tl.cdiv(n, BN))
    start = tl.minimum(split * per, end)
    low, high, full = edges(block, start, end, n, n, 2, BM, BN)
    for phase in tl.static_range(2):
        steps = (high - low) + (end - full) if phase == 1 else (full - start) - (high - low)
        for step in range(0, steps):
            j = column_block(step, start, low, high, full, phase == 1)
            index = j * BN + tl.arange(0, BN)
            of = other + index
            if BK == D:
                q = load_rows(rows, of, features, D, PIECES)
                dot = add_products(tl.zeros([BM, BN], tl.float32), p, q, PIECES)
            else:
                dot = products(rows, at, of, D, PIECES, BK, BM, BN)
            x = logits(dot, vectors, total, at, of, SQUARED)
            loss, g = each_pair(x, b, local, index, here, index < n, SIDE == 0, phase == 1)
            if SIDE == 0:
                found += tl.sum(loss, 1)
            if PULL:
                if EACH == 1:
                    column = upstream_of(upstream, index, index < n, n, 2, EACH, False) * alike
                    g *= weight[:, None] if SIDE == 0 else column[None, :]
                gathered += tl.sum(g, 1)
                g *= tl.load(vectors + of)[None, :]
                if BK != D:
                    q = load_rows(rows, of, features, D, PIECES)
                acc = add_flow(acc, g, q, PIECES, TERMS)
    if SIDE == 0:
        tl.store(losses + split * n.to(tl.int64) + local, found * alike, mask=here)
    if PULL:
        if EACH != 1:
            acc *= weight
            gathered *= weight
        place = split * total.to(tl.int64) + at
        tl.store(pulls + place[:, None] * D + features[None, :], acc)
        tl.store(sums + place, gathered)

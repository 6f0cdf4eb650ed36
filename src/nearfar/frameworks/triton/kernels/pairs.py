"""What needs a look at labels or at each positive pair apart."""

import triton
import triton.language as tl

from nearfar.frameworks.triton.kernels.finish import conclude
from nearfar.frameworks.triton.kernels.layout import field, store_field
from nearfar.frameworks.triton.kernels.tile import logits, members, parameter, products, softplus


@triton.jit(do_not_specialize=["n", "itself"])
def count(codes, vectors, n, total, itself, BM: tl.constexpr, BN: tl.constexpr):
    """How many rows share each row's label, plus `itself`, into COUNT."""
    at = tl.program_id(0) * BM + tl.arange(0, BM)
    here = at < n
    mine = tl.load(codes + at, mask=here, other=0)
    found = tl.zeros([BM], tl.float32)
    for j in range(0, tl.cdiv(n, BN)):
        index = j * BN + tl.arange(0, BN)
        there = index < n
        other = tl.load(codes + index, mask=there, other=0)
        same = (mine[:, None] == other[None, :]) & there[None, :]
        found += tl.sum(tl.where(same & (at[:, None] != index[None, :]), 1.0, 0.0), 1)
    store_field(vectors, 13, total, at, here, found + itself)


@triton.jit(do_not_specialize=["n", "number", "negatives"])
def aggregate(
    rows, vectors, codes, weights, temperature, losses, n, total, number, negatives,
    D: tl.constexpr, K: tl.constexpr, PAIR: tl.constexpr, SELF: tl.constexpr, SQUARED: tl.constexpr,
    RULE: tl.constexpr, LEARNED: tl.constexpr, EACH: tl.constexpr, HAS: tl.constexpr,
    PIECES: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Of each anchor the aggregate of phi(u) over its positives, u = logit - log of the first sum,
    into PAIR, and what phi'(u) adds up to under it into PAIR_SLOPE; then its loss and slopes.

    PAIR 1: the sum of phi = softplus(-u); 2: the logarithm of the sum of exp(phi), phi =
    -softplus(-u).
    """
    at = tl.program_id(0) * BM + tl.arange(0, BM)
    here = at < n
    ci = tl.load(codes + at, mask=here, other=0)
    log = field(vectors, 4, total, at, here, 0.0)
    sums = tl.zeros([BM], tl.float32)
    slopes = tl.zeros([BM], tl.float32)
    peak = tl.full([BM], float("-inf"), tl.float32)
    for j in range(0, tl.cdiv(n, BN)):
        index = j * BN + tl.arange(0, BN)
        there = index < n
        cj = tl.load(codes + index, mask=there, other=0)
        dot = products(rows, at, index, D, PIECES, BK, BM, BN)
        x = logits(dot, vectors, total, at, index, SQUARED)
        mine = members(ci, cj, at, index, here, there, 1, 1, SELF, True, True)
        u = x * 0.6931471805599453 - log[:, None]
        loss, down = softplus(-u)
        if PAIR == 1:
            sums += tl.sum(tl.where(mine, loss, 0.0), 1)
            slopes -= tl.sum(tl.where(mine, down, 0.0), 1)
        else:
            phi = tl.where(mine, -loss, float("-inf"))
            top = tl.maximum(peak, tl.max(phi, 1))
            shift = tl.where(top == float("-inf"), 0.0, top)
            e = tl.exp(phi - shift[:, None])
            keep = tl.exp(peak - shift)
            sums = sums * keep + tl.sum(e, 1)
            slopes = slopes * keep + tl.sum(tl.where(mine, e * down, 0.0), 1)
            peak = top
    if PAIR == 2:
        none = sums == 0
        slopes = tl.where(none, 0.0, slopes / tl.where(none, 1.0, sums))
        shift = tl.where(peak == float("-inf"), 0.0, peak)
        sums = tl.where(none, 0.0, shift + tl.log(tl.where(none, 1.0, sums)))
    store_field(vectors, 6, total, at, here, sums)
    store_field(vectors, 7, total, at, here, slopes)
    conclude(
        vectors, weights, losses, log, field(vectors, 4 + K - 1, total, at, here, 0.0),
        field(vectors, 3, total, at, here, 0.0), sums, parameter(temperature, number, LEARNED),
        at, at, here, 0, n, n, total, 0.0, negatives, K, 1, RULE, True, EACH, False, HAS, BM,
    )  # fmt: skip

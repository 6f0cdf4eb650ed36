"""Where the kernels keep what they know of every row.

The rows of all sides stand in one array `rows` (total, D): a side begins at a multiple of `ROWS`,
two views are interleaved, so that partners stand side by side. What is known of a row are numbers
in `vectors`, one float32 array (FIELDS, total), since each further array costs a launch or an
allocation. Logits are in units of log 2 inside a kernel, x = logit log2(e), and natural in
`vectors`.
"""

import triton
import triton.language as tl

ROWS = 128
"""Sides are padded to multiples of it; padding is zero rows."""

# Fields of `vectors`; kernels name them by number.
FACTOR = 0  # x_ij = factor_i factor_j <row_i, row_j>
OUT = 1  # what a gradient of factor times row is multiplied by to be one of the embedding
SQUARE = 2  # squared length of factor times row
LINEAR = 3  # sum of the positives' logits
LOG = 4  # logarithms of the sums, two of them
PAIR = 6  # aggregate of the function of each positive pair
PAIR_SLOPE = 7  # by what the first sum's logarithm moves that aggregate
SLOPE = 8  # weighted derivatives of the anchors' losses by their sums' logarithms, two of them
LINEAR_SLOPE = 10
OF_PAIR_SLOPE = 11
TEMPERATURE_SLOPE = 12  # what does not come through the logits
COUNT = 13  # positives
ALONG = 14  # inner product of a row with its gradient, of which the temperature's is made
WEIGHT = 15  # of an anchor, by labels
FIELDS = 16


@triton.jit
def field(vectors, number: tl.constexpr, total, at, here, other: tl.constexpr):
    """Entries `at` of a field, `other` where `here` is false."""
    return tl.load(vectors + number * total + at, mask=here, other=other)


@triton.jit
def store_field(vectors, number: tl.constexpr, total, at, here, values):
    tl.store(vectors + number * total + at, values, mask=here)

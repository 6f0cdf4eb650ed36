"""What the kernels are asked to compute, as plain data."""

from typing import NamedTuple

import torch


class Asked(NamedTuple):
    """A partition rule's sums over one set of rows, or two sides."""

    similarity: str  # "cosine", "dot", "neg_sqeuclidean"
    pairing: str  # "views", "labels", "matched": who is whose positive; "batch", "shared": queries
    sums: tuple[tuple[int, float], ...]
    """(over, times) of each: 0 negatives, 1 positives."""
    linear: bool
    """Whether the sum of the positives' logits is wanted."""
    pair: int  # a function of each positive: 0 none, 1 softplus summed, 2 log-sigmoid, log-summed
    include_self: int  # 0 in no sum, 1 with the negatives, 2 with the positives
    first_only: bool = False
    """Whether the first view's rows are the only anchors."""

    @property
    def two_sides(self) -> bool:
        return self.pairing not in ("views", "labels")

    @property
    def both(self) -> bool:
        """Whether anchors stand on both sides; else the first side's rows are the only ones."""
        return self.pairing not in ("batch", "shared")

    @property
    def partnered(self) -> bool:
        """Whether an anchor's positive is found by its place, without tiles."""
        return self.pairing != "labels" and self.include_self != 2

    @property
    def code(self) -> int:
        """The kernels' PAIRING."""
        return {"views": 0, "labels": 1, "matched": 2, "batch": 2, "shared": 3}[self.pairing]


class Shape(NamedTuple):
    """Of a kernel's tiles: rows, columns, features at a time; warps and pipeline stages."""

    rows: int
    columns: int
    features: int
    warps: int
    stages: int


class Shapes(NamedTuple):
    sums: Shape
    pull: Shape
    each: Shape
    """Where a pair has a function of its own or terms of two sums, which want registers."""
    pieces: int
    """Arrays that a row is kept in: see `kernels.rows.prepare`."""
    terms: int
    """Pieces of half precision that a weight is cut into, where rows are one."""


def padded_features(d: int) -> int:
    return max(16, 1 << (d - 1).bit_length())


def shapes_for(dtype: torch.dtype, width: int, labels: bool) -> Shapes:
    """The fastest of 26 tried on an H200 at 32,768 rows of 128; other devices get the same.

    With labels two masked sums of a tile of 128 rows do not fit into registers.
    """
    half = dtype == torch.bfloat16
    if half and width <= 128:
        sums, pull, each = (128, 128, width, 8, 3), (64, 128, width, 4, 2), (64, 64, width, 4, 3)
    elif half:
        sums, pull, each = (128, 128, width, 8, 2), (128, 64, width, 8, 2), (64, 32, width, 4, 2)
    elif width <= 128:
        sums, pull = (128, 128, min(width, 64), 8, 2), (128, 32, width, 8, 2)
        each = (64, 32, width, 4, 2)
    else:
        sums, pull, each = (64, 64, 64, 4, 3), (64, 32, 64, 4, 2), (64, 32, 64, 4, 2)
    if labels and sums[0] == 128:
        sums = (64, 64, sums[2], 4, sums[4])
    return Shapes(Shape(*sums), Shape(*pull), Shape(*each), *((1, 2) if half else (3, 3)))


def cdiv(a: int, b: int) -> int:
    return -(-a // b)


def up(n: int, step: int = 128) -> int:
    return cdiv(n, step) * step

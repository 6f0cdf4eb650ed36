"""Logarithms of sums that stay finite where exp overflows or underflows."""

import math


def log_sum_exp(logits: list[float]) -> float:
    """log(sum of exp(logits)); minus infinity for an empty list."""
    if not logits:
        return -math.inf
    largest = max(logits)
    return largest + math.log(math.fsum(math.exp(z - largest) for z in logits))


def softplus(x: float) -> float:
    """log(1 + exp(x)), which keeps its digits where the result is small."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))

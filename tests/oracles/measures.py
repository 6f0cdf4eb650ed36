"""Distances and divergences as float64 loops over nested lists."""

import math


def distance(metric, x, y, p=2) -> float:
    e = [abs(u - v) for u, v in zip(x, y, strict=True)]
    if metric == "cosine":
        norms = math.hypot(*x) * math.hypot(*y)
        dot = math.fsum(u * v for u, v in zip(x, y, strict=True))
        return 1 - dot / norms if norms > 0 else 1.0
    if metric == "hamming":
        return sum(u != v for u, v in zip(x, y, strict=True)) / len(e)
    if metric == "minkowski":
        return math.fsum(u**p for u in e) ** (1 / p)
    return {
        "euclidean": lambda: math.hypot(*e),
        "sqeuclidean": lambda: math.fsum(u * u for u in e),
        "cityblock": lambda: math.fsum(e),
        "chebyshev": lambda: max(e),
    }[metric]()


def pairwise(a, b, metric, p=2) -> list[list[float]]:
    return [[distance(metric, x, y, p) for y in b] for x in a]


def paired(a, b, metric, p=2) -> list[float]:
    return [distance(metric, x, y, p) for x, y in zip(a, b, strict=True)]


def kl(p, q) -> list[float]:
    return [math.fsum(map(_relative, x, y)) for x, y in zip(p, q, strict=True)]


def entropy(p) -> list[float]:
    return cross_entropy(p, p)


def cross_entropy(p, q) -> list[float]:
    return [math.fsum(map(_information, x, y)) for x, y in zip(p, q, strict=True)]


def binary_cross_entropy(y, q) -> list[list[float]]:
    return [
        [_information(t, r) + _information(1 - t, 1 - r) for t, r in zip(u, v, strict=True)]
        for u, v in zip(y, q, strict=True)
    ]


def binary_cross_entropy_from_logits(y, x) -> list[list[float]]:
    return binary_cross_entropy(y, [[1 / (1 + math.exp(-u)) for u in row] for row in x])


def softmax_cross_entropy(logits, target) -> list[float]:
    """Class numbers or rows of probabilities."""
    losses = []
    for x, t in zip(logits, target, strict=True):
        weights = t if isinstance(t, list) else [float(k == t) for k in range(len(x))]
        total = math.log(math.fsum(map(math.exp, x)))
        losses.append(math.fsum(w * (total - u) for w, u in zip(weights, x, strict=True)))
    return losses


def reduce(values, reduction):
    if reduction == "none":
        return values
    flat = [x for row in values for x in (row if isinstance(row, list) else [row])]
    return math.fsum(flat) / (len(flat) if reduction == "mean" else 1)


def _information(p, q) -> float:
    if p == 0:
        return 0.0
    return -p * math.log(q) if q > 0 else math.inf


def _relative(p, q) -> float:
    if p == 0:
        return 0.0
    return p * math.log(p / q) if q > 0 else math.inf

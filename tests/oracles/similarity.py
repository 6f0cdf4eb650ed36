"""Similarities of two vectors: higher is closer."""

import math


def dot(u, v) -> float:
    return math.fsum(x * y for x, y in zip(u, v, strict=True))


def cosine(u, v) -> float:
    """A vector without direction has similarity 0 to everything, itself included."""
    u, v = _scaled(u), _scaled(v)
    norms = math.hypot(*u) * math.hypot(*v)
    return dot(u, v) / norms if norms > 0 else 0.0


def neg_euclidean(u, v) -> float:
    return -math.dist(u, v)


def neg_sqeuclidean(u, v) -> float:
    return -math.fsum((x - y) ** 2 for x, y in zip(u, v, strict=True))


def _scaled(u) -> list[float]:
    # Products of entries near 1e-200 or 1e200 leave float64; the direction has no scale.
    largest = max(abs(x) for x in u)
    return [x / largest for x in u] if largest > 0 else list(u)


SIMILARITIES = {
    "cosine": cosine,
    "dot": dot,
    "neg_euclidean": neg_euclidean,
    "neg_sqeuclidean": neg_sqeuclidean,
}

"""Similarities of rows: made ready, a tile of logits, and the tile's gradient back to the rows.

The temperature is folded into the rows. Every similarity is homogeneous: with the rows of both
sides multiplied by c, inner products and squared distances grow by c**2, distances by c. Rows
multiplied by temperature**(-1/degree) therefore have logits for similarities, and by Euler's
theorem the derivative by the temperature is -<rows, gradient> / (degree temperature).
"""

from nearfar.similarity.base import (
    Diagonal,
    PairWeights,
    PairwiseDifferences,
    Place,
    Rows,
    Similarity,
    Tile,
)
from nearfar.similarity.euclidean import NegEuclidean, NegSqeuclidean
from nearfar.similarity.features import NegChebyshev, NegCityblock, NegHamming
from nearfar.similarity.inner import Cosine, Dot, NegCosineDistance

SIMILARITIES: dict[str, Similarity] = {
    "cosine": Cosine(),
    "dot": Dot(),
    "neg_euclidean": NegEuclidean(),
    "neg_sqeuclidean": NegSqeuclidean(),
}

DISTANCES: dict[str, Similarity] = {
    "euclidean": NegEuclidean(),
    "sqeuclidean": NegSqeuclidean(),
    "cityblock": NegCityblock(),
    "chebyshev": NegChebyshev(),
    "minkowski": NegEuclidean(),
    "cosine": NegCosineDistance(),
    "hamming": NegHamming(),
}
"""Minus each distance of `nearfar.distances`, "minkowski" with its default p = 2."""

__all__ = [
    "DISTANCES",
    "SIMILARITIES",
    "Cosine",
    "Diagonal",
    "Dot",
    "PairWeights",
    "PairwiseDifferences",
    "Place",
    "Rows",
    "Similarity",
    "Tile",
]

"""Triplets that are given: anchor, positive, negative."""

from nearfar.losses.families import GivenTriplets
from nearfar.losses.fields import choice, from_zero
from nearfar.rules import Hinge
from nearfar.similarity import DISTANCES


class Triplet(GivenTriplets):
    """The positive has to be nearer to the anchor than the negative, by a margin.

    Formula: L = 1/N sum_i max(0, d(a_i, p_i) - d(a_i, n_i) + margin).

    Source: Schroff et al. 2015, FaceNet: A Unified Embedding for Face Recognition and Clustering,
    arXiv 1503.03832, eq. 3 (a sum there), with distance="sqeuclidean".

    Call ``loss(anchor, positive, negative)``: three arrays (N, d) whose rows are matched. Rows are
    taken as they are; FaceNet's are unit rows.

    ``sample_weight=`` (N,) says how much each of the triplets counts; a mean is divided by the sum
    of the weights of those that count.

    Range: from 0 up; where all distances are equal it is `margin`. A triplet that keeps the margin
    counts as 0 and has no gradient.

    Parameters
    ----------
    margin
        What the negative has to be farther by, in units of the distance; from 0 on.
    distance
        "sqeuclidean", "euclidean", "cityblock", "chebyshev", "minkowski" (p = 2), "cosine",
        "hamming" (which has no gradient); see `nearfar.distances.pairwise`.
    scale
        A factor on the result.
    reduction
        "mean" over the N triplets, "sum", or "none": (N,).

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import Triplet
    >>> anchor = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> positive = np.array([[0.9, 0.1], [0.2, 1.0]])
    >>> negative = np.array([[0.8, 0.3], [0.0, 0.0]])
    >>> print(f"{Triplet(margin=0.2)(anchor, positive, negative):.6f}")
    0.045000
    """

    margin: float = from_zero(0.2)
    distance: str = choice("sqeuclidean", *(d for d in DISTANCES if d != "sqeuclidean"))

    def rule(self) -> Hinge:
        return Hinge(self.margin)

"""The contrastive loss of pairs."""

from typing import ClassVar

from nearfar.losses.families_of_labels import LabelledRows
from nearfar.losses.fields import choice, from_zero
from nearfar.rules import NearOrApart
from nearfar.similarity import DISTANCES


class PairMargin(LabelledRows):
    """Rows of a class are pulled together, all others pushed apart up to a margin.

    Formula: over the unordered pairs i, j of the n rows with distance d_ij, L = mean of
    1/2 d_ij^2 for two rows of a class, of 1/2 max(0, margin - d_ij)^2 for others.

    Source: Hadsell, Chopra and LeCun 2006, Dimensionality Reduction by Learning an Invariant
    Mapping, doi 10.1109/CVPR.2006.100, eq. 4.

    Call ``loss(embeddings, labels)`` with embeddings (n, d) and labels (n,) of any dtype with
    equality, or multi-hot (n, c) in {0, 1}, where rows that share a label are of a class.

    ``loss(embeddings, labels, reference, reference_labels)`` compares the rows with (m, d) others:
    a memory, prototypes. Nobody is itself there, and they get a gradient too. ``sample_weight=``
    (n,) says how much each anchor counts; a mean is divided by the sum of those that count.

    Range: from 0 up; where all distances are 0 it is 1/2 margin^2 times the share of pairs of
    different classes. A single row has no pair, and its loss is 0.

    Parameters
    ----------
    margin
        How far apart rows of different classes should be, in units of the distance; from 0 on.
    distance
        "euclidean", "sqeuclidean", "cityblock", "chebyshev", "minkowski" (p = 2), "cosine",
        "hamming" (which has no gradient); see `nearfar.distances.pairwise`.
    candidates
        Where a reference is given: "reference", anchors meet its rows only; "both", these and the
        other rows of the batch.
    scale
        A factor on the result.
    reduction
        "mean" over the pairs, "none": (n,), each row's mean over its pairs, or "sum" of those.

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import PairMargin
    >>> z = np.array([[1.0, 0.0], [0.9, 0.2], [0.8, 0.3], [0.1, 1.0]])
    >>> print(f"{PairMargin()(z, ['cat', 'cat', 'dog', 'dog']):.6f}")
    0.181337
    """

    keywords: ClassVar[tuple[str, ...]] = ("sample_weight",)

    margin: float = from_zero(1.0)
    distance: str = choice(*DISTANCES)
    candidates: str = choice("reference", "both")

    def rule(self) -> NearOrApart:
        return NearOrApart(self.margin)

"""Triplets mined from a labelled batch."""

from typing import ClassVar

from nearfar.losses.families_of_labels import LabelledRows
from nearfar.losses.fields import choice, from_zero
from nearfar.rules import HardestTriplets, MinedTriplets
from nearfar.similarity import DISTANCES


class BatchTriplet(LabelledRows):
    """Rows of an anchor's class have to be nearer to it than all others, by a margin.

    Formula: over the triplets T that `mining` takes from the batch (anchor a, another row p of its
    class, a row n of another class), L = 1/|T| sum max(0, d(a, p) - d(a, n) + margin); with
    count="active" |T| is the number of those with a loss above 0.

    Source: Hermans et al. 2017, In Defense of the Triplet Loss for Person Re-Identification, arXiv
    1703.07737, eq. 5 ("hard") and 6 ("all"); "semihard": Schroff et al. 2015, FaceNet, arXiv
    1503.03832, section 3.2.

    Call ``loss(embeddings, labels)`` with embeddings (n, d) and labels (n,) of any dtype with
    equality, or multi-hot (n, c) in {0, 1}, where a positive shares a label. Rows are taken as
    they are; distances of unit rows need unit rows.

    ``loss(embeddings, labels, reference, reference_labels)`` compares the rows with (m, d) others:
    a memory, prototypes. Nobody is itself there, and they get a gradient too. ``sample_weight=``
    (n,) says how much each anchor counts; a mean is divided by the sum of those that count.

    Range: from 0 up; where all distances are equal it is `margin`. Triplets are counted and added
    up over sorted distances and never listed: memory does not grow with their number.

    Parameters
    ----------
    margin
        What negatives have to be farther by, in units of the distance; from 0 on.
    mining
        "all" triplets; "hard": for each anchor its farthest positive and its nearest negative (one
        of them, where several are as far); "semihard": for each positive the nearest negative that
        is farther than it, else the farthest negative; "all_semihard": every triplet with
        d(a, p) < d(a, n) <= d(a, p) + margin.
    distance
        "euclidean", "sqeuclidean", "cityblock", "chebyshev", "minkowski" (p = 2), "cosine",
        "hamming" (which has no gradient); see `nearfar.distances.pairwise`.
    count
        With mining "all" and "all_semihard": the mean is over the "active" triplets, or over
        "all" that mining takes; the others take the mean over all of theirs.
    without_positives
        "skip": an anchor without positives, or without negatives, has no part in the mean; "zero":
        it counts as one term of 0.
    candidates
        Where a reference is given: "reference", anchors meet its rows only; "both", these and the
        other rows of the batch.
    scale
        A factor on the result.
    reduction
        "mean" over triplets, "sum" of them, or "none": (n,), the sum of each anchor's triplets.

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import BatchTriplet
    >>> z = np.array([[1.0, 0.0], [0.9, 0.2], [0.8, 0.3], [0.1, 1.0], [-1.0, 0.0]])
    >>> print(f"{BatchTriplet()(z, ['cat', 'cat', 'dog', 'dog', 'eel']):.6f}")
    0.456348
    """

    keywords: ClassVar[tuple[str, ...]] = ("sample_weight",)

    margin: float = from_zero(0.2)
    mining: str = choice("all", "hard", "semihard", "all_semihard")
    distance: str = choice(*DISTANCES)
    count: str = choice("active", "all")
    without_positives: str = choice("skip", "zero")
    candidates: str = choice("reference", "both")

    def rule(self) -> HardestTriplets | MinedTriplets:
        if self.mining == "hard":
            return HardestTriplets(self.margin)
        active = self.count == "active" and self.mining != "semihard"
        return MinedTriplets(self.mining, self.margin, active)

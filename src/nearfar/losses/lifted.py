"""Lifted structure."""

from typing import ClassVar

from nearfar.losses.families_of_labels import LabelledRows
from nearfar.losses.fields import choice, number
from nearfar.rules import LiftedAnchors, LiftedPairs
from nearfar.similarity import DISTANCES


class Lifted(LabelledRows):
    """An anchor's positives, or a pair, against all their negatives by a smooth hardest one.

    Formula: with d_ij the distance of two rows and [x]_+ = max(0, x): "generalised", L = mean over
    i of [ log sum_{p in P(i)} exp(d_ip) + log sum_{n in N(i)} exp(margin - d_in) ]_+; "pairs", L =
    mean over ordered positive pairs i, p of 1/2 [ d_ip + log( sum_{n in N(i)} exp(margin - d_in) +
    sum_{n in N(p)} exp(margin - d_pn) ) ]_+^2.

    Source: "generalised" is Hermans et al. 2017, In Defense of the Triplet Loss for Person
    Re-Identification, arXiv 1703.07737, section 2; "pairs" Song et al. 2016, Lifted Structured
    Feature Embedding, arXiv 1511.06452, eq. 4.

    Call ``loss(embeddings, labels)`` with embeddings (n, d) and labels (n,) of any dtype with
    equality, or multi-hot (n, c) in {0, 1}, where a positive shares a label. Rows are taken as
    they are.

    ``loss(embeddings, labels, reference, reference_labels)`` compares the rows with (m, d) others,
    under "generalised": a memory, prototypes. Nobody is itself there, and they get a gradient too.
    ``sample_weight=`` (n,) says how much each anchor counts.

    Range: from 0 up; where all distances are equal and there are c positives and k negatives,
    "generalised" is log(c k) + margin, or 0 where that is negative. Without any negative the loss
    is 0, and counts.

    Parameters
    ----------
    margin
        How far negatives are pushed, in units of the distance.
    form
        "generalised", of the anchors; "pairs", of the pairs, with the negatives of both ends.
    distance
        "euclidean", "sqeuclidean", "cityblock", "chebyshev", "minkowski" (p = 2), "cosine",
        "hamming" (which has no gradient); see `nearfar.distances.pairwise`.
    without_positives
        Of "generalised", an anchor without positives: "skip", it has no part in the mean; "zero",
        it counts as 0; "count", as if the logarithm of its positives were 0, which is what
        pytorch-metric-learning does. Pairs have their positives.
    candidates
        Where a reference is given: "reference", anchors meet its rows only; "both", these and the
        other rows of the batch.
    scale
        A factor on the result.
    reduction
        "mean" over the anchors, or the pairs, "sum" of them, or "none": (n,), of "pairs" the sum of
        each anchor's.

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import Lifted
    >>> z = np.array([[1.0, 0.0], [0.9, 0.2], [0.8, 0.3], [0.1, 1.0]])
    >>> print(f"{Lifted()(z, ['cat', 'cat', 'dog', 'dog']):.6f}")
    1.616781
    """

    keywords: ClassVar[tuple[str, ...]] = ("sample_weight",)

    margin: float = number(1.0)
    form: str = choice("generalised", "pairs")
    distance: str = choice(*DISTANCES)
    without_positives: str = choice("skip", "zero", "count")
    candidates: str = choice("reference", "both")

    def check(self) -> None:
        if self.form == "pairs" and self.without_positives != "skip":
            raise ValueError(
                'Lifted: expected without_positives="skip" with form="pairs", whose terms are '
                f"positive pairs; received {self.without_positives!r}; leave it out"
            )

    def rule(self) -> LiftedAnchors | LiftedPairs:
        if self.form == "pairs":
            return LiftedPairs(self.margin)
        return LiftedAnchors(self.margin, self.without_positives)

"""SupCR, also known as Rank-N-Contrast: contrastive learning from numbers instead of classes."""

from nearfar.losses.families_of_labels import RankedRows
from nearfar.losses.fields import choice, positive
from nearfar.rules import Ranks
from nearfar.similarity import SIMILARITIES


class SupCR(RankedRows, also=("RankNContrast",)):
    """Supervised contrastive regression: rows whose targets are near should be near.

    Formula: with s_ij = similarity(z_i, z_j) / temperature and d_ij the distance of the targets of
    rows i and j,
    L = 1/n sum_i 1/(n-1) sum_{k != i} ( log sum_{j != i, d_ij >= d_ik} exp(s_ij) - s_ik ).

    Source: Zha et al. 2023, Rank-N-Contrast: Learning Continuous Representations for Regression
    (SupCR in its first version), arXiv 2210.01189, eq. 1 and 2.

    Call ``loss(embeddings, targets)`` with embeddings (n, d) and targets (n,) or (n, t) of real
    numbers.

    The defaults are the paper's, with "neg_euclidean"; "cosine", whose logits lie within
    2 / temperature of each other, orders rows less well at this temperature.

    ``loss(embeddings, targets, reference, reference_targets)`` compares the rows with others
    (m, d), where nobody is itself and which get a gradient; ``sample_weight=`` (n,) weighs anchors.

    Range: from 0 up; chance level, where all similarities are equal and no targets tie, is
    log((n-1)!) / (n-1). Every other row is a positive; with n = 1 the loss is 0.

    Targets tie where their distances, computed in their own dtype (squared, for whole numbers and
    "l2"), are equal; rows that tie are in each other's denominators.

    Parameters
    ----------
    temperature
        Divides the similarities; above 0.
    similarity
        "neg_euclidean", "cosine" (rows are normalised inside), "dot", "neg_sqeuclidean".
    order
        "farther": the denominator holds the rows whose target is at least as far as the positive's;
        "nearer": at most as far.
    label_distance
        Distance of targets with several columns: "l1" or "l2".
    candidates
        Where a reference is given: "reference", anchors meet its rows only; "both", these and the
        other rows of the batch.
    scale
        A factor on the result.
    reduction
        "mean" over the n anchors, "sum", or "none": (n,), each the mean over an anchor's pairs.

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import SupCR
    >>> z = np.array([[1.0, 0.0], [0.9, 0.2], [0.0, 1.0], [-1.0, 0.3]])
    >>> print(f"{SupCR()(z, [1.0, 1.5, 3.0, 7.0]):.6f}")
    0.484103
    """

    temperature: float = positive(2.0)
    similarity: str = choice("neg_euclidean", *(s for s in SIMILARITIES if s != "neg_euclidean"))
    order: str = choice("farther", "nearer")
    label_distance: str = choice("l1", "l2")
    candidates: str = choice("reference", "both")

    def rule(self) -> Ranks:
        return Ranks(self.order, self.label_distance)


RankNContrast = SupCR

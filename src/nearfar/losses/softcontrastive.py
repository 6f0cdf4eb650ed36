"""Contrastive loss with graded positives: soft labels, targets, a teacher."""

from nearfar.losses.families_of_grades import GradedRows
from nearfar.losses.fields import choice, positive
from nearfar.rules import SoftPositives
from nearfar.similarity import SIMILARITIES


class SoftContrastive(GradedRows):
    """Cross-entropy of each row's softmax over the others with weights of how alike they are.

    Formula: with s_ij = similarity(z_i, z_j) / temperature and weights w_ij,
    L = mean over anchors i of sum_{j != i} w_ij ( log sum_{k != i} exp(s_ik) - s_ij ).

    Source: Dufumier et al. 2021, Contrastive Learning with Continuous Proxy Meta-Data for 3D MRI
    Classification (y-Aware), arXiv 2106.08808, eq. 4 (weights="rbf"); X-CLR, Sobal et al. 2024,
    arXiv 2407.18134, eq. 3 (weights="cosine"); MultiSupCon, NeurIPS 2022 workshop on
    self-supervised learning, "Supervised contrastive learning for multi-label", weights="jaccard"
    with normalise="positives".

    Call ``loss(embeddings, targets)`` with embeddings (n, d) and targets as `weights` says. But for
    "given" nothing of size n x n is made.

    Range: from 0 up, at least the entropy of the weights where they add to 1; chance level, where
    all similarities are equal, is log(n - 1) times the sum of the weights. An anchor whose weights
    are all 0 does not count.

    Parameters
    ----------
    temperature
        Divides the similarities; above 0.
    weights
        "given": targets (n, n) are the weights themselves, from 0 on, row i those of anchor i;
        "rbf": exp(-|y_i - y_j|^2 / (2 bandwidth^2)) of targets (n,) or (n, t); "jaccard": the share
        of labels in common of multi-hot targets (n, c), 1 for two rows without any; "cosine": the
        softmax over j != i of cosine / bandwidth of frozen embeddings (n, e).
    bandwidth
        Of "rbf", in units of the targets, and of "cosine", a temperature; above 0.
    normalise
        "row": the weights of an anchor are divided by their sum; "positives": by how many are above
        0; "none".
    similarity
        "cosine" (rows are normalised inside), "dot", "neg_euclidean", "neg_sqeuclidean".
    scale
        A factor on the result.
    reduction
        "mean" over the anchors, "sum", or "none": (n,).
    sample_weight
        At the call, (n,): how much an anchor counts in the mean, from 0 on; sums are weighted.

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import SoftContrastive
    >>> z = np.array([[1.0, 0.0], [0.9, 0.2], [0.0, 1.0], [-1.0, 0.1]])
    >>> loss = SoftContrastive(temperature=0.5, weights="rbf")
    >>> print(f"{loss(z, [20.0, 20.5, 23.0, 40.0]):.6f}")
    0.412752
    """

    temperature: float = positive(0.1)
    weights: str = choice("given", "rbf", "jaccard", "cosine")
    bandwidth: float = positive(1.0)
    normalise: str = choice("row", "positives", "none")
    similarity: str = choice(*SIMILARITIES)

    def rule(self) -> SoftPositives:
        return SoftPositives()

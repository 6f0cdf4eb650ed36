"""Smooth-AP."""

from nearfar.losses.families_of_labels import LabelledRows
from nearfar.losses.fields import choice, positive
from nearfar.rules import SmoothRanks
from nearfar.similarity import SIMILARITIES


class SmoothAP(LabelledRows):
    """One minus the average precision of retrieving an anchor's class, its ranks made smooth.

    Formula: with s_ij = similarity(z_i, z_j) / temperature and sg the sigmoid, L = mean over i of
    1 - 1/|P(i)| sum_{p in P(i)} ( 1 + sum_{q in P(i), q != p} sg(s_iq - s_ip) )
    / ( 1 + sum_{k != i, p} sg(s_ik - s_ip) ); without positives the maximum with 0 is 0.

    Source: Brown et al. 2020, Smooth-AP: Smoothing the Path Towards Large-Scale Image Retrieval,
    arXiv 2007.12163, eq. 6 and 7.

    Call ``loss(embeddings, labels)`` with embeddings (n, d) and labels (n,) of any dtype with
    equality, or multi-hot (n, c) in {0, 1}, where a positive shares a label. Classes may have any
    size: one positive of every anchor is compared with all rows at a time.

    The authors' code and pytorch-metric-learning count the anchor among its own positives and the
    rows that it ranks.

    Range: from 0 to 1. An anchor without positives has the loss 0 and does not count.

    Parameters
    ----------
    temperature
        Divides the differences of similarities; above 0. Small ones are true ranks, with a
        gradient for ties only.
    similarity
        "cosine" (rows are normalised inside), "dot", "neg_euclidean", "neg_sqeuclidean".
    count_self
        Whether an anchor is a positive of its own and one of the rows that are ranked.
    scale
        A factor on the result.
    reduction
        "mean" over the anchors, "sum", or "none": (n,).

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import SmoothAP
    >>> z = np.array([[1.0, 0.0], [0.9, 0.2], [0.8, 0.3], [0.1, 1.0]])
    >>> print(f"{SmoothAP()(z, ['cat', 'cat', 'dog', 'dog']):.6f}")
    0.282443
    """

    temperature: float = positive(0.01)
    similarity: str = choice(*SIMILARITIES)
    count_self: bool = choice(False, True)

    def rule(self) -> SmoothRanks:
        return SmoothRanks(self.count_self)

"""Multi-similarity."""

from typing import ClassVar

from nearfar.losses.families_of_labels import LabelledRows
from nearfar.losses.fields import choice, number, off_or_positive, positive
from nearfar.rules import MinedSums, TwoSums
from nearfar.similarity import SIMILARITIES


class MultiSimilarity(LabelledRows):
    """Positives pulled and negatives pushed, each weighed against the others of its kind.

    Formula: with s_ij = similarity(z_i, z_j), L = mean over i of
    1/alpha log(1 + sum_{p in P(i)} exp(-alpha (s_ip - base)))
    + 1/beta log(1 + sum_{n in N(i)} exp(beta (s_in - base))).

    Source: Wang et al. 2019, Multi-Similarity Loss with General Pair Weighting for Deep Metric
    Learning, CVPR, arXiv 1904.06627, eq. 15; the mining is eq. 9 and 10.

    Call ``loss(embeddings, labels)`` with embeddings (n, d) and labels (n,) of any dtype with
    equality, or multi-hot (n, c) in {0, 1}, where a positive shares a label.

    The paper and its authors' code mine, and divide by all anchors; pytorch-metric-learning mines
    only where it is given a miner. The paper has alpha 2, beta 50 and a base of 1, its code 0.5.

    ``loss(embeddings, labels, reference, reference_labels)`` compares the rows with (m, d)
    others: a memory, prototypes. Nobody is itself there, and they get a gradient too.
    ``sample_weight=`` (n,) says how much each anchor counts.

    Range: from 0 up; with c positives and m negatives, all as similar as `base`, it is
    log(1 + c) / alpha + log(1 + m) / beta. A batch of one row has the loss 0.

    Parameters
    ----------
    alpha
        How sharply positives that are far weigh; above 0.
    beta
        How sharply negatives that are near weigh; above 0.
    base
        The similarity that positives should exceed, and negatives fall short of.
    mining
        False: all pairs; a number above 0, 0.1 in the paper: a negative counts where its similarity
        plus this is above the anchor's least similar positive's, a positive where its similarity
        less this is below the most similar negative's.
    similarity
        "cosine" (rows are normalised inside), "dot", "neg_euclidean", "neg_sqeuclidean".
    without_positives
        An anchor without positives: "count", its negatives are pushed, and the mean is over all
        anchors; "skip", it has no part in the mean; "zero", it counts as 0.
    candidates
        Where a reference is given: "reference", anchors meet its rows only; "both", these and the
        other rows of the batch.
    scale
        A factor on the result.
    reduction
        "mean" over the anchors, "sum", or "none": (n,).

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import MultiSimilarity
    >>> z = np.array([[1.0, 0.0], [0.9, 0.2], [0.8, 0.3], [0.1, 1.0]])
    >>> print(f"{MultiSimilarity()(z, ['cat', 'cat', 'dog', 'dog']):.6f}")
    0.624146
    """

    keywords: ClassVar[tuple[str, ...]] = ("sample_weight",)

    alpha: float = positive(2.0)
    beta: float = positive(50.0)
    base: float = number(0.5)
    mining: float | bool = off_or_positive()
    similarity: str = choice(*SIMILARITIES)
    without_positives: str = choice("count", "skip", "zero")
    candidates: str = choice("reference", "both")

    def rule(self) -> TwoSums | MinedSums:
        stated = self.alpha, self.beta, self.base
        if self.mining is False:
            return TwoSums(*stated, self.without_positives)
        return MinedSums(*stated, float(self.mining), self.without_positives)

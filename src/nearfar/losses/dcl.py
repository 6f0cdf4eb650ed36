"""DCL, the decoupled contrastive loss."""

from nearfar.losses.exclude import Exclude
from nearfar.losses.families import TwoViews
from nearfar.losses.fields import choice, excluding, positive
from nearfar.rules import OnePositive
from nearfar.similarity import SIMILARITIES


class DCL(TwoViews):
    """NT-Xent without the positive in its own denominator.

    Formula: with the 2N rows z of both views, row p(i) the other view of row i and
    s_ij = similarity(z_i, z_j) / temperature,
    L = 1/(2N) sum_i ( log sum_{j != i, p(i)} exp(s_ij) - s_{i,p(i)} ).

    Source: Yeh et al. 2021, Decoupled Contrastive Learning, arXiv 2110.06848, eq. 6.

    Call ``loss(a, b)`` with two views (N, d); row i of each is a positive pair. It is
    ``NTXent(denominator="negatives")`` under its own name and with its own temperature.
    ``loss(a, b, ids)``, ids (N,) of any dtype with equality: rows of the anchor's id are neither
    positives nor negatives, but for its own positive.

    Range: any number; chance level, where all similarities are equal, is log(2N - 2). With N = 1
    the denominators are empty and the loss is 0.

    Parameters
    ----------
    temperature
        Divides the similarities; above 0.
    similarity
        "cosine" (rows are normalised inside), "dot", "neg_euclidean", "neg_sqeuclidean".
    same
        What rows of the anchor's id are, where ids are given: "ignore", left out; "negative".
    exclude
        None, or `nearfar.Exclude`: negatives that are as near as the positive are left out.
    scale
        A factor on the result.
    reduction
        "mean" over the 2N anchors, "sum", or "none": (2N,), the anchors of `a`, then of `b`.
    sample_weight
        At the call, (N,): how much a pair counts in the mean, from 0 on; sums are weighted.
    log_q
        At the call: logarithms of how probable candidates are in a batch, taken off their logits,
        of a and of b (Yi et al. 2019, doi
        10.1145/3298689.3346996, eq. 3).
    guide
        At the call: embeddings of the same rows for `exclude`, one array for each of the call's.

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import DCL
    >>> a = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    >>> b = np.array([[0.9, 0.1], [0.2, 1.0], [-1.0, 0.3]])
    >>> print(f"{DCL(temperature=0.5)(a, b):.6f}")
    -0.729412
    """

    temperature: float = positive(0.1)
    similarity: str = choice(*SIMILARITIES)
    same: str = choice("ignore", "negative")
    exclude: Exclude | None = excluding()

    def rule(self) -> OnePositive:
        return OnePositive("negatives")

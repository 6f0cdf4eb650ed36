"""Circle loss."""

from typing import ClassVar

from nearfar.losses.families_of_labels import LabelledRows
from nearfar.losses.fields import choice, number, positive
from nearfar.rules import Circles
from nearfar.similarity import SIMILARITIES


class Circle(LabelledRows):
    """Pairs pulled and pushed the harder the farther they are from where they should be.

    Formula: with s_ij = similarity(z_i, z_j), [x]_+ = max(0, x), m the margin, L = mean over i of
    log(1 + sum_{n in N(i)} exp(gamma [s_in + m]_+ (s_in - m))
    sum_{p in P(i)} exp(-gamma [1 + m - s_ip]_+ (s_ip - 1 + m))).

    Source: Sun et al. 2020, Circle Loss: A Unified Perspective of Pair Similarity Optimization,
    arXiv 2002.10857, eq. 6 with O_p = 1 + m, O_n = -m and margins 1 - m and m (section 3.3).

    Call ``loss(embeddings, labels)`` with embeddings (n, d) and labels (n,) of any dtype with
    equality, or multi-hot (n, c) in {0, 1}, where a positive shares a label.

    In the paper the brackets weigh and have no gradient, as in pytorch-metric-learning and the
    authors' code; Keras differentiates them too.

    ``loss(embeddings, labels, reference, reference_labels)`` compares the rows with (m, d)
    others: a memory, prototypes. Nobody is itself there, and they get a gradient too.
    ``sample_weight=`` (n,) says how much each anchor counts.

    Range: from 0 up; with c positives and k negatives, all at the similarity 1/2, it is
    log(1 + c k exp(2 gamma (1/4 - m^2))). An anchor without positives or without negatives has the
    loss 0 and does not count.

    Parameters
    ----------
    margin
        How far from 1 positives, and from 0 negatives, may be.
    gamma
        Multiplies the exponents; above 0.
    similarity
        "cosine" (rows are normalised inside), "dot", "neg_euclidean", "neg_sqeuclidean".
    detach
        Take the brackets for constants in the gradient; False differentiates them.
    average
        The mean is over anchors with a loss above 0 ("active"), or all that count ("anchors").
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
    >>> from nearfar import Circle
    >>> z = np.array([[1.0, 0.0], [0.9, 0.2], [0.8, 0.3], [0.1, 1.0]])
    >>> print(f"{Circle(gamma=10.0)(z, ['cat', 'cat', 'dog', 'dog']):.6f}")
    5.923537
    """

    keywords: ClassVar[tuple[str, ...]] = ("sample_weight",)

    margin: float = number(0.4)
    gamma: float = positive(80.0)
    similarity: str = choice(*SIMILARITIES)
    detach: bool = choice(True, False)
    average: str = choice("active", "anchors")
    candidates: str = choice("reference", "both")

    def rule(self) -> Circles:
        return Circles(self.margin, self.gamma, self.detach, self.average)

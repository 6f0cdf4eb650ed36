"""NT-Xent, the loss of SimCLR."""

from nearfar.losses.exclude import Exclude
from nearfar.losses.families import TwoViews
from nearfar.losses.fields import choice, excluding, from_zero, positive
from nearfar.rules import HardOnePositive, OnePositive
from nearfar.similarity import SIMILARITIES


class NTXent(TwoViews):
    """Normalised temperature-scaled cross-entropy between two views of each object.

    Formula: with the 2N rows z of both views, row p(i) the other view of row i and
    s_ij = similarity(z_i, z_j) / temperature,
    L = 1/(2N) sum_i ( log sum_{j != i} exp(s_ij) - s_{i,p(i)} ).

    Source: Chen et al. 2020, A Simple Framework for Contrastive Learning of Visual Representations
    (SimCLR), arXiv 2002.05709, eq. 1; denominator="negatives" is Yeh et al. 2021, DCL, arXiv
    2110.06848, eq. 6.

    Call ``loss(a, b)`` with two views (N, d); row i of each is a positive pair. Both views are
    candidates and, by default, anchors.
    ``loss(a, b, ids)``, ids (N,) of any dtype with equality: rows of the anchor's id are neither
    positives nor negatives, but for its own positive.

    Range with denominator "all": from 0 up; chance level, where all similarities are equal, is
    log(2N - 1). With "negatives" it may be negative and chance is log(2N - 2). Every anchor has
    its positive; with "negatives" and N = 1 the denominators are empty and the loss is 0.

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
    denominator
        "all" candidates but the anchor; "own_positive", the positive and the negatives, which is
        the same with one positive per anchor; "negatives" only.
    include_self
        Add the anchor's own logit to its denominator; it never becomes a positive.
    anchors
        Rows of "both" views are anchors, or of the "first" view only; candidates are all rows
        either way.
    hardness
        Times the similarity, taken for a constant, is added to the logits of negatives, so that
        hard ones weigh more in the sum; from 0 on. A call takes no temperature then.
    scale
        A factor on the result.
    scale_by
        "constant": the factor is `scale`; "temperature": it is scale * temperature, and a call
        takes no temperature.
    reduction
        "mean" over the 2N anchors, "sum", or "none": (2N,), the anchors of `a`, then of `b`. With
        anchors="first" they are N.
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
    >>> from nearfar import NTXent
    >>> a = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    >>> b = np.array([[0.9, 0.1], [0.2, 1.0], [-1.0, 0.3]])
    >>> print(f"{NTXent(temperature=0.5)(a, b):.6f}")
    0.405291
    """

    temperature: float = positive(0.5)
    similarity: str = choice(*SIMILARITIES)
    same: str = choice("ignore", "negative")
    exclude: Exclude | None = excluding()
    denominator: str = choice("all", "own_positive", "negatives")
    include_self: bool = choice(False, True)
    anchors: str = choice("both", "first")
    hardness: float = from_zero(0.0)
    scale_by: str = choice("constant", "temperature")

    def check(self) -> None:
        if self.hardness and self.include_self:
            raise ValueError(
                "NTXent: expected include_self=False with hardness, which weighs up negatives; "
                "received include_self=True; state one of the two"
            )

    def rule(self) -> OnePositive | HardOnePositive:
        if self.hardness:
            return HardOnePositive(self.denominator, 1 + self.hardness * self.temperature)
        return OnePositive(self.denominator)

"""CLIP, the loss of two towers."""

from nearfar.losses.exclude import Exclude
from nearfar.losses.families import TwoSides
from nearfar.losses.fields import choice, excluding, positive
from nearfar.rules import OnePositive, OverLogs
from nearfar.similarity import SIMILARITIES


class CLIP(TwoSides):
    """Cross-entropy of finding each row's partner on the other side, in both directions.

    Formula: with s_ij = similarity(x_i, y_j) / temperature,
    L = 1/(2N) sum_i ( log sum_j exp(s_ij) - s_ii + log sum_j exp(s_ji) - s_ii ).

    Source: Radford et al. 2021, Learning Transferable Visual Models From Natural Language
    Supervision (CLIP), arXiv 2103.00020, figure 3; the symmetric form of van den Oord et al. 2018,
    arXiv 1807.03748, eq. 4.

    Call ``loss(x, y)`` with the two sides (N, d); row i of each is a positive pair, and rows of
    one side are never compared with each other.
    ``loss(x, y, ids)``, ids (N,) of any dtype with equality: all rows of an anchor's id are its
    positives, the mean of whose logarithms is taken (UniCL, arXiv 2204.03610, eq. 3 and 4, which
    adds the two directions). With a pair of them, ids=(of_x, of_y), the sides may differ in length;
    each direction is a mean over its own anchors then, and `sample_weight` are those of x.

    Range: from 0 up; chance level, where all similarities are equal, is log(N). Every row has its
    positive; with N = 1 the loss is 0.

    Parameters
    ----------
    temperature
        Divides the similarities; above 0. CLIP learns it: pass an array at the call,
        ``loss(x, y, temperature=t)``; its logit scale is 1 / temperature.
    similarity
        "cosine" (rows are normalised inside), "dot", "neg_euclidean", "neg_sqeuclidean".
    same
        What other rows of the anchor's id are, where ids are given: "positive"; "ignore", left
        out; "negative".
    exclude
        None, or `nearfar.Exclude`: negatives that are as near as the positive are left out.
    scale
        A factor on the result.
    scale_by
        "constant": the factor is `scale`; "temperature": it is scale * temperature, and a call
        takes no temperature.
    reduction
        "mean" over the N pairs, "sum", or "none": (N,), the mean of a pair's two directions.
    sample_weight
        At the call, (N,): how much a pair counts in the mean, from 0 on; sums are weighted.
    log_q
        At the call: logarithms of how probable candidates are in a batch, taken off their logits,
        of x and of y (Yi et al. 2019, doi
        10.1145/3298689.3346996, eq. 3).
    guide
        At the call: embeddings of the same rows for `exclude`, one array for each of the call's.

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import CLIP
    >>> images = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    >>> texts = np.array([[0.9, 0.1], [0.2, 1.0], [-1.0, 0.3]])
    >>> print(f"{CLIP(temperature=0.5)(images, texts):.6f}")
    0.226123
    """

    temperature: float = positive(0.07)
    similarity: str = choice(*SIMILARITIES)
    same: str = choice("positive", "ignore", "negative")
    exclude: Exclude | None = excluding()
    scale_by: str = choice("constant", "temperature")

    def rule(self) -> OnePositive:
        return OnePositive("all")

    def rule_of_ids(self) -> OverLogs:
        return OverLogs(True, "all")

"""SigLIP, the sigmoid loss of two towers."""

from typing import ClassVar

from nearfar.losses.exclude import Exclude
from nearfar.losses.families import TwoSides
from nearfar.losses.fields import choice, excluding, number, positive
from nearfar.rules import EachPair
from nearfar.similarity import SIMILARITIES


class SigLIP(TwoSides):
    """A binary cross-entropy for every pair of rows: partners or not.

    Formula: with s_ij = similarity(x_i, y_j) / temperature + bias,
    L = 1/N sum_i ( log(1 + exp(-s_ii)) + sum_{j != i} log(1 + exp(s_ij)) ).

    Source: Zhai et al. 2023, Sigmoid Loss for Language Image Pre-Training (SigLIP), arXiv
    2303.15343, eq. 1 and algorithm 1.

    Call ``loss(x, y)`` with the two sides (N, d); row i of each is a positive pair.

    ``loss(x, y, ids)`` says which rows are alike, ids (N,) or a pair of arrays, with which the
    sides may differ in length. ``guide=`` is what `exclude` may ask for, ``sample_weight=`` (N,)
    says how much each row of x counts; a mean is divided by the sum of these.

    Range: from 0 up; chance level, where all similarities are 0, is
    log(1 + exp(-bias)) + (N - 1) log(1 + exp(bias)).

    Parameters
    ----------
    temperature
        Divides the similarities; above 0.
    bias
        Added to every logit: most pairs are negatives, so it starts low. SigLIP learns both: pass
        arrays at the call, ``loss(x, y, temperature=t, bias=b)``.
    similarity
        "cosine" (rows are normalised inside), "dot", "neg_euclidean", "neg_sqeuclidean".
    same
        With ids, another row of the anchor's id is a "positive" too, one to "ignore", or a
        "negative".
    exclude
        `nearfar.Exclude`: leaves out negatives that are as near as the positive.
    scale
        A factor on the result.
    reduction
        "mean": the sum over all pairs divided by N; "sum" of all pairs; "none": (N,), row sums.

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import SigLIP
    >>> images = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    >>> texts = np.array([[0.9, 0.1], [0.2, 1.0], [-1.0, 0.3]])
    >>> print(f"{SigLIP(bias=-5.0)(images, texts):.6f}")
    0.068673
    """

    keywords: ClassVar[tuple[str, ...]] = ("sample_weight", "guide")

    temperature: float = positive(0.1)
    bias: float = number(-10.0)
    similarity: str = choice(*SIMILARITIES)
    same: str = choice("positive", "ignore", "negative")
    exclude: Exclude | None = excluding()

    def rule(self) -> EachPair:
        return EachPair()

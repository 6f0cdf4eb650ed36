"""SoftTriple."""

from typing import ClassVar

from nearfar.losses.families_of_proxies import AgainstProxies
from nearfar.losses.fields import number, positive
from nearfar.rules import AdditiveMargin


class SoftTriple(AgainstProxies):
    """Cross-entropy over classes with several centres each, of which near ones count most.

    Formula: with c_im the cosine of row i and centre m of class k, S_ik = sum_m p_m c_im with
    p = softmax(c_im / gamma), L = 1/n sum_i
    -log( e_iy / (e_iy + sum_{k != y} exp(S_ik / temperature)) ), y the label of row i and
    e_iy = exp((S_iy - margin) / temperature).

    Source: Qian et al. 2019, SoftTriple Loss: Deep Metric Learning Without Triplet Sampling, arXiv
    1909.05235, eq. 8 and 9, without the regulariser of eq. 10; temperature is 1 over its lambda.

    Call ``loss(embeddings, labels, proxies)`` with embeddings (n, d), labels (n,) of whole numbers
    that are rows of `proxies`, (C, K, d) with K centres of each class, which get a gradient. Both
    are normalised inside. Memory is O(n d + C d), and no array has a row for each class and row.

    Range: from 0 up; chance level, where all similarities are equal, is
    log(1 + (C - 1) exp(margin / temperature)).

    Parameters
    ----------
    temperature
        Divides the similarities of classes; above 0. It may be learned.
    gamma
        How softly centres of a class compete; above 0.
    margin
        What the similarity of a row's own class loses.
    scale
        A factor on the result.
    reduction
        "mean" over the rows, "sum", or "none": (n,).

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import SoftTriple
    >>> z = np.array([[1.0, 0.0], [0.9, 0.2], [0.1, 1.0]])
    >>> proxies = np.array([[[1.0, 0.1], [0.9, 0.4]], [[0.0, 1.0], [0.2, 1.0]]])
    >>> print(f"{SoftTriple()(z, [0, 0, 1], proxies):.6f}")
    0.000016
    """

    several_centres: ClassVar[bool] = True

    temperature: float = positive(0.05)
    gamma: float = positive(0.1)
    margin: float = number(0.01)

    def rule(self) -> AdditiveMargin:
        return AdditiveMargin(self.margin, self.gamma)

"""Normalized softmax."""

from nearfar.losses.families_of_proxies import AgainstProxies
from nearfar.losses.fields import positive
from nearfar.rules import PlainProxies


class NormalizedSoftmax(AgainstProxies):
    """Cross-entropy of a row's cosines with the proxies of all classes.

    Formula: with c_ik the cosine of row i and proxy k, L = 1/n sum_i
    ( log sum_k exp(c_ik / temperature) - c_iy / temperature ), y the label of row i.

    Source: Zhai and Wu 2019, Classification is a Strong Baseline for Deep Metric Learning, arXiv
    1811.12649, eq. 4.

    Call ``loss(embeddings, labels, proxies)`` with embeddings (n, d), labels (n,) of whole numbers
    that are rows of `proxies`, (C, d), which get a gradient. Both are normalised
    inside. Memory is O(n d + C d), and no array has a row for each class and row.

    Range: from 0 up; chance level, where all similarities are equal, is log(C).

    Parameters
    ----------
    temperature
        Divides cosines; above 0. It may be learned.
    scale
        A factor on the result.
    reduction
        "mean" over the rows, "sum", or "none": (n,).

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import NormalizedSoftmax
    >>> z = np.array([[1.0, 0.0], [0.9, 0.2], [0.1, 1.0]])
    >>> proxies = np.array([[1.0, 0.1], [0.0, 1.0], [-1.0, 0.3]])
    >>> print(f"{NormalizedSoftmax(temperature=0.5)(z, [0, 0, 1], proxies):.6f}")
    0.232050
    """

    temperature: float = positive(0.05)

    def rule(self) -> PlainProxies:
        return PlainProxies()

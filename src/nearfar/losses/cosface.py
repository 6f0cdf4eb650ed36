"""CosFace."""

from nearfar.losses.families_of_proxies import AgainstProxies
from nearfar.losses.fields import number, positive
from nearfar.rules import AdditiveMargin


class CosFace(AgainstProxies):
    """Cross-entropy over classes, where a row's own has to be ahead by a margin of the cosine.

    Formula: with c_ik the cosine of row i and proxy k, L = 1/n sum_i
    -log( e_iy / (e_iy + sum_{k != y} exp(c_ik / temperature)) ), y the label of row i and
    e_iy = exp((c_iy - margin) / temperature).

    Source: Wang et al. 2018, CosFace: Large Margin Cosine Loss for Deep Face Recognition, arXiv
    1801.09414, eq. 4; temperature is 1 over its scale s.

    Call ``loss(embeddings, labels, proxies)`` with embeddings (n, d), labels (n,) of whole numbers
    that are rows of `proxies`, (C, d), which get a gradient. Both are normalised
    inside. Memory is O(n d + C d), and no array has a row for each class and row.

    Range: from 0 up; chance level, where all similarities are equal, is
    log(1 + (C - 1) exp(margin / temperature)).

    Parameters
    ----------
    temperature
        Divides cosines; above 0. It may be learned.
    margin
        What a row's own cosine loses.
    scale
        A factor on the result.
    reduction
        "mean" over the rows, "sum", or "none": (n,).

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import CosFace
    >>> z = np.array([[1.0, 0.0], [0.9, 0.2], [0.1, 1.0]])
    >>> proxies = np.array([[1.0, 0.1], [0.0, 1.0], [-1.0, 0.3]])
    >>> print(f"{CosFace(temperature=0.5)(z, [0, 0, 1], proxies):.6f}")
    0.419131
    """

    temperature: float = positive(1 / 64)
    margin: float = number(0.35)

    def rule(self) -> AdditiveMargin:
        return AdditiveMargin(self.margin)

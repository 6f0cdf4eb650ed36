"""Proxy anchor."""

from nearfar.losses.families_of_proxies import AgainstProxies
from nearfar.losses.fields import choice, number, positive
from nearfar.rules import AnchoredProxies


class ProxyAnchor(AgainstProxies):
    """Every proxy pulls the rows of its class and pushes all others, by how hard they are.

    Formula: with c_ik the cosine of row i and proxy k, P+ the classes that have rows,
    L = 1/|P+| sum_{k in P+} log( 1 + sum_{y_i = k} exp(-alpha (c_ik - margin)) )
    + 1/C sum_k log( 1 + sum_{y_i != k} exp(alpha (c_ik + margin)) ).

    Source: Kim et al. 2020, Proxy Anchor Loss for Deep Metric Learning, arXiv 2003.13911, eq. 4.

    Call ``loss(embeddings, labels, proxies)`` with embeddings (n, d), labels (n,) of whole numbers
    that are rows of `proxies`, (C, d), which get a gradient. Both are normalised
    inside. Memory is O(n d + C d), and no array has a row for each class and row.

    Range: from 0 up; a class without rows in the batch is pushed from all of them.

    Parameters
    ----------
    alpha
        How sharply hard rows weigh; above 0.
    margin
        How far above and below 0 the cosines should be.
    scale
        A factor on the result.
    reduction
        "mean": the means over proxies are one number for the batch.

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import ProxyAnchor
    >>> z = np.array([[1.0, 0.0], [0.9, 0.2], [0.1, 1.0]])
    >>> proxies = np.array([[1.0, 0.1], [0.0, 1.0], [-1.0, 0.3]])
    >>> print(f"{ProxyAnchor()(z, [0, 0, 1], proxies):.6f}")
    9.659748
    """

    alpha: float = positive(32.0)
    margin: float = number(0.1)
    reduction: str = choice("mean")

    def rule(self) -> AnchoredProxies:
        return AnchoredProxies(self.alpha, self.margin)

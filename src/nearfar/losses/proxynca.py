"""ProxyNCA++."""

from nearfar.losses.families_of_proxies import AgainstProxies
from nearfar.losses.fields import positive
from nearfar.rules import DistantProxies


class ProxyNCA(AgainstProxies):
    """Cross-entropy of a row's squared distances to the proxies of all classes.

    Formula: with unit rows u and unit proxies w, d_ik = |u_i - w_k|, L = 1/n sum_i
    ( log sum_k exp(-d_ik^2 / temperature) + d_iy^2 / temperature ), y the label of row i.

    Source: Teh et al. 2020, ProxyNCA++: Revisiting and Revitalizing Proxy Neighborhood Component
    Analysis, arXiv 2004.01113, eq. 6; Movshovitz-Attias et al. 2017, arXiv 1703.07464, leave a
    row's own proxy out of the sum.

    Call ``loss(embeddings, labels, proxies)`` with embeddings (n, d), labels (n,) of whole numbers
    that are rows of `proxies`, (C, d), which get a gradient. Both are normalised
    inside. Memory is O(n d + C d), and no array has a row for each class and row.

    Range: from 0 up; chance level, where all similarities are equal, is log(C).

    Parameters
    ----------
    temperature
        Divides squared distances; above 0. It may be learned.
    scale
        A factor on the result.
    reduction
        "mean" over the rows, "sum", or "none": (n,).

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import ProxyNCA
    >>> z = np.array([[1.0, 0.0], [0.9, 0.2], [0.1, 1.0]])
    >>> proxies = np.array([[1.0, 0.1], [0.0, 1.0], [-1.0, 0.3]])
    >>> print(f"{ProxyNCA()(z, [0, 0, 1], proxies):.6f}")
    0.009431
    """

    temperature: float = positive(1 / 3)

    def rule(self) -> DistantProxies:
        return DistantProxies()

"""Alignment of unit rows."""

from nearfar.losses.families_at_once import ViewsAlone
from nearfar.losses.fields import positive
from nearfar.rules import Apart


class Alignment(ViewsAlone):
    """The two views of an object are pulled together, and nothing is pushed apart.

    Formula: with unit rows u of `a` and v of `b`, L = 1/N sum_i |u_i - v_i|^alpha, the maximum of
    each term being 2^alpha.

    Source: Wang and Isola 2020, Understanding Contrastive Representation Learning through Alignment
    and Uniformity on the Hypersphere, arXiv 2005.10242, eq. 4.

    Call ``loss(a, b)`` with two views (N, d); row i of each is a pair. Alone it collapses all rows
    into one: add `Uniformity`.

    Range: from 0 to 2^alpha. Equal rows have no gradient.

    Parameters
    ----------
    alpha
        The power of the distance; above 0.
    scale
        A factor on the result.
    reduction
        "mean" over the pairs, "sum", or "none": (N,).

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import Alignment
    >>> a = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> b = np.array([[0.9, 0.1], [0.2, 1.0]])
    >>> print(f"{Alignment()(a, b):.6f}")
    0.025536
    """

    alpha: float = positive(2.0)

    def rule(self) -> Apart:
        return Apart(self.alpha)

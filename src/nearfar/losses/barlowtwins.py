"""Barlow Twins."""

from collections.abc import Mapping
from typing import Any

from nearfar.frameworks import Array
from nearfar.losses import arguments
from nearfar.losses.families_at_once import ViewsAlone
from nearfar.losses.fields import choice, from_zero, positive
from nearfar.rules import CrossCorrelation
from nearfar.similarity import SIMILARITIES, Similarity


class BarlowTwins(ViewsAlone):
    """Each feature agrees over the two views, and with no other feature.

    Formula: with c_kl the correlation of feature k of `a` with feature l of `b`,
    L = sum_k (1 - c_kk)^2 + off_diagonal sum_{k != l} c_kl^2, where variances are over N with eps
    added; its square root divides, and max |c_kl| is 1.

    Source: Zbontar et al. 2021, Barlow Twins: Self-Supervised Learning via Redundancy Reduction,
    arXiv 2103.03230, eq. 1 and 2.

    Call ``loss(a, b)`` with two views (N, d), N at least 2; row i of each is a pair. Rows are taken
    as they are. No row is compared with another: what is added up is d x d.

    eps is that of the batch normalisation in the authors' code and in lightly; solo-learn
    multiplies the result by 0.1, and the authors divide the off-diagonal part by 196 (0.0051).

    Range: from 0 up; without any correlation, and where rows have collapsed, it is d.

    Parameters
    ----------
    off_diagonal
        Times the squared correlations of different features; from 0 on.
    eps
        Added to variances before their root; above 0.
    scale
        A factor on the result.
    reduction
        "mean": there is one number for the batch.

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import BarlowTwins
    >>> a = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    >>> b = np.array([[0.9, 0.1], [0.2, 1.0], [-1.0, 0.3]])
    >>> print(f"{BarlowTwins()(a, b):.6f}")
    0.000981
    """

    off_diagonal: float = from_zero(5e-3)
    eps: float = positive(1e-5)
    reduction: str = choice("mean")

    def rule(self) -> CrossCorrelation:
        return CrossCorrelation(self.off_diagonal, self.eps)

    @property
    def comparison(self) -> Similarity:
        return SIMILARITIES["dot"]

    def _check_shapes(self, embeddings: dict[str, Array], given: Mapping[str, Any]) -> None:
        super()._check_shapes(embeddings, given)
        arguments.two_rows(type(self).__name__, embeddings["a"])

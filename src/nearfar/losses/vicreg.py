"""VICReg, variance-invariance-covariance regularisation."""

from collections.abc import Mapping
from typing import Any

from nearfar.frameworks import Array
from nearfar.losses import arguments
from nearfar.losses.families_at_once import ViewsAlone
from nearfar.losses.fields import choice, from_zero, positive
from nearfar.rules import VarianceCovariance
from nearfar.similarity import SIMILARITIES, Similarity


class VICReg(ViewsAlone):
    """Views are pulled together, every feature keeps its variance, no two features go together.

    Formula: with C the covariance matrix of a side's features over n - 1 and [x]_+ = max(0, x),
    L = invariance mean (a - b)^2
    + variance 1/2 sum over sides of mean_k [ 1 - sqrt(C_kk + eps) ]_+
    + covariance sum over sides of 1/d sum_{k != l} C_kl^2.

    Source: Bardes et al. 2022, VICReg: Variance-Invariance-Covariance Regularization for
    Self-Supervised Learning, arXiv 2105.04906, eq. 6 and algorithm 1.

    Call ``loss(a, b)`` with two views (N, d), N at least 2; row i of each is a pair. Rows are taken
    as they are. No row is compared with another: what is added up is d x d.

    The mean over both sides of the variance's part, and the sum of the covariance's, are the
    paper's code's and lightly's; others differ in these factors, which the fields take in.

    Range: from 0 up; collapsed rows have variance (1 - sqrt(eps)).

    Parameters
    ----------
    invariance
        Times the mean squared difference of the views; from 0 on.
    variance
        Times what features lack of a standard deviation of 1; from 0 on.
    covariance
        Times the squared covariances of different features; from 0 on.
    eps
        Added to variances before their root; above 0.
    scale
        A factor on the result.
    reduction
        "mean": there is one number for the batch.

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import VICReg
    >>> a = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    >>> b = np.array([[0.9, 0.1], [0.2, 1.0], [-1.0, 0.3]])
    >>> print(f"{VICReg()(a, b):.6f}")
    6.806561
    """

    invariance: float = from_zero(25.0)
    variance: float = from_zero(25.0)
    covariance: float = from_zero(1.0)
    eps: float = positive(1e-4)
    reduction: str = choice("mean")

    def rule(self) -> VarianceCovariance:
        return VarianceCovariance(self.invariance, self.variance, self.covariance, self.eps)

    @property
    def comparison(self) -> Similarity:
        return SIMILARITIES["dot"]

    def _check_shapes(self, embeddings: dict[str, Array], given: Mapping[str, Any]) -> None:
        super()._check_shapes(embeddings, given)
        arguments.two_rows(type(self).__name__, embeddings["a"])

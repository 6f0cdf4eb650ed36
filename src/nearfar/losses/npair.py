"""N-pair."""

from nearfar.losses.families import GivenPairs
from nearfar.losses.fields import from_zero
from nearfar.rules import OneWayAndNorms
from nearfar.similarity import SIMILARITIES, Similarity


class NPair(GivenPairs):
    """Cross-entropy of finding each anchor's positive by inner products, and a pull on the norms.

    Formula: L = 1/N sum_i log( 1 + sum_{j != i} exp(a_i . p_j - a_i . p_i) )
    + l2 / (2N) sum_i ( |a_i|^2 + |p_i|^2 ).

    Source: Sohn 2016, Improved Deep Metric Learning with Multi-class N-pair Loss Objective, NIPS
    29, eq. 5 and section 3.2.2.

    Call ``loss(anchor, positive)`` with two arrays (N, d), a pair of each class; row i of each is
    a pair, and the other rows of `positive` are the anchor's negatives. Rows are taken as they are:
    the loss wants them long, and l2 holds them.

    Range: from 0 up; chance level, where all rows are 0, is log(N). With N = 1 what is left is the
    pull on the norms.

    Parameters
    ----------
    l2
        Times the mean squared norm of all 2N rows; from 0 on.
    scale
        A factor on the result.
    reduction
        "mean" over the pairs, "sum", or "none": (N,).

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import NPair
    >>> anchor = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> positive = np.array([[0.9, 0.1], [0.2, 1.0]])
    >>> print(f"{NPair(l2=0.02)(anchor, positive):.6f}")
    0.391470
    """

    l2: float = from_zero(0.0)

    def rule(self) -> OneWayAndNorms:
        return OneWayAndNorms(self.l2)

    @property
    def comparison(self) -> Similarity:
        return SIMILARITIES["dot"]

"""AnglE, CoSENT of angles in complex space."""

from nearfar.losses.families_at_once import ScoredPairs
from nearfar.losses.fields import choice, positive
from nearfar.rules import RankedPairs


class AnglE(ScoredPairs):
    """`CoSENT` of the angle between rows that are read as complex numbers.

    Formula: with unit rows u, v of pair k, the first half of the features real and the second
    imaginary, s_k = | u . v + sum over features of (im u re v - re u im v) |,
    L = log( 1 + sum over pairs k, l with target_k > target_l of exp((s_l - s_k) / temperature) ).

    Source: Li and Li 2023, AnglE-optimized Text Embeddings, arXiv 2309.12871, eq. 6 and 7, as its
    authors' code computes them: the sum of real and imaginary part of the quotient, by absolute
    value.

    Call ``loss(x, y, targets)`` with the two sides (N, d) of the pairs, rows matched, and targets
    (N,): only their order matters, and equal ones are not compared. With an odd d the last
    imaginary part is 0.

    Range: from 0 up; chance level, where all similarities are equal and no targets tie, is
    log(1 + N (N - 1) / 2). With one target throughout, or one pair, the loss is 0. Pairs are
    sorted, and pairs of pairs never listed.

    Parameters
    ----------
    temperature
        Divides the similarities; above 0. It may be learned.
    scale
        A factor on the result.
    reduction
        "mean": there is one number for the batch.

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import AnglE
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    >>> y = np.array([[0.9, 0.1], [0.8, 1.0], [1.0, 0.3]])
    >>> print(f"{AnglE(temperature=0.5)(x, y, [0.9, 0.2, 0.5]):.6f}")
    2.179775
    """

    temperature: float = positive(0.05)
    reduction: str = choice("mean")

    def rule(self) -> RankedPairs:
        return RankedPairs(True)

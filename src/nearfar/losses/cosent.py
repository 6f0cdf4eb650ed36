"""CoSENT, for pairs with graded similarities."""

from nearfar.losses.families_at_once import ScoredPairs
from nearfar.losses.fields import choice, positive
from nearfar.rules import RankedPairs


class CoSENT(ScoredPairs):
    """A pair with a higher target has to be more similar than every pair with a lower one.

    Formula: with s_k = cosine(x_k, y_k),
    L = log( 1 + sum over pairs k, l with target_k > target_l of exp((s_l - s_k) / temperature) ).

    Source: Su 2022, CoSENT, https://kexue.fm/archives/8847; temperature is 1 over the scale of
    sentence-transformers.

    Call ``loss(x, y, targets)`` with the two sides (N, d) of the pairs, rows matched, and targets
    (N,): only their order matters, and equal ones are not compared.

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
    >>> from nearfar import CoSENT
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    >>> y = np.array([[0.9, 0.1], [0.8, 1.0], [1.0, 0.3]])
    >>> print(f"{CoSENT(temperature=0.5)(x, y, [0.9, 0.2, 0.5]):.6f}")
    3.527783
    """

    temperature: float = positive(0.05)
    reduction: str = choice("mean")

    def rule(self) -> RankedPairs:
        return RankedPairs(False)

"""InfoNCE, one way: queries against their positives and negatives."""

from nearfar.losses.families import Queries
from nearfar.losses.fields import choice, from_zero, positive
from nearfar.rules import HardOneWay, OneWay
from nearfar.similarity import SIMILARITIES


class InfoNCE(Queries):
    """Cross-entropy of finding each query's positive among its negatives.

    Formula: with s(x, y) = similarity(x, y) / temperature,
    L = 1/N sum_i ( log( exp s(q_i, p_i) + sum_k exp s(q_i, n_k) ) - s(q_i, p_i) ).

    Source: van den Oord et al. 2018, CPC, arXiv 1807.03748, eq. 4; with a queue of negatives
    He et al. 2020, MoCo, arXiv 1911.05722, eq. 1.

    Call ``loss(query, positive)``: both (N, d), the negatives are the other rows of `positive`;
    ``loss(query, positive, negatives)``: (K, d), shared by all queries (a queue), or (N, K, d),
    each query's own. With `negatives` the other rows' positives are no negatives.

    Range: from 0 up; chance level, where all similarities are equal, is log(N), or log(1 + K).
    Every query has its positive; without any negative (N = 1) its loss is 0.

    Parameters
    ----------
    temperature
        Divides the similarities; above 0.
    similarity
        "cosine" (rows are normalised inside), "dot", "neg_euclidean", "neg_sqeuclidean".
    hardness
        Times the similarity, taken for a constant, is added to the logits of negatives, so that
        hard ones weigh more in the sum; from 0 on. A call takes no temperature then.
    scale
        A factor on the result.
    scale_by
        "constant": the factor is `scale`; "temperature": it is scale * temperature, and a call
        takes no temperature.
    reduction
        "mean" over the queries, "sum", or "none": (N,).

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import InfoNCE
    >>> query = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> key = np.array([[0.9, 0.1], [0.2, 1.0]])
    >>> queue = np.array([[-1.0, 0.0], [0.0, -1.0], [0.7, 0.7]])
    >>> print(f"{InfoNCE(temperature=0.5)(query, key, queue):.6f}")
    0.547386
    """

    temperature: float = positive(0.07)
    similarity: str = choice(*SIMILARITIES)
    hardness: float = from_zero(0.0)
    scale_by: str = choice("constant", "temperature")

    def rule(self) -> OneWay | HardOneWay:
        if self.hardness:
            return HardOneWay(1 + self.hardness * self.temperature)
        return OneWay()

"""InfoNCE, arXiv 1807.03748 eq. 4; with a queue as in MoCo, arXiv 1911.05722 eq. 1.

    loss(i) = -log( exp(q_i . k_i / t) / (exp(q_i . k_i / t) + sum over negatives m of i
                                                                 exp(q_i . m / t)) )

The negatives of query i are the other rows' positives (None), all rows of a queue (K, d), or its
own (N, K, d).
"""

import math

from oracles.similarity import SIMILARITIES
from oracles.stable import log_sum_exp, softplus


def infonce(
    query,
    positive,
    negatives=None,
    *,
    temperature=0.07,
    similarity="cosine",
    scale=1.0,
    scale_by="constant",
    reduction="mean",
):
    """A float, or with `reduction="none"` the list of N losses."""
    scale = scale * temperature if scale_by == "temperature" else scale
    measure = SIMILARITIES[similarity]
    losses = []
    for i, q in enumerate(query):
        if negatives is None:
            mine = [k for j, k in enumerate(positive) if j != i]
        elif _depth(negatives) == 2:
            mine = negatives
        else:
            mine = negatives[i]
        against = log_sum_exp([measure(q, m) / temperature for m in mine])
        losses.append(scale * softplus(against - measure(q, positive[i]) / temperature))

    if reduction == "none":
        return losses
    total = math.fsum(losses)
    return total if reduction == "sum" else total / len(losses)


def _depth(nested) -> int:
    return 1 + _depth(nested[0]) if isinstance(nested, list | tuple) else 0

"""SigLIP, arXiv 2303.15343 section 3.2 and algorithm 1: every pair is a yes or no of its own.

loss(i) = sum_j -log( 1 / (1 + exp(-m_ij (s_ij + bias))) ),  s_ij = similarity(x_i, y_j) / t,
m_ij = 1 for j = i and -1 otherwise
"""

import math

from oracles.similarity import SIMILARITIES
from oracles.stable import softplus


def siglip(x, y, *, temperature=0.1, bias=-10.0, similarity="cosine", scale=1.0, reduction="mean"):
    """A float, the mean being that over the N rows; with `reduction="none"` the N row sums."""
    measure = SIMILARITIES[similarity]
    losses = []
    for i, u in enumerate(x):
        logits = [measure(u, v) / temperature + bias for v in y]
        terms = [softplus(-logit if j == i else logit) for j, logit in enumerate(logits)]
        losses.append(scale * math.fsum(terms))

    if reduction == "none":
        return losses
    total = math.fsum(losses)
    return total if reduction == "sum" else total / len(losses)

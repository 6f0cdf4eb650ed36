"""CLIP, arXiv 2103.00020 fig. 3: cross-entropy over the texts of an image, and the other way.

loss(i) = 1/2 ( log sum_j exp(s_ij) + log sum_j exp(s_ji) ) - s_ii,
s_ij = similarity(x_i, y_j) / temperature
"""

import math

from oracles.similarity import SIMILARITIES
from oracles.stable import log_sum_exp, softplus


def clip(
    x,
    y,
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
    s = [[measure(u, v) / temperature for v in y] for u in x]
    losses = []
    for i in range(len(x)):
        others = [j for j in range(len(x)) if j != i]
        over_y = softplus(log_sum_exp([s[i][j] for j in others]) - s[i][i])
        over_x = softplus(log_sum_exp([s[j][i] for j in others]) - s[i][i])
        losses.append(scale * (over_y + over_x) / 2)

    if reduction == "none":
        return losses
    total = math.fsum(losses)
    return total if reduction == "sum" else total / len(losses)

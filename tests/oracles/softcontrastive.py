"""Graded positives: L_i = -sum_{j != i} w_ij log softmax_j over k != i of s_ik / temperature.

w_ij, before `normalise`:
    "given"    the matrix
    "rbf"      exp(-|y_i - y_j|^2 / (2 bandwidth^2))          y-Aware, arXiv 2106.08808 eq. 4
    "jaccard"  |Y_i and Y_j| / |Y_i or Y_j|, 1 for two empty rows
    "cosine"   softmax over j != i of cosine(e_i, e_j) / bandwidth     X-CLR, arXiv 2407.18134
normalise: "row" divides by the sum of w_i., "positives" by how many are above 0, "none" by 1. An
anchor whose weights are all 0 does not count.
"""

import math

from oracles.candidates import reduced
from oracles.similarity import SIMILARITIES, cosine
from oracles.stable import log_sum_exp


def softcontrastive(
    embeddings,
    targets,
    *,
    temperature=0.1,
    similarity="cosine",
    weights="given",
    bandwidth=1.0,
    normalise="row",
    sample_weight=None,
    scale=1.0,
    reduction="mean",
):
    """A float, or with `reduction="none"` the list of the anchors' losses."""
    n = len(embeddings)
    measure = SIMILARITIES[similarity]
    losses, counts = [], []
    for i in range(n):
        others = [j for j in range(n) if j != i]
        s = {j: measure(embeddings[i], embeddings[j]) / temperature for j in others}
        log_sum = log_sum_exp(list(s.values()))
        w = dict(zip(others, pair_weights(targets, i, others, weights, bandwidth), strict=True))
        total = math.fsum(w.values())
        above = sum(x > 0 for x in w.values())
        over = {"row": total, "positives": above, "none": 1.0}[normalise]
        terms = [w[j] * (log_sum - s[j]) for j in others]
        losses.append(scale * math.fsum(terms) / over if above else 0.0)
        counts.append(above > 0)
    return reduced(losses, counts, sample_weight, reduction)


def pair_weights(targets, i, others, weights, bandwidth) -> list[float]:
    if weights == "given":
        return [targets[i][j] for j in others]
    if weights == "cosine":
        z = [cosine(targets[i], targets[j]) / bandwidth for j in others]
        log_sum = log_sum_exp(z)
        return [math.exp(x - log_sum) for x in z]
    return [_pair(targets[i], targets[j], weights, bandwidth) for j in others]


def _pair(u, v, weights, bandwidth) -> float:
    u, v = (x if isinstance(x, list | tuple) else [x] for x in (u, v))
    if weights == "rbf":
        return math.exp(-(math.dist(u, v) ** 2) / (2 * bandwidth**2))
    union = sum(a == 1 or b == 1 for a, b in zip(u, v, strict=True))
    shared = sum(a == 1 and b == 1 for a, b in zip(u, v, strict=True))
    return shared / union if union else 1.0

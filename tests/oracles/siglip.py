"""SigLIP, arXiv 2303.15343 section 3.2 and algorithm 1: every pair is a yes or no of its own.

loss(i) = sum_j -log( 1 / (1 + exp(-m_ij (s_ij + bias))) ),  s_ij = similarity(x_i, y_j) / t,
m_ij = 1 for j = i and -1 otherwise

With ids: m_ij = 1 wherever the ids are equal ("positive"), no term there but for j = i ("ignore"),
or as without ("negative").
"""

import math

from oracles.candidates import left_out, reduced
from oracles.similarity import SIMILARITIES
from oracles.stable import softplus


def siglip(
    x,
    y,
    ids=None,
    *,
    temperature=0.1,
    bias=-10.0,
    similarity="cosine",
    same="positive",
    exclude=None,
    guide=None,
    sample_weight=None,
    scale=1.0,
    reduction="mean",
):
    """A float, the mean being that over the N rows of x; with "none" the N row sums."""
    x_ids, y_ids = ids if isinstance(ids, tuple) else (ids, ids)
    measure = SIMILARITIES[similarity]
    losses = []
    for i, u in enumerate(x):
        raw = [measure(u, v) for v in y]
        g = raw
        if exclude is not None and exclude.by == "guide":
            g = [SIMILARITIES["cosine"](guide[0][i], v) for v in guide[1]]
        alike = [ids is not None and x_ids[i] == y_ids[j] for j in range(len(y))]
        positive = [
            alike[j] if ids is not None and same == "positive" else j == i for j in range(len(y))
        ]
        thresholds = [g[j] for j in range(len(y)) if positive[j]]
        terms = []
        for j, r in enumerate(raw):
            logit = r / temperature + bias
            if positive[j]:
                terms.append(softplus(-logit))
            elif not (same == "ignore" and alike[j]) and not left_out(exclude, thresholds, g[j]):
                terms.append(softplus(logit))
        losses.append(scale * math.fsum(terms))
    return reduced(losses, [1] * len(losses), sample_weight, reduction)

"""Smooth-AP, Brown et al. 2020, arXiv 2007.12163 eq. 6 and 7.

loss(i) = 1 - 1/|P| sum over positives p of
          (1 + sum over q in P, q != p, of sg((s_iq - s_ip) / t))
        / (1 + sum over all others k != p of sg((s_ik - s_ip) / t))

`count_self`: the anchor itself is one of its positives and of all others.
"""

import math

from oracles.candidates import reduced
from oracles.similarity import SIMILARITIES
from oracles.supcon import share_label


def smoothap(
    embeddings,
    labels,
    *,
    temperature=0.01,
    count_self=False,
    similarity="cosine",
    scale=1.0,
    reduction="mean",
):
    measure = SIMILARITIES[similarity]
    n = len(embeddings)
    losses, counts = [], []
    for i in range(n):
        s = [measure(embeddings[i], row) for row in embeddings]
        others = [j for j in range(n) if j != i or count_self]
        positive = [j for j in others if share_label(labels[i], labels[j])]
        terms = []
        for p in positive:
            above = {k: _sigmoid((s[k] - s[p]) / temperature) for k in others if k != p}
            rank = 1 + math.fsum(above.values())
            among = 1 + math.fsum(above[q] for q in positive if q != p)
            terms.append(among / rank)
        losses.append(scale * (1 - math.fsum(terms) / len(terms)) if terms else 0.0)
        counts.append(bool(terms))
    return reduced(losses, counts, None, reduction)


def _sigmoid(x) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))

"""Contrastive loss of pairs, Hadsell, Chopra and LeCun 2006, eq. 4.

loss(i, j) = 1/2 (same ? d^2 : max(0, margin - d)^2),  averaged over the unordered pairs
"""

import math

from oracles import measures
from oracles.supcon import share_label


def pairmargin(
    embeddings, labels, *, margin=1.0, distance="euclidean", scale=1.0, reduction="mean"
):
    """A float, or with `reduction="none"` each row's mean over its pairs."""
    n = len(embeddings)
    losses = []
    for i in range(n):
        terms = []
        for j in range(n):
            if j != i:
                d = measures.distance(distance, embeddings[i], embeddings[j])
                same = share_label(labels[i], labels[j])
                terms.append((d**2 if same else max(0.0, margin - d) ** 2) / 2)
        losses.append(scale * math.fsum(terms) / (n - 1) if terms else 0.0)
    if reduction == "none":
        return losses
    total = math.fsum(losses)
    return total if reduction == "sum" else total / n

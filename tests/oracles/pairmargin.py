"""Contrastive loss of pairs, Hadsell, Chopra and LeCun 2006, eq. 4.

loss(i, j) = 1/2 (same ? d^2 : max(0, margin - d)^2),  averaged over the unordered pairs; with a
reference set over the pairs of an anchor with a candidate: the rows of the set, or these and the
other rows of the batch
"""

import math

from oracles import measures
from oracles.candidates import among, reduced
from oracles.supcon import share_label


def pairmargin(
    embeddings,
    labels,
    reference=None,
    reference_labels=None,
    *,
    margin=1.0,
    distance="euclidean",
    candidates="reference",
    sample_weight=None,
    scale=1.0,
    reduction="mean",
):
    """A float, or with `reduction="none"` each row's mean over its pairs."""
    n = len(embeddings)
    rows, names, first = among(embeddings, labels, reference, reference_labels, candidates)
    losses = []
    for i in range(n):
        terms = []
        for j in range(first, len(rows)):
            if j != i:
                d = measures.distance(distance, embeddings[i], rows[j])
                same = share_label(labels[i], names[j])
                terms.append((d**2 if same else max(0.0, margin - d) ** 2) / 2)
        losses.append(scale * math.fsum(terms) / len(terms) if terms else 0.0)
    return reduced(losses, [1] * n, sample_weight, reduction)

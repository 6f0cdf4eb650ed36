"""Lifted structure.

"generalised", Hermans et al. 2017, arXiv 1703.07737 section 2 (generalized lifted structure):
    loss(i) = [ log sum over positives of exp(d) + log sum over negatives of exp(margin - d) ]_+
"pairs", Song et al. 2016, arXiv 1511.06452 eq. 4, over ordered positive pairs:
    loss(i, p) = 1/2 [ log( sum over negatives n of i of exp(margin - d_in)
                          + sum over negatives n of p of exp(margin - d_pn) ) + d_ip ]_+^2

Without positives an anchor of "generalised" does not count ("skip"), counts as 0 ("zero"), or its
positives' logarithm is 0 ("count"). An anchor (a pair) without any negative has the loss 0.
"""

import math

from oracles import measures
from oracles.candidates import among, reduced
from oracles.stable import log_sum_exp
from oracles.supcon import share_label


def lifted(
    embeddings,
    labels,
    reference=None,
    reference_labels=None,
    *,
    margin=1.0,
    form="generalised",
    distance="euclidean",
    without_positives="skip",
    candidates="reference",
    sample_weight=None,
    scale=1.0,
    reduction="mean",
):
    """A float; with "none" the anchors' losses, under "pairs" the sums of their pairs."""
    n = len(embeddings)
    rows, names, first = among(embeddings, labels, reference, reference_labels, candidates)
    d = [[measures.distance(distance, u, v) for v in rows] for u in embeddings]
    others = [[j for j in range(first, len(rows)) if j != i] for i in range(n)]
    same = [[j for j in others[i] if share_label(labels[i], names[j])] for i in range(n)]
    push = [[margin - d[i][j] for j in others[i] if j not in same[i]] for i in range(n)]
    losses, counts = [], []
    for i in range(n):
        if form == "pairs":
            terms = [
                max(0.0, log_sum_exp(push[i] + push[p]) + d[i][p]) ** 2 / 2
                if push[i] + push[p]
                else 0.0
                for p in same[i]
            ]
            losses.append(scale * math.fsum(terms))
            counts.append(len(terms))
            continue
        pull = log_sum_exp([d[i][p] for p in same[i]]) if same[i] else 0.0
        loss = max(0.0, pull + log_sum_exp(push[i])) if push[i] else 0.0
        if not same[i] and without_positives != "count":
            loss = 0.0
        losses.append(scale * loss)
        counts.append(bool(same[i]) or without_positives != "skip")
    return reduced(losses, counts, sample_weight, reduction)

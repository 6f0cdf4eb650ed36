"""Multi-similarity, Wang et al. 2019, arXiv 1904.06627 eq. 15, mining eq. 9 and 10.

loss(i) = 1/alpha log(1 + sum over positives p of exp(-alpha (s_ip - base)))
        + 1/beta log(1 + sum over negatives n of exp(beta (s_in - base)))

With mining=e a negative counts where s_in + e > the least s_ip, a positive where s_ip - e < the
largest s_in. An anchor without positives: its negatives count alone ("count"), it has no part in
the mean ("skip") or counts as 0 ("zero").
"""

import math

from oracles.candidates import among, reduced
from oracles.similarity import SIMILARITIES
from oracles.stable import log_sum_exp, softplus
from oracles.supcon import share_label


def multisimilarity(
    embeddings,
    labels,
    reference=None,
    reference_labels=None,
    *,
    alpha=2.0,
    beta=50.0,
    base=0.5,
    mining=False,
    similarity="cosine",
    without_positives="count",
    candidates="reference",
    sample_weight=None,
    scale=1.0,
    reduction="mean",
):
    measure = SIMILARITIES[similarity]
    n = len(embeddings)
    rows, names, first = among(embeddings, labels, reference, reference_labels, candidates)
    losses, counts = [], []
    for i in range(n):
        s = [measure(embeddings[i], row) for row in rows]
        others = [j for j in range(first, len(rows)) if j != i]
        same = [j for j in others if share_label(labels[i], names[j])]
        positive = [s[j] for j in same]
        negative = [s[j] for j in others if j not in same]
        if mining is not False:
            low, high = min(positive, default=math.inf), max(negative, default=-math.inf)
            negative = [x for x in negative if x + mining > low]
            positive = [x for x in positive if x - mining < high]
        pull = softplus(log_sum_exp([-alpha * (x - base) for x in positive])) / alpha
        push = softplus(log_sum_exp([beta * (x - base) for x in negative])) / beta
        idle = not same and without_positives != "count"
        losses.append(0.0 if idle else scale * (pull + push))
        counts.append(bool(same) or without_positives != "skip")
    return reduced(losses, counts, sample_weight, reduction)

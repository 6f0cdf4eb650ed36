"""Triplets mined from a labelled batch, arXiv 1703.07737; semihard: FaceNet, arXiv 1503.03832.

    loss(a, p, n) = max(0, d_ap - d_an + margin)

Positives and negatives are other rows of the batch; rows of a reference set where one is given; or
both.

- "all": every a, p, n with labels(a) == labels(p) != labels(n), p not a;
- "hard": for each a the farthest p and the nearest n;
- "semihard": for each (a, p) the nearest n with d_an > d_ap, else the farthest n;
- "all_semihard": every triplet with d_ap < d_an <= d_ap + margin.

The mean is taken over the triplets, for "all" and "all_semihard" with `count="active"` over those
with a loss above 0; `without_positives="zero"` adds a 0 for every anchor without positives (or
without negatives, which is the same: it has no triplet). Triplets weigh as much as their anchor.
"""

import math

from oracles import measures
from oracles.candidates import among, reduced
from oracles.supcon import share_label


def batchtriplet(
    embeddings,
    labels,
    reference=None,
    reference_labels=None,
    *,
    margin=0.2,
    mining="all",
    distance="euclidean",
    count="active",
    without_positives="skip",
    candidates="reference",
    sample_weight=None,
    scale=1.0,
    reduction="mean",
):
    """A float, or with `reduction="none"` the list of the anchors' sums."""
    n = len(embeddings)
    rows, names, first = among(embeddings, labels, reference, reference_labels, candidates)
    sums, counts = [], []
    for i in range(n):
        triplets, has = _mined(rows, names, i, first, margin, mining, distance)
        losses = [max(0.0, ap - an + margin) for ap, an in triplets]
        sums.append(scale * math.fsum(losses))
        some = mining in ("all", "all_semihard") and count == "active"
        counts.append(sum(loss > 0 for loss in losses) if some else len(losses))
        counts[-1] += not has and without_positives == "zero"
    return reduced(sums, counts, sample_weight, reduction)


def _mined(rows, names, i, first, margin, mining, metric):
    """The pairs (d_ap, d_an) of anchor i, and whether it has any triplet to choose from."""
    others = [j for j in range(first, len(rows)) if j != i]
    d = {j: measures.distance(metric, rows[i], rows[j]) for j in others}
    positives = [d[j] for j in others if share_label(names[i], names[j])]
    negatives = [d[j] for j in others if not share_label(names[i], names[j])]
    if not positives or not negatives:
        return [], False
    every = [(ap, an) for ap in positives for an in negatives]
    if mining == "hard":
        return [(max(positives), min(negatives))], True
    if mining == "semihard":
        return [
            (ap, min((an for an in negatives if an > ap), default=max(negatives)))
            for ap in positives
        ], True
    if mining == "all_semihard":
        return [(ap, an) for ap, an in every if ap < an <= ap + margin], True
    return every, True

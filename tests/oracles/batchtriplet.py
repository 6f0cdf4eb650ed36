"""Triplets mined from a labelled batch, arXiv 1703.07737; semihard: FaceNet, arXiv 1503.03832.

    loss(a, p, n) = max(0, d_ap - d_an + margin)

- "all": every a, p, n with labels(a) == labels(p) != labels(n), p not a;
- "hard": for each a the farthest p and the nearest n;
- "semihard": for each (a, p) the nearest n with d_an > d_ap, else the farthest n;
- "all_semihard": every triplet with d_ap < d_an <= d_ap + margin.

The mean is taken over the triplets, for "all" and "all_semihard" with `count="active"` over those
with a loss above 0; `without_positives="zero"` adds a 0 for every anchor without positives (or
without negatives, which is the same: it has no triplet).
"""

import math

from oracles import measures
from oracles.supcon import share_label


def batchtriplet(
    embeddings,
    labels,
    *,
    margin=0.2,
    mining="all",
    distance="euclidean",
    count="active",
    without_positives="skip",
    scale=1.0,
    reduction="mean",
):
    """A float, or with `reduction="none"` the list of the anchors' sums."""
    sums, counted, empty = [], 0, 0
    for triplets, has in (
        _mined(embeddings, labels, i, margin, mining, distance) for i in range(len(embeddings))
    ):
        losses = [max(0.0, ap - an + margin) for ap, an in triplets]
        sums.append(scale * math.fsum(losses))
        some = mining in ("all", "all_semihard") and count == "active"
        counted += sum(loss > 0 for loss in losses) if some else len(losses)
        empty += not has
    if reduction == "none":
        return sums
    total = math.fsum(sums)
    if reduction == "sum":
        return total
    counted += empty if without_positives == "zero" else 0
    return total / counted if counted else 0.0


def _mined(embeddings, labels, i, margin, mining, metric):
    """The pairs (d_ap, d_an) of anchor i, and whether it has any triplet to choose from."""
    d = [measures.distance(metric, embeddings[i], other) for other in embeddings]
    same = [share_label(labels[i], other) for other in labels]
    positives = [d[j] for j in range(len(d)) if same[j] and j != i]
    negatives = [d[j] for j in range(len(d)) if not same[j] and j != i]
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

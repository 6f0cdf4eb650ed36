"""Triplet loss, FaceNet, arXiv 1503.03832 eq. 3, of matched rows.

loss(i) = max(0, d(anchor_i, positive_i) - d(anchor_i, negative_i) + margin)
"""

from oracles.candidates import reduced
from oracles.measures import paired


def triplet(
    anchor,
    positive,
    negative,
    *,
    margin=0.2,
    distance="sqeuclidean",
    sample_weight=None,
    scale=1.0,
    reduction="mean",
):
    """A float, or with `reduction="none"` the list of N losses."""
    near, far = paired(anchor, positive, distance), paired(anchor, negative, distance)
    losses = [scale * max(0.0, p - n + margin) for p, n in zip(near, far, strict=True)]
    return reduced(losses, [1] * len(losses), sample_weight, reduction)

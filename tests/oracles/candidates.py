"""What an anchor is compared with: candidates left out, weights of anchors, frequencies.

A negative j of anchor i is left out (a probable false negative) where

    g_ij > theta_i - margin              kind "absolute"
    g_ij > theta_i - |theta_i| margin    kind "relative"

with theta_i the smallest g of i to one of its positives; g is the cosine of a guide's embeddings
(GISTEmbed, arXiv 2402.16829), or the loss's own similarity.

A candidate's logit loses log q, the logarithm of how probable it is in a batch (Yi et al. 2019,
Sampling-Bias-Corrected Neural Modeling, eq. 3); positives too.
"""

import math
from typing import NamedTuple


class Exclusion(NamedTuple):
    by: str = "guide"  # "guide", "self"
    margin: float = 0.0
    kind: str = "absolute"  # "absolute", "relative"


def left_out(exclude, thresholds, g) -> bool:
    """Whether a negative at g is left out; `thresholds` are the g of the anchor's positives."""
    if exclude is None or not thresholds:
        return False
    theta = min(thresholds)
    slack = exclude.margin * (abs(theta) if exclude.kind == "relative" else 1.0)
    return g > theta - slack


def among(embeddings, labels, reference, reference_labels, candidates):
    """All rows with their labels, and the number of the first one that is a candidate."""
    rows = [*embeddings, *([] if reference is None else reference)]
    names = [*labels, *([] if reference is None else reference_labels)]
    return rows, names, 0 if reference is None or candidates == "both" else len(embeddings)


def reduced(losses, counts, weights, reduction):
    """The list of anchors' losses, weighted, or their weighted mean or sum.

    `counts` tells how many terms of the mean each anchor is: 0 where it does not count.
    """
    weights = [1.0] * len(losses) if weights is None else list(weights)
    each = [w * loss for w, loss in zip(weights, losses, strict=True)]
    if reduction == "none":
        return each
    total = math.fsum(each)
    if reduction == "sum":
        return total
    over = math.fsum(w * c for w, c in zip(weights, counts, strict=True))
    return total / over if over else 0.0

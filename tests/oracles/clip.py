"""CLIP, arXiv 2103.00020 fig. 3: cross-entropy over the texts of an image, and the other way.

loss(i) = 1/2 ( log sum_j exp(s_ij) + log sum_j exp(s_ji) ) - s_ii,
s_ij = similarity(x_i, y_j) / temperature, less log q of the candidate

With ids:
    "positive"  all of an id are positives: mean over them of the terms (UniCL, arXiv 2204.03610
                eq. 3 and 4, where the two directions are added); the sides may differ in length
    "ignore"    others of an anchor's id than its partner are left out
    "negative"  ids change nothing
"""

import math

from oracles.candidates import left_out, reduced
from oracles.similarity import SIMILARITIES
from oracles.stable import log_sum_exp, softplus


def clip(
    x,
    y,
    ids=None,
    *,
    temperature=0.07,
    similarity="cosine",
    same="positive",
    exclude=None,
    guide=None,
    log_q=None,
    sample_weight=None,
    scale=1.0,
    scale_by="constant",
    reduction="mean",
):
    """A float, or with `reduction="none"` the list of N losses, the means of both directions.

    `ids`: (N,), or those of x and those of y. `log_q`: of the rows of x and of those of y.
    """
    scale = scale * temperature if scale_by == "temperature" else scale
    x_ids, y_ids = _two(ids)
    x_q, y_q = log_q or ([0.0] * len(x), [0.0] * len(y))
    x_guide, y_guide = guide or (x, y)
    fields = {"temperature": temperature, "similarity": similarity}
    fields |= {"same": same, "exclude": exclude}
    over_y = one_way(x, y, x_ids, y_ids, y_q, (x_guide, y_guide), **fields)
    over_x = one_way(y, x, y_ids, x_ids, x_q, (y_guide, x_guide), **fields)
    if len(x) != len(y):
        assert reduction != "none"
        means = [
            reduced([0.0 if t is None else t for t in side], [t is not None for t in side], w, how)
            for side, w, how in (
                (over_y, sample_weight, reduction),
                (over_x, None, reduction),
            )
        ]
        return scale * math.fsum(means) / 2
    if None in over_y or None in over_x:  # ids that one side has and the other has not
        assert reduction == "mean"
        means = [
            reduced(
                [0.0 if t is None else t for t in side],
                [t is not None for t in side],
                sample_weight,
                "mean",
            )
            for side in (over_y, over_x)
        ]
        return scale * math.fsum(means) / 2
    losses = [scale * (a + b) / 2 for a, b in zip(over_y, over_x, strict=True)]
    return reduced(losses, [1] * len(losses), sample_weight, reduction)


def one_way(
    anchors, others, own_ids, other_ids, q, guides, *, temperature, similarity, same, exclude
) -> list[float | None]:
    """The anchors' losses; None for one without positives."""
    measure = SIMILARITIES[similarity]
    losses = []
    for i, u in enumerate(anchors):
        raw = [measure(u, v) for v in others]
        g = raw
        if exclude is not None and exclude.by == "guide":
            g = [SIMILARITIES["cosine"](guides[0][i], v) for v in guides[1]]
        s = [r / temperature - f for r, f in zip(raw, q, strict=True)]
        alike = [own_ids is not None and own_ids[i] == other for other in other_ids or raw]
        if own_ids is not None and same == "positive":
            positive = [j for j in range(len(others)) if alike[j]]
        else:
            positive = [i]
        thresholds = [g[j] for j in positive]
        negative = [
            j
            for j in range(len(others))
            if j not in positive
            and not (same == "ignore" and alike[j])
            and not left_out(exclude, thresholds, g[j])
        ]
        terms = [
            softplus(log_sum_exp([s[j] for j in positive + negative if j != p]) - s[p])
            for p in positive
        ]
        losses.append(math.fsum(terms) / len(terms) if terms else None)
    return losses


def _two(ids):
    if ids is None:
        return None, None
    return ids if isinstance(ids, tuple) else (ids, ids)

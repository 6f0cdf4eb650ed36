"""SupCon, arXiv 2004.11362 eq. 2 and 3, with the other conventions in use.

z_ij       = similarity(x_i, x_j) / temperature
term(i, p) = log D(i, p) - z_ip                      one per positive p of anchor i
D(i, p)    = sum of exp(z_ij) over
    "all"           every j other than i
    "own_positive"  p and the negatives of i         doi 10.1007/s13042-022-01622-7
    "negatives"     the negatives of i
`include_self` adds exp(z_ii) to every D(i, p); i is never a positive of itself.

loss(i), with r(i, p) = exp(-term(i, p)):
    "mean_log"  mean of term(i, p) over p            eq. 2, L_out
    "sum_log"   sum of term(i, p)
    "log_mean"  -log(mean of r(i, p))                eq. 3, L_in
    "log_sum"   -log(sum of r(i, p))
"""

import math

from oracles.similarity import SIMILARITIES
from oracles.stable import log_sum_exp, softplus


def share_label(one, other) -> bool:
    """Equal labels, or two multi-hot rows with a 1 in the same place."""
    if isinstance(one, list | tuple):
        return any(a == 1 and b == 1 for a, b in zip(one, other, strict=True))
    return one == other


def supcon(
    embeddings,
    labels,
    *,
    temperature=0.1,
    similarity="cosine",
    denominator="all",
    positives="mean_log",
    include_self=False,
    without_positives="skip",
    average="anchors",
    scale=1.0,
    scale_by="constant",
    reduction="mean",
):
    """A float, or with `reduction="none"` the list of the anchors' losses."""
    scale = scale * temperature if scale_by == "temperature" else scale
    n = len(embeddings)
    measure = SIMILARITIES[similarity]
    terms = []  # terms[i]: one number per positive of anchor i
    for i in range(n):
        z = [measure(embeddings[i], embeddings[j]) / temperature for j in range(n)]
        positive = [j for j in range(n) if j != i and share_label(labels[i], labels[j])]
        negative = [j for j in range(n) if j != i and j not in positive]
        positive += [i] if include_self == "positive" else []
        own = [z[i]] if include_self is True else []
        terms.append(_anchor_terms(z, positive, negative, own, denominator))

    if average == "pairs":
        assert positives == "mean_log", "the mean over pairs is a mean of logarithms"
        losses = [math.fsum(t) for t in terms]
        counted = sum(len(t) for t in terms)
    else:
        losses = [_over_positives(t, positives) for t in terms]
        counted = n if without_positives == "zero" else sum(len(t) > 0 for t in terms)

    if reduction == "none":
        return [scale * loss for loss in losses]
    total = scale * math.fsum(losses)
    if reduction == "sum":
        return total
    return total / counted if counted else 0.0


def _anchor_terms(z, positive, negative, own, denominator) -> list[float]:
    terms = []
    for p in positive:
        if denominator == "negatives":
            beside = [z[j] for j in negative] + own
            # Without candidates there is nothing to compare with: no term, no positive.
            if beside:
                terms.append(log_sum_exp(beside) - z[p])
        else:
            others = [j for j in positive if j != p] if denominator == "all" else []
            beside = [z[j] for j in others + negative] + own
            # log(exp(z_p) + rest) - z_p, written so that a small term keeps its digits.
            terms.append(softplus(log_sum_exp(beside) - z[p]))
    return terms


def _over_positives(terms, positives) -> float:
    if not terms:
        return 0.0
    if positives == "mean_log":
        return math.fsum(terms) / len(terms)
    if positives == "sum_log":
        return math.fsum(terms)
    log_sum = log_sum_exp([-t for t in terms])
    return {"log_mean": math.log(len(terms)) - log_sum, "log_sum": -log_sum}[positives]

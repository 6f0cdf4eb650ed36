"""SupCon, arXiv 2004.11362 eq. 2 and 3, with the other conventions in use.

z_ij       = similarity(x_i, c_j) / temperature - log q_j
term(i, p) = log D(i, p) - z_ip                      one per positive p of anchor i
D(i, p)    = sum of exp(z_ij) over
    "all"           every candidate j
    "own_positive"  p and the negatives of i         doi 10.1007/s13042-022-01622-7
    "negatives"     the negatives of i
`include_self` adds exp(z_ii) to every D(i, p); i is never a positive of itself.

Candidates c of an anchor are the other rows of the batch; the rows of a reference set where one is
given, nobody being itself there; or both, batch first. Negatives may be left out: see
`candidates.py`.

loss(i), with r(i, p) = exp(-term(i, p)):
    "mean_log"  mean of term(i, p) over p            eq. 2, L_out
    "sum_log"   sum of term(i, p)
    "log_mean"  -log(mean of r(i, p))                eq. 3, L_in
    "log_sum"   -log(sum of r(i, p))
"""

import math

from oracles.candidates import left_out, reduced
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
    reference=None,
    reference_labels=None,
    *,
    temperature=0.1,
    similarity="cosine",
    denominator="all",
    positives="mean_log",
    include_self=False,
    without_positives="skip",
    average="anchors",
    candidates="reference",
    exclude=None,
    guide=None,
    log_q=None,
    sample_weight=None,
    scale=1.0,
    scale_by="constant",
    reduction="mean",
):
    """A float, or with `reduction="none"` the list of the anchors' losses.

    `guide`: a guide's embeddings of the batch, or of batch and reference. `log_q`: of the
    candidates, of the batch and then of the reference where both are.
    """
    scale = scale * temperature if scale_by == "temperature" else scale
    n = len(embeddings)
    measure = SIMILARITIES[similarity]
    # Candidates by (row, label, whether it is of the batch, row of the guide).
    rows = []
    guides = [None, None] if guide is None else [*guide, None]
    if reference is None or candidates == "both":
        rows += [(embeddings[j], labels[j], j, guides[0] and guides[0][j]) for j in range(n)]
    if reference is not None:
        rows += [
            (r, label, None, guides[1] and guides[1][k])
            for k, (r, label) in enumerate(zip(reference, reference_labels, strict=True))
        ]
    q = [0.0] * len(rows) if log_q is None else log_q

    terms = []  # terms[i]: one number per positive of anchor i
    for i in range(n):
        s = [measure(embeddings[i], row) for row, *_ in rows]
        g = s
        if exclude is not None and exclude.by == "guide":
            g = [SIMILARITIES["cosine"](guides[0][i], other) for *_, other in rows]
        z = [x / temperature - f for x, f in zip(s, q, strict=True)]
        others = [j for j, (_, _, number, _) in enumerate(rows) if number != i]
        positive = [j for j in others if share_label(labels[i], rows[j][1])]
        thresholds = [g[j] for j in positive]
        negative = [
            j for j in others if j not in positive and not left_out(exclude, thresholds, g[j])
        ]
        at = len(z)  # where the anchor's own logit stands
        in_batch = reference is None or candidates == "both"
        own_q = q[i] if in_batch else 0.0
        z.append(measure(embeddings[i], embeddings[i]) / temperature - own_q)
        positive += [at] if include_self == "positive" else []
        own = [z[at]] if include_self is True else []
        terms.append(_anchor_terms(z, positive, negative, own, denominator))

    if average == "pairs":
        assert positives == "mean_log", "the mean over pairs is a mean of logarithms"
        losses = [scale * math.fsum(t) for t in terms]
        counts = [len(t) for t in terms]
    else:
        losses = [scale * _over_positives(t, positives) for t in terms]
        counts = [1 if without_positives == "zero" else len(t) > 0 for t in terms]
    return reduced(losses, counts, sample_weight, reduction)


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

"""SupCR, Rank-N-Contrast, arXiv 2210.01189 eq. 2 and 3: a triple loop over anchor, positive, set.

    term(i, k) = log( sum over j in S(i, k) of exp(s_ij) ) - s_ik,   k != i
    S(i, k)    = { j != i : d_ij >= d_ik }  "farther";  { j != i : d_ij <= d_ik }  "nearer"
    loss(i)    = mean of term(i, k) over k

with s_ij = similarity(z_i, z_j) / temperature and d the distance of the targets: ties are in S.

Candidates j, k are the other rows; the rows of a reference set where one is given; or both.
"""

import math
import operator

import numpy as np

from oracles.candidates import reduced
from oracles.similarity import SIMILARITIES
from oracles.stable import log_sum_exp, softplus


def supcr(
    embeddings,
    targets,
    reference=None,
    reference_targets=None,
    *,
    temperature=2.0,
    similarity="neg_euclidean",
    order="farther",
    label_distance="l1",
    candidates="reference",
    sample_weight=None,
    scale=1.0,
    reduction="mean",
):
    """A float, or with `reduction="none"` the list of the anchors' means; 0 for one row alone."""
    n = len(embeddings)
    measure = SIMILARITIES[similarity]
    in_set = ORDERS[order]
    rows = [*embeddings] if reference is None else [*embeddings, *reference]
    if reference is not None:
        targets = np.concatenate([np.asarray(targets), np.asarray(reference_targets)])
    in_batch = reference is None or candidates == "both"
    d = label_distances(targets, label_distance)
    losses = []
    for i in range(n):
        others = [j for j in range(0 if in_batch else n, len(rows)) if j != i]
        s = [measure(embeddings[i], row) / temperature for row in rows]
        terms = []
        for k in others:
            beside = [s[j] for j in others if j != k and in_set(d[i][j], d[i][k])]
            # log(exp(s_ik) + rest) - s_ik, written so that a small term keeps its digits.
            terms.append(softplus(log_sum_exp(beside) - s[k]))
        losses.append(scale * math.fsum(terms) / len(terms) if terms else 0.0)
    return reduced(losses, [1] * n, sample_weight, reduction)


ORDERS = {"farther": operator.ge, "nearer": operator.le}


def label_distances(targets, kind) -> list[list]:
    """Of rows or numbers, rounded as their dtype rounds: that is what makes two of them tie.

    Integers are exact, under "l2" as the squares, which are in the same order.
    """
    targets = np.asarray(targets)
    rows = targets.reshape(len(targets), -1)
    exact = targets.dtype.kind in "iu"
    # NumPy's scalars round after each operation; Python's integers never do.
    rows = rows.tolist() if exact else [[*row] for row in rows]
    return [[_distance(u, v, kind, exact) for v in rows] for u in rows]


def _distance(u, v, kind, exact):
    total = 0 if exact else u[0] * 0
    for x, y in zip(u, v, strict=True):
        total = total + (abs(x - y) if kind == "l1" else (x - y) * (x - y))
    return total if kind == "l1" or exact else np.sqrt(total)

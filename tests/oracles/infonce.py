"""InfoNCE, arXiv 1807.03748 eq. 4; with a queue as in MoCo, arXiv 1911.05722 eq. 1.

    loss(i) = log( exp(s(q_i, p_i)) + sum over negatives m of i exp(s(q_i, m)) ) - s(q_i, p_i)

The negatives of query i are the other rows' positives where no negatives are given
("without_negatives"), always or never; all rows of an array (K, d); its own of (N, K, d), or those
of all queries (own="all"); all rows of a queue (M, d). A row of `negatives` where `valid` is False
is padding.

`directions` put further candidates into the sum, as sentence-transformers' losses and GTE (arXiv
2308.03281 section 3.2) do:
    "qp"  q_i against what is said above
    "qq"  q_i against q_j, j != i
    "pq"  p_i against q_j, all j: the positive once more
    "pp"  p_i against p_j, j != i
    "pn"  p_i against the own negatives of the queries j != i, which only the first of these losses
          does
"joint": one sum of all; "per_direction": mean over the directions of log(its sum) - s(q_i, p_i).

With ids and same="ignore" rows of the batch that have the query's id are left out, but for its
positive.
"""

import math

from oracles.candidates import left_out, reduced
from oracles.similarity import SIMILARITIES
from oracles.stable import log_sum_exp, softplus


def infonce(
    query,
    positive,
    negatives=None,
    queue=None,
    ids=None,
    valid=None,
    *,
    temperature=0.07,
    similarity="cosine",
    in_batch="without_negatives",
    own="mine",
    directions=("qp",),
    partition="joint",
    hardness=0.0,
    same="ignore",
    exclude=None,
    guide=None,
    log_q=None,
    sample_weight=None,
    scale=1.0,
    scale_by="constant",
    reduction="mean",
):
    """A float, or with `reduction="none"` the list of N losses.

    `guide` and `log_q`: one for each candidate argument in call order; the guide's first is that
    of the queries.
    """
    scale = scale * temperature if scale_by == "temperature" else scale
    measure = SIMILARITIES[similarity]
    n = len(query)
    arrays = [query, positive, *(x for x in (negatives, queue) if x is not None)]
    guides = list(guide) if guide is not None else [None] * len(arrays)
    p_q, *more_q = log_q if log_q is not None else [None] * (len(arrays) - 1)
    names = [name for name, x in (("negatives", negatives), ("queue", queue)) if x is not None]
    of_guide = dict(zip(("query", "positive", *names), guides, strict=True))
    of_q = {"positive": p_q, **dict(zip(names, more_q, strict=True))}
    own_rows = negatives is not None and _depth(negatives) == 3
    batch = in_batch == "always" or (
        in_batch == "without_negatives" and negatives is None and queue is None
    )

    losses = []
    for i in range(n):

        def at(name, *place, _q=True):
            """A candidate: its row, its guide's row, its log q."""
            arrays = {"query": query, "positive": positive, "negatives": negatives, "queue": queue}
            row, seen = arrays[name], of_guide[name]
            freq = of_q.get(name) if _q else None
            for k in place:
                row = row[k]
                seen = None if seen is None else seen[k]
                freq = None if freq is None else freq[k]
            return row, seen, freq or 0.0

        def scored(anchor, candidate):
            """(logit, g) of an anchor and a candidate."""
            (u, u_seen, _), (v, v_seen, freq) = anchor, candidate
            s = measure(u, v)
            g = s
            if exclude is not None and exclude.by == "guide":
                g = SIMILARITIES["cosine"](u_seen, v_seen)
            return s / temperature - freq + hardness * s, g

        q, p = at("query", i), at("positive", i)
        target, theta = scored(q, p)
        target -= hardness * measure(q[0], p[0])
        alike = [
            j != i and ids is not None and same == "ignore" and ids[j] == ids[i] for j in range(n)
        ]
        others = [j for j in range(n) if j != i and not alike[j]]
        groups = {}
        found = [scored(q, at("positive", j)) for j in others] if batch else []
        if own_rows:
            queries = range(n) if own == "all" else [i]
            found += [
                scored(q, at("negatives", j, k))
                for j in queries
                for k in range(len(negatives[j]))
                if valid is None or valid[j][k]
            ]
        elif negatives is not None:
            found += [scored(q, at("negatives", k)) for k in range(len(negatives))]
        if queue is not None:
            found += [scored(q, at("queue", k)) for k in range(len(queue))]
        groups["qp"] = found
        groups["qq"] = [scored(q, at("query", j, _q=False)) for j in others]
        groups["pq"] = [scored(p, at("query", j, _q=False)) for j in others]
        groups["pp"] = [scored(p, at("positive", j)) for j in others]
        if own_rows:
            groups["pn"] = [
                scored(p, at("negatives", j, k))
                for j in others
                for k in range(len(negatives[j]))
                if valid is None or valid[j][k]
            ]
        sums = {
            name: [z for z, g in group if not left_out(exclude, [theta], g)]
            for name, group in groups.items()
        }
        again = scored(p, q)[0]
        if partition == "joint":
            against = [z for name in directions for z in sums[name]]
            against += [again] if "pq" in directions else []
            if "qp" in directions:
                losses.append(softplus(log_sum_exp(against) - target))
            else:
                losses.append(log_sum_exp(against) - target)
        else:
            logs = []
            for name in directions:
                beside = {"qp": [target], "pq": [again]}.get(name, [])
                logs.append(log_sum_exp(sums[name] + beside) - target)
            losses.append(math.fsum(logs) / len(logs))
    losses = [scale * loss for loss in losses]
    return reduced(losses, [1] * n, sample_weight, reduction)


def _depth(nested) -> int:
    return 1 + _depth(nested[0]) if isinstance(nested, list | tuple) else 0

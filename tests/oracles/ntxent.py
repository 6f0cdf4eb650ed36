"""NT-Xent, SimCLR, arXiv 2002.05709 eq. 1: a double loop over the 2N anchors.

    loss(i) = -log( exp(z_ij) / sum over k != i of exp(z_ik) ),  j the other view of i

`denominator="own_positive"` is the same sum, as there is one positive; `"negatives"` leaves j out
of it (DCL, arXiv 2110.06848); `include_self` puts i in. Logits of negatives are larger by
`hardness` times their similarity. With `anchors="first"` i is in the first
view. With ids and same="ignore" other rows of the anchor's id are left out.
"""

from oracles.candidates import left_out, reduced
from oracles.similarity import SIMILARITIES
from oracles.stable import log_sum_exp, softplus


def ntxent(
    a,
    b,
    ids=None,
    *,
    temperature=0.5,
    similarity="cosine",
    denominator="all",
    include_self=False,
    anchors="both",
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
    """A float, or with `reduction="none"` the list of the losses, those of `a` first.

    `log_q`: of the rows of a and of those of b. `sample_weight`: of the pairs (N,).
    """
    scale = scale * temperature if scale_by == "temperature" else scale
    n = len(a)
    losses = []
    for i in range(n if anchors == "first" else 2 * n):
        positive, others, own = two_views(
            a, b, i, ids, temperature, similarity, same, exclude, guide, log_q, hardness
        )
        others = others + ([own] if include_self else [])
        if denominator == "negatives":
            # One pair alone has no negatives; its anchors count as having no positive.
            losses.append(log_sum_exp(others) - positive if others else None)
        else:
            losses.append(softplus(log_sum_exp(others) - positive))
    weights = None if sample_weight is None else [*sample_weight, *sample_weight][: len(losses)]
    counts = [loss is not None for loss in losses]
    losses = [0.0 if loss is None else scale * loss for loss in losses]
    return reduced(losses, counts, weights, reduction)


def two_views(
    a,
    b,
    i,
    ids=None,
    temperature=0.5,
    similarity="cosine",
    same="ignore",
    exclude=None,
    guide=None,
    log_q=None,
    hardness=0.0,
):
    """Of anchor i: the logit of its positive, those of its negatives, and its own."""
    n = len(a)
    rows, j = [*a, *b], (i + n) % (2 * n)
    measure = SIMILARITIES[similarity]
    s = [measure(rows[i], row) for row in rows]
    g = s
    if exclude is not None and exclude.by == "guide":
        seen = [*guide[0], *guide[1]]
        g = [SIMILARITIES["cosine"](seen[i], other) for other in seen]
    q = [0.0] * (2 * n) if log_q is None else [*log_q[0], *log_q[1]]
    z = [x / temperature - f for x, f in zip(s, q, strict=True)]
    kept = [
        z[k] + hardness * s[k]
        for k in range(2 * n)
        if k not in (i, j)
        and not (ids is not None and same == "ignore" and ids[k % n] == ids[i % n])
        and not left_out(exclude, [g[j]], g[k])
    ]
    return z[j], kept, z[i]


def dcl(a, b, ids=None, **fields):
    """Decoupled, arXiv 2110.06848 eq. 6: without the positive in its denominator."""
    return ntxent(a, b, ids, **{"temperature": 0.1, "denominator": "negatives", **fields})

"""NT-Xent, SimCLR, arXiv 2002.05709 eq. 1: a double loop over the 2N anchors.

    loss(i) = -log( exp(z_ij) / sum over k != i of exp(z_ik) ),  j the other view of i

`denominator="own_positive"` is the same sum, as there is one positive; `"negatives"` leaves j out
of it (DCL, arXiv 2110.06848); `include_self` puts i in. With `anchors="first"` i is in the first
view.
"""

import math

from oracles.similarity import SIMILARITIES
from oracles.stable import log_sum_exp, softplus


def ntxent(
    a,
    b,
    *,
    temperature=0.5,
    similarity="cosine",
    denominator="all",
    include_self=False,
    anchors="both",
    scale=1.0,
    scale_by="constant",
    reduction="mean",
):
    """A float, or with `reduction="none"` the list of the losses, those of `a` first."""
    scale = scale * temperature if scale_by == "temperature" else scale
    rows = [*a, *b]
    n = len(a)
    measure = SIMILARITIES[similarity]
    losses = []
    for i in range(n if anchors == "first" else 2 * n):
        j = (i + n) % (2 * n)
        positive = measure(rows[i], rows[j]) / temperature
        others = [
            measure(rows[i], rows[k]) / temperature
            for k in range(2 * n)
            if k != j and (k != i or include_self)
        ]
        if denominator == "negatives":
            # One pair alone has no negatives; its anchors count as having no positive.
            losses.append(log_sum_exp(others) - positive if others else None)
        else:
            losses.append(softplus(log_sum_exp(others) - positive))

    if reduction == "none":
        return [0.0 if loss is None else scale * loss for loss in losses]
    counted = [loss for loss in losses if loss is not None]
    total = scale * math.fsum(counted)
    if reduction == "sum":
        return total
    return total / len(counted) if counted else 0.0


def dcl(a, b, **fields):
    """Decoupled, arXiv 2110.06848 eq. 6: without the positive in its denominator."""
    return ntxent(a, b, **{"temperature": 0.1, "denominator": "negatives", **fields})

"""HCL, arXiv 2010.04592 eq. 4 with the estimate of 2007.00224 eq. 8, as joshr17/HCL computes it.

With s_ij = similarity(z_i, z_j) / temperature over the 2B rows of both views, p the other view of
anchor i, k over its N = 2B - 2 negatives and w_k = exp(beta s_ik):

    reweighted = N sum_k( w_k exp(s_ik) ) / sum_k( w_k )
    G = max( (reweighted - tau_plus N exp(s_ip)) / (1 - tau_plus), N exp(-1 / temperature) )
    loss(i) = -log( exp(s_ip) / (exp(s_ip) + G) )

Negatives that share the anchor's id (same="ignore") or are left out are not among the N. An anchor
without negatives counts, with the loss 0.
"""

import math

from oracles.candidates import reduced
from oracles.ntxent import two_views
from oracles.stable import log_sum_exp, softplus


def hcl(a, b, ids=None, *, sample_weight=None, scale=1.0, reduction="mean", **fields):
    """A float, or with `reduction="none"` the list of 2B losses, those of `a` first.

    The remaining fields are those of `estimates`.
    """
    losses = [
        scale * softplus(max(raw, floor) - positive)
        for positive, raw, floor in estimates(a, b, ids, **fields)
    ]
    weights = None if sample_weight is None else [*sample_weight, *sample_weight]
    return reduced(losses, [1] * len(losses), weights, reduction)


def estimates(
    a,
    b,
    ids=None,
    *,
    temperature=0.5,
    tau_plus=0.1,
    beta=1.0,
    similarity="cosine",
    same="ignore",
    exclude=None,
    guide=None,
    log_q=None,
    detach_weights=False,
    weights_at=None,
) -> list[tuple[float, float, float]]:
    """Per anchor s_ip and the logarithms of what G is the maximum of.

    `detach_weights` is about the gradient only. The gradient that it means is the slope with the
    weights held: `weights_at` is the pair of views at which they are taken, `a` and `b` if None.
    """
    whom = (ids, temperature, similarity, same, exclude, guide, log_q)
    held = (a, b) if weights_at is None else weights_at
    found = []
    for i in range(2 * len(a)):
        positive, s, _ = two_views(a, b, i, *whom)
        w = [beta * z for z in two_views(*held, i, *whom)[1]]
        log_n = math.log(len(s)) if s else -math.inf
        mean = log_sum_exp([x + y for x, y in zip(w, s, strict=True)]) - log_sum_exp(w) if s else 0
        floor = log_n - 1 / temperature
        found.append((positive, log_n + _debiased(mean, positive, tau_plus), floor))
    return found


def _debiased(mean, positive, tau_plus) -> float:
    """log( (exp(mean) - tau_plus exp(positive)) / (1 - tau_plus) ); minus infinity below 0."""
    if tau_plus == 0:
        return mean
    share = math.log(tau_plus) + positive - mean
    return mean + math.log1p(-math.exp(share)) - math.log1p(-tau_plus) if share < 0 else -math.inf

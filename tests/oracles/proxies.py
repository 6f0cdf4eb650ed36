"""Losses of rows against proxies: labels are rows of the proxies. c_ik = cosine(x_i, w_k).

proxynca            log sum_k exp(-d_ik^2 / t) + d_iy^2 / t, d^2 = 2 - 2 c     arXiv 2004.01113
normalizedsoftmax   cross-entropy of c / t                                     arXiv 1811.12649
cosface             cross-entropy of (c - margin [k = y]) / t                  arXiv 1801.09414
arcface             cross-entropy of cos(angle + margin [k = y]) / t           arXiv 1801.07698;
                    where the angle is above pi - margin: c - margin sin(pi - margin)
softtriple          cross-entropy of (S - margin [k = y]) / t, S_ik = sum over the centres m of
                    class k of softmax_m(c_im / gamma) c_im                    arXiv 1909.05235
proxyanchor         1/|P+| sum over proxies p with rows of log(1 + sum over their rows of
                    exp(-alpha (c - margin))) + 1/|P| sum over all proxies of
                    log(1 + sum over all other rows of exp(alpha (c + margin)))  arXiv 2003.13911
"""

import math

from oracles.candidates import reduced
from oracles.similarity import cosine
from oracles.stable import log_sum_exp, softplus


def _cross_entropy(rows, labels, sample_weight, scale, reduction):
    losses = []
    for z, y in zip(rows, labels, strict=True):
        losses.append(scale * softplus(log_sum_exp(z[:y] + z[y + 1 :]) - z[y]))
    return reduced(losses, [1] * len(losses), sample_weight, reduction)


def proxynca(
    x, labels, proxies, *, temperature=1 / 3, sample_weight=None, scale=1.0, reduction="mean"
):
    z = [[-(2 - 2 * cosine(u, w)) / temperature for w in proxies] for u in x]
    return _cross_entropy(z, labels, sample_weight, scale, reduction)


def normalizedsoftmax(
    x, labels, proxies, *, temperature=0.05, sample_weight=None, scale=1.0, reduction="mean"
):
    z = [[cosine(u, w) / temperature for w in proxies] for u in x]
    return _cross_entropy(z, labels, sample_weight, scale, reduction)


def cosface(
    x,
    labels,
    proxies,
    *,
    temperature=1 / 64,
    margin=0.35,
    sample_weight=None,
    scale=1.0,
    reduction="mean",
):
    z = [
        [(cosine(u, w) - margin * (k == y)) / temperature for k, w in enumerate(proxies)]
        for u, y in zip(x, labels, strict=True)
    ]
    return _cross_entropy(z, labels, sample_weight, scale, reduction)


def arcface(
    x,
    labels,
    proxies,
    *,
    temperature=1 / 64,
    margin=0.5,
    sample_weight=None,
    scale=1.0,
    reduction="mean",
):
    def own(c):
        angle = math.acos(max(-1.0, min(1.0, c)))
        if angle <= math.pi - margin:
            return math.cos(angle + margin)
        return c - margin * math.sin(math.pi - margin)

    z = [
        [
            (own(c) if k == y else c) / temperature
            for k, c in enumerate(cosine(u, w) for w in proxies)
        ]
        for u, y in zip(x, labels, strict=True)
    ]
    return _cross_entropy(z, labels, sample_weight, scale, reduction)


def softtriple(
    x,
    labels,
    proxies,
    *,
    temperature=0.05,
    gamma=0.1,
    margin=0.01,
    sample_weight=None,
    scale=1.0,
    reduction="mean",
):
    """`proxies` (C, K, d)."""

    def relaxed(u, centres):
        c = [cosine(u, w) for w in centres]
        log_sum = log_sum_exp([v / gamma for v in c])
        return math.fsum(math.exp(v / gamma - log_sum) * v for v in c)

    z = [
        [
            (relaxed(u, centres) - margin * (k == y)) / temperature
            for k, centres in enumerate(proxies)
        ]
        for u, y in zip(x, labels, strict=True)
    ]
    return _cross_entropy(z, labels, sample_weight, scale, reduction)


def proxyanchor(x, labels, proxies, *, alpha=32.0, margin=0.1, scale=1.0, reduction="mean"):
    """A float; with "sum" that of the paper times |P+| + |P| has no meaning: "mean" only."""
    assert reduction == "mean"
    pulls, pushes = [], []
    for k, w in enumerate(proxies):
        c = [cosine(u, w) for u in x]
        own = [-alpha * (v - margin) for v, y in zip(c, labels, strict=True) if y == k]
        others = [alpha * (v + margin) for v, y in zip(c, labels, strict=True) if y != k]
        if own:
            pulls.append(softplus(log_sum_exp(own)))
        pushes.append(softplus(log_sum_exp(others)))
    return scale * (math.fsum(pulls) / len(pulls) + math.fsum(pushes) / len(pushes))

"""Losses of scored pairs (x_i, y_i): log(1 + sum over target_k > target_l of exp((s_l - s_k) / t)).

cosent: s is the cosine (Su 2022, kexue.fm/archives/8847). angle: AnglE, arXiv 2309.12871 eq. 6 and
7, as its authors' code computes it: rows are complex numbers, the first half of the features real
and the second imaginary (an odd row gets one more 0), s = |cosine + sum of im x re y - re x im y|
of unit rows.
"""

import math

from oracles.similarity import cosine
from oracles.stable import log_sum_exp, softplus


def cosent(x, y, targets, *, temperature=0.05, scale=1.0, reduction="mean"):
    assert reduction == "mean"
    return _ranked([cosine(u, v) for u, v in zip(x, y, strict=True)], targets, temperature, scale)


def angle(x, y, targets, *, temperature=0.05, scale=1.0, reduction="mean"):
    assert reduction == "mean"
    return _ranked([_turned(u, v) for u, v in zip(x, y, strict=True)], targets, temperature, scale)


def _ranked(s, targets, temperature, scale):
    pairs = [
        (s[k] - s[i]) / temperature
        for i in range(len(s))
        for k in range(len(s))
        if targets[i] > targets[k]
    ]
    return scale * softplus(log_sum_exp(pairs))


def _turned(u, v):
    u, v = ([*row, 0.0] if len(row) % 2 else list(row) for row in (u, v))
    half = len(u) // 2
    norms = math.hypot(*u) * math.hypot(*v)
    sines = math.fsum(u[half + k] * v[k] - u[k] * v[half + k] for k in range(half))
    return abs(cosine(u, v) + sines / norms) if norms else 0.0

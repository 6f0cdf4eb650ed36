"""Terms that spread rows or pull pairs, of unit rows u.

koleo       -1/n sum_i log( |u_i - u_nn(i)| + 1e-8 ), nn the nearest by cosine   arXiv 1806.03198
uniformity  log of the mean over i != j of exp(-t |u_i - u_j|^2)                 arXiv 2005.10242
alignment   mean |u_i - v_i|^alpha over the pairs                                arXiv 2005.10242
"""

import math

from oracles.candidates import reduced
from oracles.similarity import cosine
from oracles.stable import log_sum_exp


def _unit(row) -> list[float]:
    norm = math.hypot(*row)
    return [x / norm for x in row] if norm else list(row)


def koleo(x, *, eps=1e-8, scale=1.0, reduction="mean"):
    u = [_unit(row) for row in x]
    n = len(u)
    terms = []
    for i in range(n):
        if n == 1:
            terms.append(0.0)
            continue
        nearest = max((j for j in range(n) if j != i), key=lambda j: cosine(x[i], x[j]))
        terms.append(math.log(math.dist(u[i], u[nearest]) + eps))
    return reduced([-scale * term for term in terms], [1] * n, None, reduction)


def uniformity(x, *, t=2.0, scale=1.0, reduction="mean"):
    assert reduction == "mean"
    u = [_unit(row) for row in x]
    n = len(u)
    z = [-t * math.dist(u[i], u[j]) ** 2 for i in range(n) for j in range(n) if j != i]
    return scale * (log_sum_exp(z) - math.log(len(z))) if z else 0.0


def alignment(a, b, *, alpha=2.0, scale=1.0, reduction="mean"):
    pairs = [(_unit(u), _unit(v)) for u, v in zip(a, b, strict=True)]
    losses = [scale * math.dist(u, v) ** alpha for u, v in pairs]
    return reduced(losses, [1] * len(losses), None, reduction)

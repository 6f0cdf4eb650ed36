"""Losses of the moments of the features.

vicreg        arXiv 2105.04906 eq. 6: invariance mean (a - b)^2; variance, mean over the sides and
              features of [1 - sqrt(var + eps)]_+; covariance, sum over the sides of the squared
              off-diagonal entries over d; variances and covariances over n - 1.
barlowtwins   arXiv 2103.03230 eq. 1: sum_k (1 - c_kk)^2 + off_diagonal sum_{k != l} c_kl^2, c the
              correlations of a with b, variances over n with eps added.
"""

import math


def vicreg(
    a, b, *, invariance=25.0, variance=25.0, covariance=1.0, eps=1e-4, scale=1.0, reduction="mean"
):
    assert reduction == "mean"
    n, d = len(a), len(a[0])
    apart = math.fsum(
        (x - y) ** 2 for u, v in zip(a, b, strict=True) for x, y in zip(u, v, strict=True)
    )
    spread = cross = 0.0
    for side in (a, b):
        columns = _centred(side)
        c = [
            [math.fsum(x * y for x, y in zip(u, v, strict=True)) / (n - 1) for v in columns]
            for u in columns
        ]
        spread += math.fsum(max(0.0, 1 - math.sqrt(c[k][k] + eps)) for k in range(d)) / d / 2
        cross += math.fsum(c[k][m] ** 2 for k in range(d) for m in range(d) if m != k) / d
    return scale * (invariance * apart / (n * d) + variance * spread + covariance * cross)


def barlowtwins(a, b, *, off_diagonal=5e-3, eps=1e-5, scale=1.0, reduction="mean"):
    assert reduction == "mean"
    n, d = len(a), len(a[0])
    sides = []
    for side in (a, b):
        columns = _centred(side)
        sides.append(
            [[x / math.sqrt(math.fsum(y * y for y in u) / n + eps) for x in u] for u in columns]
        )
    c = [
        [math.fsum(x * y for x, y in zip(u, v, strict=True)) / n for v in sides[1]]
        for u in sides[0]
    ]
    on = math.fsum((1 - c[k][k]) ** 2 for k in range(d))
    off = math.fsum(c[k][m] ** 2 for k in range(d) for m in range(d) if m != k)
    return scale * (on + off_diagonal * off)


def _centred(rows) -> list[list[float]]:
    columns = [list(column) for column in zip(*rows, strict=True)]
    means = [math.fsum(column) / len(column) for column in columns]
    return [[x - m for x in column] for column, m in zip(columns, means, strict=True)]

"""N-pair, Sohn 2016, NIPS 29 eq. 5: InfoNCE with dot products, and a pull on the norms.

L = 1/N sum_i log(1 + sum over j != i of exp(a_i . p_j - a_i . p_i)) + l2 mean |z|^2 over all rows
"""

import math

from oracles.infonce import infonce
from oracles.similarity import dot


def npair(anchor, positive, *, l2=0.0, temperature=1.0, scale=1.0, reduction="mean"):
    assert reduction == "mean"
    loss = infonce(anchor, positive, similarity="dot", temperature=temperature)
    rows = [*anchor, *positive]
    return scale * (loss + l2 * math.fsum(dot(z, z) for z in rows) / len(rows))

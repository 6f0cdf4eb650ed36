"""ArcFace."""

from math import pi

from nearfar.losses.families_of_proxies import AgainstProxies
from nearfar.losses.fields import from_zero, positive
from nearfar.rules import AngularMargin


class ArcFace(AgainstProxies):
    """Cross-entropy over classes, where a row's own has to be ahead by an angle.

    Formula: with c_ik the cosine of row i and proxy k and a_iy the angle of row i and its own,
    L = 1/n sum_i -log( e_iy / (e_iy + sum_{k != y} exp(c_ik / temperature)) ), y the label of row i
    and e_iy = exp(cos(a_iy + margin) / temperature); where a_iy exceeds pi - margin,
    exp((c_iy - margin sin(pi - margin)) / temperature).

    Source: Deng et al. 2019, ArcFace: Additive Angular Margin Loss for Deep Face Recognition, arXiv
    1801.07698, eq. 3; what is beyond pi - margin as in the authors' code; temperature is 1 over its
    scale s.

    Call ``loss(embeddings, labels, proxies)`` with embeddings (n, d), labels (n,) of whole numbers
    that are rows of `proxies`, (C, d), which get a gradient. Both are normalised
    inside. Memory is O(n d + C d), and no array has a row for each class and row.

    Range: from 0 up. A row that is its own proxy but for its length gets no pull from it: it has no
    direction.

    Parameters
    ----------
    temperature
        Divides cosines; above 0. It may be learned.
    margin
        What is added to the angle of a row and its own proxy, in radians; from 0 on, below pi.
    scale
        A factor on the result.
    reduction
        "mean" over the rows, "sum", or "none": (n,).

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import ArcFace
    >>> z = np.array([[1.0, 0.0], [0.9, 0.2], [0.1, 1.0]])
    >>> proxies = np.array([[1.0, 0.1], [0.0, 1.0], [-1.0, 0.3]])
    >>> print(f"{ArcFace(temperature=0.5)(z, [0, 0, 1], proxies):.6f}")
    0.312601
    """

    temperature: float = positive(1 / 64)
    margin: float = from_zero(0.5, below=pi)

    def rule(self) -> AngularMargin:
        return AngularMargin(self.margin)

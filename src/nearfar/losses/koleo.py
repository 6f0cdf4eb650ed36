"""KoLeo, the Kozachenko-Leonenko estimate of entropy."""

from nearfar.losses.families_at_once import RowsAlone
from nearfar.losses.fields import positive
from nearfar.rules import Nearest


class KoLeo(RowsAlone):
    """Pushes every row from its nearest neighbour, so that rows spread evenly.

    Formula: with unit rows u and nn(i) the nearest other row of row i,
    L = -1/n sum_i log( |u_i - u_nn(i)| + eps ).

    Source: Sablayrolles et al. 2019, Spreading vectors for similarity search, arXiv 1806.03198,
    section 3.2; as in DINOv2, arXiv 2304.07193, rows are normalised inside.

    Call ``loss(embeddings)`` with rows (n, d): a term to add to another loss.

    Range: from -log(2) up; two equal rows have the term -log(eps) and no gradient, since no
    direction parts them. A single row has the loss 0. Where several rows are as near, the first is
    taken.

    Parameters
    ----------
    eps
        Added to the distance; above 0.
    scale
        A factor on the result.
    reduction
        "mean" over the rows, "sum", or "none": (n,).

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import KoLeo
    >>> z = np.array([[1.0, 0.0], [0.9, 0.2], [0.1, 1.0]])
    >>> print(f"{KoLeo()(z):.6f}")
    0.961836
    """

    eps: float = positive(1e-8)

    def rule(self) -> Nearest:
        return Nearest(self.eps)

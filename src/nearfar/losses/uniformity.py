"""Uniformity of unit rows."""

from nearfar.losses.families_at_once import RowsAlone
from nearfar.losses.fields import choice, positive
from nearfar.rules import Gaussians


class Uniformity(RowsAlone):
    """Rows repel one another by a Gaussian of their distance, so that they fill the sphere.

    Formula: with unit rows u, L = log( 1/(n (n - 1)) sum_{i != j} exp(-t |u_i - u_j|^2) ).

    Source: Wang and Isola 2020, Understanding Contrastive Representation Learning through Alignment
    and Uniformity on the Hypersphere, arXiv 2005.10242, eq. 5 and the code of section 5.

    Call ``loss(embeddings)`` with rows (n, d): a term to add to another loss. `Alignment` is its
    counterpart.

    Range: from -4t to 0, where all rows are equal. A single row has the loss 0.

    Parameters
    ----------
    t
        How narrow the Gaussian is; above 0.
    scale
        A factor on the result.
    reduction
        "mean": there is one number for the batch.

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import Uniformity
    >>> z = np.array([[1.0, 0.0], [0.9, 0.2], [0.1, 1.0]])
    >>> print(f"{Uniformity()(z):.6f}")
    -1.098146
    """

    t: float = positive(2.0)
    reduction: str = choice("mean")

    def rule(self) -> Gaussians:
        return Gaussians(self.t)

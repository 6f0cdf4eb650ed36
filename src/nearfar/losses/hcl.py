"""HCL, InfoNCE with hard negatives and a correction for false ones."""

from typing import Any

from nearfar.evaluate import CandidateEvaluation, PartitionEvaluation
from nearfar.frameworks import Array
from nearfar.losses.exclude import Exclude
from nearfar.losses.families import TwoViews
from nearfar.losses.fields import choice, excluding, from_zero, positive
from nearfar.rules import HardNegatives
from nearfar.similarity import SIMILARITIES


class HCL(TwoViews):
    """NT-Xent with hard negatives weighted up and false negatives taken off.

    Formula: with the 2N rows z of both views, s_ij = similarity(z_i, z_j) / temperature, p the
    logit of row i's other view, M = 2N - 2 negatives with weights w_j = exp(beta s_ij),
    G_i = max( (M sum_j w_j exp(s_ij) / sum_j w_j - tau_plus M exp(p)) / (1 - tau_plus),
    M exp(-1 / temperature) ),
    L = 1/(2N) sum_i log(1 + G_i / exp(p)).

    Source: Robinson et al. 2021, Contrastive Learning with Hard Negative Samples (HCL), arXiv
    2010.04592, eq. 4 and the official code; beta=0 is the debiased loss of Chuang et al. 2020,
    arXiv 2007.00224, eq. 8; beta=0, tau_plus=0 is NT-Xent.

    Call ``loss(a, b)`` with two views (N, d); row i of each is a positive pair. With ids (N,),
    ``loss(a, b, ids)``, rows of the anchor's id are left out, but for its positive.

    Where the paper and its code differ this is the code: the pseudo-code in the paper weights by
    beta exp(s_ij) over its mean and bounds G from below by exp(-1 / temperature), the code weights
    by exp(s_ij) to the power of beta and bounds by M exp(-1 / temperature). That bound is the least
    that M unit rows can give: it assumes similarity="cosine", and is kept for the others. Where it
    is active, easily everywhere at a temperature of 0.1, an anchor's negatives have no gradient.

    Range: from 0 up. With N = 1 there are no negatives and the loss is 0.

    Parameters
    ----------
    temperature
        Divides the similarities; above 0.
    tau_plus
        Probability that a negative is of the anchor's class; from 0 on and below 1.
    beta
        How much harder negatives weigh; from 0 on, 0: all alike.
    detach_weights
        Take the weights for constants in the gradient; the official code does not. (A second
        derivative is that of this gradient, in which the weights do vary.)
    similarity
        "cosine" (rows are normalised inside), "dot", "neg_euclidean", "neg_sqeuclidean".
    same
        What rows of the anchor's id are, where ids are given: "ignore", left out; "negative".
    exclude
        None, or `nearfar.Exclude`: negatives that are as near as the positive are left out.
    scale
        A factor on the result.
    reduction
        "mean" over the 2N anchors, "sum", or "none": (2N,), the anchors of `a`, then of `b`.
    sample_weight
        At the call, (N,): how much a pair counts in the mean, from 0 on; sums are weighted.
    log_q
        At the call: logarithms of how probable candidates are in a batch, taken off their logits,
        of a and of b (Yi et al. 2019, doi
        10.1145/3298689.3346996, eq. 3).
    guide
        At the call: embeddings of the same rows for `exclude`, one array for each of the call's.

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import HCL
    >>> a = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    >>> b = np.array([[0.9, 0.1], [0.2, 1.0], [-1.0, 0.3]])
    >>> print(f"{HCL(temperature=0.5)(a, b):.6f}")
    0.297300
    """

    temperature: float = positive(0.5)
    tau_plus: float = from_zero(0.1, below=1)
    beta: float = from_zero(1.0)
    detach_weights: bool = choice(False, True)
    similarity: str = choice(*SIMILARITIES)
    same: str = choice("ignore", "negative")
    exclude: Exclude | None = excluding()

    def rule(self) -> HardNegatives:
        return HardNegatives(self.tau_plus, self.beta, self.detach_weights)

    def clamped(self, *inputs: Any, **named: Any) -> Array:
        """Which anchors are at the lower bound, where their negatives have no gradient, (2N,).

        Called as the loss is; True or False in the order of ``reduction="none"``.
        """
        call = self._open(inputs, named)
        assert isinstance(call.evaluation, PartitionEvaluation | CandidateEvaluation)
        return call.evaluation.idle(call.ns, call.arrays)

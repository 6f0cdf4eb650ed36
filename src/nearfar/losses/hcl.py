"""HCL, InfoNCE with hard negatives and a correction for false ones."""

from dataclasses import dataclass
from math import inf, log, log1p
from typing import Any, ClassVar

from nearfar.evaluate import PartitionEvaluation, Reduction
from nearfar.frameworks import Array, Evaluation, Namespace
from nearfar.losses import checks
from nearfar.losses.base import Loss, choice, from_zero, positive
from nearfar.rules import Anchors, Pair, Slopes, Sum
from nearfar.similarity import SIMILARITIES


@dataclass(frozen=True)
class HardNegatives:
    """softplus(log G - s_p), all in logarithms, so that no temperature underflows."""

    tau_plus: float
    beta: float
    detach_weights: bool

    linear: ClassVar[bool] = True
    pair: ClassVar[Pair | None] = None
    needs_negatives: ClassVar[bool] = False

    @property
    def sums(self) -> tuple[Sum, ...]:
        """Of weight times exp(logit), and of the weights; those are all 1 without beta."""
        weighted = Sum("negatives", 1 + self.beta)
        return (weighted, Sum("negatives", self.beta)) if self.beta else (weighted,)

    def finish(self, ns: Namespace, a: Anchors) -> tuple[Array, Slopes]:
        xp = ns.xp
        one, zero = xp.ones_like(a.linear), xp.zeros_like(a.linear)
        log_tau_plus = log(self.tau_plus) if self.tau_plus else -inf
        number = a.negatives + zero
        alone = number == 0
        count = xp.log(xp.where(alone, one, number))
        # The weighted mean of exp(logit) over the negatives, and the share of it that is expected
        # to be the positive's class.
        weights = a.logs[1] if self.beta else count
        mean = a.logs[0] - xp.where(alone, zero, weights)
        excess = a.linear - xp.where(alone, zero, mean) + log_tau_plus
        share = xp.exp(xp.where(excess >= 0, zero, excess))
        clamped = share >= 1
        left = xp.where(clamped, one, 1 - share)
        estimate = count + mean + xp.log1p(-xp.where(clamped, zero, share)) - log1p(-self.tau_plus)
        floor = count - 1 / a.temperature
        free = ~(clamped | (estimate <= floor))  # NaN is free
        u = xp.where(alone, mean, xp.where(free, estimate, floor)) - a.linear

        pull = ns.sigmoid(u)
        by_mean = xp.where(free & ~alone, pull / left, zero)
        by_positive = -pull - xp.where(free & ~alone, pull * share / left, zero)
        by_temperature = xp.where(free | alone, zero, pull) / a.temperature**2
        if self.detach_weights:
            # The first sum's logarithm moves by (1 + beta) exp(...); the weights' part is beta's.
            by_sums: tuple[Array, ...] = (by_mean / (1 + self.beta), zero)
        else:
            by_sums = (by_mean, -by_mean)
        slopes = Slopes(by_sums[: len(self.sums)], by_positive, temperature=by_temperature)
        return ns.softplus(u), slopes


@dataclass(frozen=True, kw_only=True)
class HCL(Loss):
    """NT-Xent with hard negatives weighted up and false negatives taken off.

    Formula: with the 2N rows z of both views, s_ij = similarity(z_i, z_j) / temperature, p the
    logit of row i's other view, M = 2N - 2 negatives with weights w_j = exp(beta s_ij),
    G_i = max( (M sum_j w_j exp(s_ij) / sum_j w_j - tau_plus M exp(p)) / (1 - tau_plus),
    M exp(-1 / temperature) ),
    L = 1/(2N) sum_i log(1 + G_i / exp(p)).

    Source: Robinson et al. 2021, HCL, arXiv 2010.04592, eq. 4 and the official code;
    beta=0 is the debiased loss of Chuang et al. 2020, arXiv 2007.00224, eq. 8;
    beta=0, tau_plus=0 is NT-Xent.

    Call ``loss(a, b)`` with two views (N, d); row i of each is a positive pair.

    Where the paper and its code differ this is the code: the pseudo-code in the paper weights by
    beta exp(s_ij) over its mean and bounds G from below by exp(-1 / temperature), the code weights
    by exp(s_ij) to the power of beta and bounds by M exp(-1 / temperature). That bound is the least
    that M unit rows can give: it assumes similarity="cosine", and is kept for the others. Where it
    is active an anchor's negatives have no gradient; at a temperature of 0.1 that is easily every
    anchor.

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
    scale
        A factor on the result.
    reduction
        "mean" over the 2N anchors, "sum", or "none": (2N,), the anchors of `a`, then of `b`.

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import HCL
    >>> a = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    >>> b = np.array([[0.9, 0.1], [0.2, 1.0], [-1.0, 0.3]])
    >>> print(f"{HCL(temperature=0.5)(a, b):.6f}")
    0.297300
    """

    inputs: ClassVar[tuple[str, ...]] = ("a", "b")
    embeddings: ClassVar[tuple[str, ...]] = ("a", "b")

    temperature: float = positive(0.5)
    tau_plus: float = from_zero(0.1, below=1)
    beta: float = from_zero(1.0)
    detach_weights: bool = choice(False, True)
    similarity: str = choice(*SIMILARITIES)

    def clamped(self, *inputs: Any, **named: Any) -> Array:
        """Which anchors are at the lower bound, where their negatives have no gradient, (2N,).

        Called as the loss is; True or False in the order of ``reduction="none"``.
        """
        call = self._open(inputs, named)
        evaluation = self._evaluation(call.arrays, call.parameters)
        assert isinstance(evaluation, PartitionEvaluation)
        return evaluation.idle(call.ns, call.arrays)

    def _check_shapes(self, embeddings: dict[str, Array]) -> None:
        checks.same_shape(embeddings, "a", "b")

    def _evaluation(
        self, arrays: tuple[Any, ...], parameters: tuple[float | None, ...]
    ) -> Evaluation:
        return PartitionEvaluation(
            rule=HardNegatives(self.tau_plus, self.beta, self.detach_weights),
            similarity=SIMILARITIES[self.similarity],
            pairing="views",
            parts=2,
            parameters=parameters,
            reduction=Reduction(self.reduction, self.scale),
            options=self._options,
        )

"""InfoNCE, one way: queries against their positives and negatives."""

from dataclasses import dataclass
from typing import Any, ClassVar

from nearfar.evaluate import QueryEvaluation, Reduction
from nearfar.frameworks import Array, Evaluation
from nearfar.losses import checks
from nearfar.losses.base import choice, positive
from nearfar.losses.factor import ScaledLoss
from nearfar.rules import OneWay
from nearfar.similarity import SIMILARITIES


@dataclass(frozen=True, kw_only=True)
class InfoNCE(ScaledLoss):
    """Cross-entropy of finding each query's positive among its negatives.

    Formula: with s(x, y) = similarity(x, y) / temperature,
    L = 1/N sum_i ( log( exp s(q_i, p_i) + sum_k exp s(q_i, n_k) ) - s(q_i, p_i) ).

    Source: van den Oord et al. 2018, CPC, arXiv 1807.03748, eq. 4; with a queue of negatives
    He et al. 2020, MoCo, arXiv 1911.05722, eq. 1.

    Call ``loss(query, positive)``: both (N, d), the negatives are the other rows of `positive`;
    ``loss(query, positive, negatives)``: (K, d), shared by all queries (a queue), or (N, K, d),
    each query's own. With `negatives` the other rows' positives are no negatives.

    Range: from 0 up; chance level, where all similarities are equal, is log(N), or log(1 + K).
    Every query has its positive; without any negative (N = 1) its loss is 0.

    Parameters
    ----------
    temperature
        Divides the similarities; above 0.
    similarity
        "cosine" (rows are normalised inside), "dot", "neg_euclidean", "neg_sqeuclidean".
    scale
        A factor on the result.
    scale_by
        "constant": the factor is `scale`; "temperature": it is scale * temperature, and a call
        takes no temperature.
    reduction
        "mean" over the queries, "sum", or "none": (N,).

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import InfoNCE
    >>> query = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> key = np.array([[0.9, 0.1], [0.2, 1.0]])
    >>> queue = np.array([[-1.0, 0.0], [0.0, -1.0], [0.7, 0.7]])
    >>> print(f"{InfoNCE(temperature=0.5)(query, key, queue):.6f}")
    0.547386
    """

    inputs: ClassVar[tuple[str, ...]] = ("query", "positive", "negatives")
    embeddings: ClassVar[tuple[str, ...]] = ("query", "positive", "negatives")
    optional: ClassVar[tuple[str, ...]] = ("negatives",)

    temperature: float = positive(0.07)
    similarity: str = choice(*SIMILARITIES)

    def _check_shapes(self, embeddings: dict[str, Array]) -> None:
        checks.same_shape(embeddings, "query", "positive")
        if "negatives" not in embeddings:
            return
        query = tuple(embeddings["query"].shape)
        shape = tuple(embeddings["negatives"].shape)
        features = query[1:]
        if shape[1:] != features and (shape[0], *shape[2:]) != query:
            wanted = ", ".join(str(f) for f in features)
            raise ValueError(
                f"expected negatives of shape (K, {wanted}), shared by all queries, or "
                f"({query[0]}, K, {wanted}), each query's own; received {shape}"
            )

    def _evaluation(
        self, arrays: tuple[Any, ...], parameters: tuple[float | None, ...]
    ) -> Evaluation:
        parts = len(arrays) - parameters.count(None)
        own = parts == 3 and len(arrays[2].shape) > len(arrays[0].shape)
        return QueryEvaluation(
            rule=OneWay(),
            similarity=SIMILARITIES[self.similarity],
            negatives="batch" if parts == 2 else "own" if own else "shared",
            parts=parts,
            parameters=parameters,
            reduction=Reduction(self.reduction, self._factor),
            options=self._options,
        )

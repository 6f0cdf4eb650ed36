"""InfoNCE, one way: queries against their positives and negatives."""

from nearfar.losses.exclude import Exclude
from nearfar.losses.families import Queries
from nearfar.losses.fields import choice, excluding, from_zero, positive, several
from nearfar.rules import HardOnePositive, HardOneWay, OnePositive, OneWay
from nearfar.similarity import SIMILARITIES


class InfoNCE(Queries):
    """Cross-entropy of finding each query's positive among its negatives.

    Formula: with s(x, y) = similarity(x, y) / temperature,
    L = 1/N sum_i ( log( exp s(q_i, p_i) + sum_k exp s(q_i, n_k) ) - s(q_i, p_i) ).

    Source: van den Oord et al. 2018, Representation Learning with Contrastive Predictive Coding
    (CPC), arXiv 1807.03748, eq. 4; with a queue of negatives He et al. 2020, MoCo, arXiv
    1911.05722, eq. 1.

    Call ``loss(query, positive)``: both (N, d), the negatives are the other rows of `positive`;
    ``loss(query, positive, negatives)``: (K, d), shared by all queries (a queue), or (N, K, d),
    each query's own. With `negatives` the other rows' positives are no negatives.
    ``loss(query, positive, negatives, queue, ids, valid)``: a queue (M, d) has more shared
    negatives; ids (N,) leave out rows of the batch that have the query's id; valid (N, K) is False
    where a row of each query's own negatives is padding.

    Range: from 0 up; chance level, where all similarities are equal, is log(N), or log(1 + K).
    Every query has its positive; without any negative (N = 1) its loss is 0.

    Parameters
    ----------
    temperature
        Divides the similarities; above 0.
    similarity
        "cosine" (rows are normalised inside), "dot", "neg_euclidean", "neg_sqeuclidean".
    hardness
        Times the similarity, taken for a constant, is added to the logits of negatives, so that
        hard ones weigh more in the sum; from 0 on. A call takes no temperature then.
    in_batch
        Whether the other rows' positives are negatives: "without_negatives", where none are given;
        "always"; "never".
    own
        Whom negatives (N, K, d) serve: "mine", their query; "all", every query, as
        sentence-transformers' MultipleNegativesRankingLoss has it.
    directions
        A tuple of what is summed up for pair i: "qp", the query against positives and negatives;
        "qq", against the other queries; "pq", the positive against all queries, its own once more;
        "pp", against the other positives (GTE, arXiv 2308.03281, section 3.2); "pn", against the
        other queries' own negatives.
    partition
        "joint", one sum of all directions; "per_direction", the mean of the directions' losses.
    same
        What rows of the anchor's id are, where ids are given: "ignore", left out; "negative".
    exclude
        None, or `nearfar.Exclude`: negatives that are as near as the positive are left out.
    scale
        A factor on the result.
    scale_by
        "constant": the factor is `scale`; "temperature": it is scale * temperature, and a call
        takes no temperature.
    reduction
        "mean" over the queries, "sum", or "none": (N,).
    sample_weight
        At the call, (N,): how much a query counts in the mean, from 0 on; sums are weighted.
    log_q
        At the call: logarithms of how probable candidates are in a batch, taken off their logits,
        of positive, negatives and queue, as far as they are given (Yi et al. 2019, doi
        10.1145/3298689.3346996, eq. 3).
    guide
        At the call: embeddings of the same rows for `exclude`, one array for each of the call's.

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

    temperature: float = positive(0.07)
    similarity: str = choice(*SIMILARITIES)
    hardness: float = from_zero(0.0)
    in_batch: str = choice("without_negatives", "always", "never")
    own: str = choice("mine", "all")
    directions: tuple[str, ...] = several("qp", "qq", "pq", "pp", "pn", default=("qp",))
    partition: str = choice("joint", "per_direction")
    same: str = choice("ignore", "negative")
    exclude: Exclude | None = excluding()
    scale_by: str = choice("constant", "temperature")

    def rule(self) -> OneWay | HardOneWay:
        if self.hardness:
            return HardOneWay(1 + self.hardness * self.temperature)
        return OneWay()

    def rule_of_candidates(self, positive: bool) -> OnePositive | HardOnePositive:
        denominator = "all" if positive else "negatives"
        if self.hardness:
            return HardOnePositive(denominator, 1 + self.hardness * self.temperature)
        return OnePositive(denominator)

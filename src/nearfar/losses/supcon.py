"""Supervised contrastive loss, in all its published conventions."""

from nearfar.losses.exclude import Exclude
from nearfar.losses.families_of_labels import LabelledRows
from nearfar.losses.fields import choice, excluding, positive
from nearfar.rules import LogOver, OverLogs, OwnPositive, PartitionRule
from nearfar.similarity import SIMILARITIES


class SupCon(LabelledRows):
    """Supervised contrastive loss: rows of a class are each other's positives.

    Formula: with s_ij = similarity(z_i, z_j) / temperature, P(i) the other rows that share a label
    with row i and D(i, p) the sum of exp(s_ij) over the denominator's candidates,
    L = mean over anchors i of 1/|P(i)| sum_{p in P(i)} ( log D(i, p) - s_ip ).

    Source: Khosla et al. 2020, Supervised Contrastive Learning, arXiv 2004.11362, eq. 2 (L_out,
    the default) and eq. 3 (L_in: positives="log_mean"); denominator="own_positive":
    doi 10.1007/s13042-022-01622-7.

    Call ``loss(embeddings, labels)`` with embeddings (n, d) and labels (n,) of any dtype with
    equality, or multi-hot (n, c) in {0, 1}, where a positive shares a label.
    ``loss(embeddings, labels, reference, reference_labels)``: candidates are the rows of another
    labelled set (m, d), a queue, a memory, prototypes, of any number, in which nobody is itself;
    `reference` gets a gradient too.

    Range: from 0 up, at least log|P(i)|; chance level, where all similarities are equal, is
    log(n - 1). With "negatives" it may be negative. An anchor without positives, and with
    "negatives" one without negatives, has no term (see `without_positives`) and is 0 under "none";
    a batch of those gives 0 and no gradient. With "own_positive" no negatives means 0, counted.

    Parameters
    ----------
    temperature
        Divides the similarities; above 0.
    similarity
        "cosine" (rows are normalised inside), "dot", "neg_euclidean", "neg_sqeuclidean".
    candidates
        Given a reference: "reference", its rows only; "both", the batch's other rows too.
    exclude
        None, or `nearfar.Exclude`: negatives that are as near as the positive are left out.
    denominator
        "all" candidates but the anchor; "own_positive", that positive and the negatives;
        "negatives" only.
    positives
        How an anchor's positives are put together: "mean_log" and "sum_log" average or add
        log D - s_ip; "log_mean" and "log_sum" take minus the logarithm of the mean or sum of
        exp(s_ip) / D.
    include_self
        True: add the anchor's own logit to every denominator; "positive": the anchor is also one
        of its own positives, so that every anchor has one.
    without_positives
        "skip": an anchor without positives does not count in the mean; "zero": it counts as 0.
    average
        "anchors", or "pairs": the sum of all pair terms over the number of positive pairs, with
        positives="mean_log" only.
    scale
        A factor on the result.
    scale_by
        "constant": the factor is `scale`; "temperature": it is scale * temperature, and a call
        takes no temperature.
    reduction
        "mean", "sum" (of the anchors' terms, or of the pairs'), or "none": (n,), with "pairs" the
        sum of an anchor's pairs.
    sample_weight
        At the call, (n,): how much an anchor counts in the mean, from 0 on; sums are weighted.
    log_q
        At the call: logarithms of how probable candidates are in a batch, taken off their logits,
        one array of the batch and then the reference as far as they are candidates (Yi et al. 2019,
        doi 10.1145/3298689.3346996, eq. 3).
    guide
        At the call: embeddings of the same rows for `exclude`, one array for each of the call's.

    Examples
    --------
    >>> import numpy as np
    >>> from nearfar import SupCon
    >>> z = np.array([[1.0, 0.0], [0.9, 0.2], [0.0, 1.0], [0.1, 1.0], [-1.0, 0.0]])
    >>> print(f"{SupCon(temperature=0.5)(z, ['cat', 'cat', 'dog', 'dog', 'eel']):.6f}")
    0.380016
    """

    temperature: float = positive(0.1)
    similarity: str = choice(*SIMILARITIES)
    candidates: str = choice("reference", "both")
    exclude: Exclude | None = excluding()
    denominator: str = choice("all", "own_positive", "negatives")
    positives: str = choice("mean_log", "sum_log", "log_mean", "log_sum")
    include_self: bool | str = choice(False, True, "positive")
    without_positives: str = choice("skip", "zero")
    average: str = choice("anchors", "pairs")
    scale_by: str = choice("constant", "temperature")

    def check(self) -> None:
        if self.average == "pairs" and self.positives != "mean_log":
            raise ValueError(
                'SupCon: expected positives="mean_log" with average="pairs", whose terms are '
                f"single pairs; received positives={self.positives!r}, which puts the pairs of an "
                'anchor together first; use average="anchors"'
            )

    def rule(self) -> PartitionRule:
        # Under average="pairs" an anchor weighs as many terms as it has positives.
        mean = self.positives in ("mean_log", "log_mean")
        over_logs = self.positives in ("mean_log", "sum_log")
        if self.denominator == "own_positive":
            return OwnPositive(mean, over_logs)
        return (OverLogs if over_logs else LogOver)(mean, self.denominator)

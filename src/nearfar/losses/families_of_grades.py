"""Losses of rows that are more or less alike, by numbers of a pair."""

from collections.abc import Mapping
from typing import Any, ClassVar

from nearfar.evaluate import CandidateEvaluation, Grading
from nearfar.frameworks import Array, Evaluation, Namespace
from nearfar.losses.base import Loss
from nearfar.losses.families_of_labels import refuse_views
from nearfar.rules import PartitionRule


class GradedRows(Loss, family=True):
    """Rows (n, d) with targets that weigh every pair: every other row is a positive by a degree.

    Fields ``weights``, ``bandwidth`` and ``normalise`` say which: see `nearfar.SoftContrastive`.
    Rules: `PartitionRule`, to which the weights of an anchor are its count of positives.
    """

    inputs: ClassVar[tuple[str, ...]] = ("embeddings", "targets")
    embeddings: ClassVar[tuple[str, ...]] = ("embeddings",)
    keywords: ClassVar[tuple[str, ...]] = ("sample_weight",)
    rules = (PartitionRule,)

    def _check_shapes(self, embeddings: dict[str, Array], given: Mapping[str, Any]) -> None:
        refuse_views(type(self).__name__, embeddings["embeddings"], "targets")

    def _settled(
        self, ns: Namespace, embeddings: dict[str, Array], facts: dict[str, Array]
    ) -> dict[str, Array]:
        weights = self.stated("weights")
        targets, rows = facts["targets"], embeddings["embeddings"].shape[0]
        shape = tuple(targets.shape)
        known = ns.peek(targets)
        square = len(shape) == 2 and (None in (shape[1], rows) or shape[1] == rows)
        if weights == "given" and not square:
            raise ValueError(
                f"{type(self).__name__}: expected targets of shape ({rows}, {rows}) with "
                f'weights="given", a weight for each pair; received {shape}; state weights="rbf" '
                'for targets, "jaccard" for labels, "cosine" for embeddings'
            )
        if weights in ("jaccard", "cosine") and len(shape) != 2:
            raise ValueError(
                f"{type(self).__name__}: expected targets of shape ({rows}, c) with "
                f"weights={weights!r}; received {shape}"
            )
        if weights == "given" and known is not None and (known < 0).any():
            raise ValueError(
                f'{type(self).__name__}: expected targets from 0 on with weights="given"; received '
                f"{float(known.min())}"
            )
        if weights == "jaccard" and known is not None and ((known != 0) & (known != 1)).any():
            raise ValueError(
                f'{type(self).__name__}: expected targets of 0 and 1 with weights="jaccard", '
                "marking the labels of each row; received others; state another of its weights for "
                "numbers"
            )
        return embeddings

    def _evaluation(
        self,
        arrays: tuple[Array, ...],
        parameters: tuple[float | None, ...],
        names: tuple[str, ...],
    ) -> Evaluation:
        grading = Grading(*(self.stated(name) for name in ("weights", "bandwidth", "normalise")))
        return CandidateEvaluation(
            meeting="graded",
            grading=grading,
            parts=1,
            parameters=parameters,
            names=names,
            **self._settings,
        )

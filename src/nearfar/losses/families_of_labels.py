"""Families of labelled and of ranked rows: who is positive, labels or targets say."""

from collections.abc import Mapping
from math import prod
from typing import Any, ClassVar

from nearfar.evaluate import InBatchEvaluation, PartitionEvaluation
from nearfar.frameworks import Array, Evaluation, Namespace
from nearfar.losses.base import Loss
from nearfar.losses.facts_of_equality import unless_marks
from nearfar.losses.families import WithCandidates
from nearfar.rules import PartitionRule, WithinRule

_Known = tuple[float | None, ...]
_Names = tuple[str, ...]
_Given = Mapping[str, Any]


class LabelledRows(WithCandidates, family=True):
    """Rows (n, d) with labels (n,), or multi-hot (n, c): positives are the others of a label.

    Given a reference (m, d) with labels of its own, candidates are its rows; with a field
    ``candidates`` of "both" the batch too. A field ``include_self`` may be True or "positive", a
    field ``without_positives`` "zero", a field ``average`` "pairs". Rules: `PartitionRule`,
    `WithinRule`.
    """

    rules = (PartitionRule, WithinRule)
    inputs: ClassVar[tuple[str, ...]] = (
        "embeddings",
        "labels",
        "reference",
        "reference_labels",
    )
    embeddings: ClassVar[tuple[str, ...]] = ("embeddings", "reference")
    optional: ClassVar[tuple[str, ...]] = ("reference", "reference_labels")

    def _check_shapes(self, embeddings: dict[str, Array], given: _Given) -> None:
        owner = type(self).__name__
        refuse_views(owner, embeddings["embeddings"], "labels")
        _check_reference(owner, embeddings, given, "reference_labels")
        nobody_is_itself = "reference" in embeddings and self.stated("candidates") != "both"
        if nobody_is_itself and self.stated("include_self"):
            raise ValueError(
                f"{owner}: expected include_self=False with a reference, where no anchor is "
                f"itself; received include_self={self.stated('include_self')!r}; state "
                'candidates="both", with which the batch is among the candidates'
            )

    def _settled(
        self, ns: Namespace, embeddings: dict[str, Array], facts: dict[str, Array]
    ) -> dict[str, Array]:
        found = dict(embeddings)
        for name, labels in (("embeddings", "labels"), ("reference", "reference_labels")):
            if name in found:
                found[name] = unless_marks(ns, found[name], facts[labels])
        return found

    def _evaluation(
        self, arrays: tuple[Array, ...], parameters: _Known, names: _Names
    ) -> Evaluation:
        settings = {"parts": 1, "parameters": parameters, "names": names, **self._settings}
        one = len(arrays[names.index("labels")].shape) == 1
        settings["pairing"] = "labels" if one else "many_labels"
        if isinstance(settings["rule"], WithinRule):
            self._refuse_other_than(names, "reference", "reference_labels", "sample_weight")
            return _in_batch(self, names, settings)
        if not self._plain(names, 1, facts=1):
            both = self.stated("candidates") == "both"
            parts = 1 + ("reference" in names)
            return self._among_candidates("labels", parameters, names, parts, both=both)
        return PartitionEvaluation(**settings)

    def _evaluated(self) -> dict[str, Any]:
        settings = super()._evaluated()
        if isinstance(settings["rule"], PartitionRule):
            settings["include_self"] = self.stated("include_self", False)
        return settings


class RankedRows(Loss, family=True):
    """Rows (n, d) with targets (n,) or (n, t): every other row is a positive, ranked by target.

    Given a reference (m, d) with targets of its own, candidates are its rows; with a field
    ``candidates`` of "both" the batch too. Rules: `WithinRule`.
    """

    rules = (WithinRule,)
    inputs: ClassVar[tuple[str, ...]] = (
        "embeddings",
        "targets",
        "reference",
        "reference_targets",
    )
    embeddings: ClassVar[tuple[str, ...]] = ("embeddings", "reference")
    optional: ClassVar[tuple[str, ...]] = ("reference", "reference_targets")
    keywords: ClassVar[tuple[str, ...]] = ("sample_weight",)

    def _check_shapes(self, embeddings: dict[str, Array], given: _Given) -> None:
        owner = type(self).__name__
        refuse_views(owner, embeddings["embeddings"], "targets")
        _check_reference(owner, embeddings, given, "reference_targets")

    def _evaluation(
        self, arrays: tuple[Array, ...], parameters: _Known, names: _Names
    ) -> Evaluation:
        settings = {"pairing": "targets", "parameters": parameters, **self._settings}
        return _in_batch(self, names, settings)


def _in_batch(loss: Loss, names: _Names, settings: dict[str, Any]) -> InBatchEvaluation:
    """Of rows of a batch as anchors, with a reference or without."""
    owner, reference = type(loss).__name__, "reference" in names
    if reference and settings["rule"].meets:
        raise ValueError(
            f"{owner}: expected no reference, since a positive is asked for negatives of its own, "
            "which candidates of a reference have none of; received one; leave it out"
        )
    candidates = loss.stated("candidates", "reference") if reference else "batch"
    return InBatchEvaluation(
        **{**settings, "parts": 1 + reference, "names": names, "candidates": candidates}
    )


def _check_reference(
    owner: str, embeddings: Mapping[str, Array], given: _Given, facts: str
) -> None:
    """Raise where a reference and its labels or targets do not go together."""
    if ("reference" in embeddings) != (facts in given):
        missing = facts if "reference" in embeddings else "reference"
        raise TypeError(
            f"{owner}: expected reference and {facts} together; received no {missing}; pass both, "
            "or neither"
        )
    if "reference" not in embeddings:
        return
    refuse_views(owner, embeddings["reference"], facts)
    width, other = (embeddings[k].shape[1] for k in ("embeddings", "reference"))
    if width != other:
        raise ValueError(
            f"{owner}: expected reference with as many features as embeddings, {width}; received "
            f"{other}"
        )


def refuse_views(owner: str, x: Array, beside: str) -> None:
    """Several axes are views of an object as often as features, and which cannot be told."""
    shape = tuple(x.shape)
    if len(shape) == 2:
        return
    sizes = shape[1:]
    flat = f"({shape[0]}, {prod(sizes)})" if all(isinstance(s, int) for s in sizes) else "(n, d)"
    raise ValueError(
        f"{owner}: expected embeddings of shape (n, d), one row for each of {beside}; received "
        f"{shape}; for several views of a row, (n, views, d), pass *nearfar.flatten_views("
        f"embeddings, {beside}); if the axes are features, reshape them to {flat}"
    )

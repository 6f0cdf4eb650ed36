"""Families of losses: what they are called with, who is whose positive, who evaluates them."""

from math import prod
from typing import Any, ClassVar

from nearfar.evaluate import InBatchEvaluation, PartitionEvaluation, QueryEvaluation
from nearfar.frameworks import Array, Evaluation, Namespace
from nearfar.losses import arguments
from nearfar.losses.base import Loss
from nearfar.losses.facts import unless_marks
from nearfar.rules import PartitionRule, QueryRule, WithinRule

_Known = tuple[float | None, ...]
_Names = tuple[str, ...]


class TwoViews(Loss, family=True):
    """Two views (N, d) of N objects; the other view of a row is its one positive.

    Anchors and candidates are all 2N rows; a field ``anchors`` may be "first", a field
    ``include_self`` True. Rules: `PartitionRule`.
    """

    rules = (PartitionRule,)
    inputs: ClassVar[tuple[str, ...]] = ("a", "b")
    embeddings: ClassVar[tuple[str, ...]] = ("a", "b")

    def _check_shapes(self, embeddings: dict[str, Array]) -> None:
        arguments.same_shape(embeddings, "a", "b")

    def _evaluation(
        self, arrays: tuple[Array, ...], parameters: _Known, names: _Names
    ) -> Evaluation:
        return PartitionEvaluation(
            pairing="views", parts=2, parameters=parameters, names=names, **self._settings
        )

    def _evaluated(self) -> dict[str, Any]:
        return super()._evaluated() | {
            "include_self": self.stated("include_self", False),
            "first_only": self.stated("anchors") == "first",
        }


class TwoSides(Loss, family=True):
    """Two sides (N, d) that are never compared within; row i of each is row i's one positive.

    Rules: `PartitionRule`, of both directions; `QueryRule`, where rows of the first are anchors.
    """

    rules = (PartitionRule, QueryRule)
    inputs: ClassVar[tuple[str, ...]] = ("x", "y")
    embeddings: ClassVar[tuple[str, ...]] = ("x", "y")

    def _check_shapes(self, embeddings: dict[str, Array]) -> None:
        arguments.same_shape(embeddings, "x", "y")

    def _evaluation(
        self, arrays: tuple[Array, ...], parameters: _Known, names: _Names
    ) -> Evaluation:
        settings = {"parts": 2, "parameters": parameters, "names": names, **self._settings}
        if isinstance(settings["rule"], QueryRule):
            return QueryEvaluation(negatives="batch", **settings)
        return PartitionEvaluation(pairing="matched", **settings)


class LabelledRows(Loss, family=True):
    """Rows (n, d) with labels (n,), or multi-hot (n, c): positives are the others of a label.

    A field ``include_self`` may be True or "positive", a field ``without_positives`` "zero", a
    field ``average`` "pairs". Rules: `PartitionRule`, `WithinRule`.
    """

    rules = (PartitionRule, WithinRule)
    inputs: ClassVar[tuple[str, ...]] = ("embeddings", "labels")
    embeddings: ClassVar[tuple[str, ...]] = ("embeddings",)

    def _check_shapes(self, embeddings: dict[str, Array]) -> None:
        _refuse_views(type(self).__name__, embeddings["embeddings"], "labels")

    def _settled(
        self, ns: Namespace, embeddings: dict[str, Array], facts: dict[str, Array]
    ) -> dict[str, Array]:
        rows = embeddings["embeddings"]
        return {"embeddings": unless_marks(ns, rows, facts["labels"])}

    def _evaluation(
        self, arrays: tuple[Array, ...], parameters: _Known, names: _Names
    ) -> Evaluation:
        settings = {"parts": 1, "parameters": parameters, "names": names, **self._settings}
        settings["pairing"] = "labels" if len(arrays[1].shape) == 1 else "many_labels"
        if isinstance(settings["rule"], WithinRule):
            return InBatchEvaluation(**settings)
        return PartitionEvaluation(**settings)

    def _evaluated(self) -> dict[str, Any]:
        settings = super()._evaluated()
        if isinstance(settings["rule"], PartitionRule):
            settings["include_self"] = self.stated("include_self", False)
        return settings


class RankedRows(Loss, family=True):
    """Rows (n, d) with targets (n,) or (n, t): every other row is a positive, ranked by target.

    Rules: `WithinRule`.
    """

    rules = (WithinRule,)
    inputs: ClassVar[tuple[str, ...]] = ("embeddings", "targets")
    embeddings: ClassVar[tuple[str, ...]] = ("embeddings",)
    keywords: ClassVar[tuple[str, ...]] = ("sample_weight",)

    def _check_shapes(self, embeddings: dict[str, Array]) -> None:
        _refuse_views(type(self).__name__, embeddings["embeddings"], "targets")

    def _evaluation(
        self, arrays: tuple[Array, ...], parameters: _Known, names: _Names
    ) -> Evaluation:
        return InBatchEvaluation(
            pairing="targets", parts=1, parameters=parameters, names=names, **self._settings
        )


class Queries(Loss, family=True):
    """Queries (N, d), their positives (N, d), and negatives: the other positives by default.

    Given negatives are (K, d), shared by all queries, or (N, K, d), each query's own. Rules:
    `QueryRule`.
    """

    rules = (QueryRule,)
    inputs: ClassVar[tuple[str, ...]] = ("query", "positive", "negatives")
    embeddings: ClassVar[tuple[str, ...]] = ("query", "positive", "negatives")
    optional: ClassVar[tuple[str, ...]] = ("negatives",)

    def _check_shapes(self, embeddings: dict[str, Array]) -> None:
        arguments.same_shape(embeddings, "query", "positive")
        if "negatives" not in embeddings:
            return
        query = tuple(embeddings["query"].shape)
        shape = tuple(embeddings["negatives"].shape)
        features = query[1:]
        if shape[1:] != features and (shape[0], *shape[2:]) != query:
            expected = ", ".join(str(f) for f in features)
            raise ValueError(
                f"expected negatives of shape (K, {expected}), shared by all queries, or "
                f"({query[0]}, K, {expected}), each query's own; received {shape}"
            )

    def _evaluation(
        self, arrays: tuple[Array, ...], parameters: _Known, names: _Names
    ) -> Evaluation:
        parts = len(arrays) - parameters.count(None)
        own = parts == 3 and len(arrays[2].shape) > len(arrays[0].shape)
        return QueryEvaluation(
            negatives="batch" if parts == 2 else "own" if own else "shared",
            parts=parts,
            parameters=parameters,
            names=names,
            **self._settings,
        )


class GivenPairs(Loss, family=True):
    """Anchors and positives (N, d) whose rows are matched; the others' positives are negatives.

    Rules: `QueryRule`.
    """

    rules = (QueryRule,)
    inputs: ClassVar[tuple[str, ...]] = ("anchor", "positive")
    embeddings: ClassVar[tuple[str, ...]] = ("anchor", "positive")

    def _check_shapes(self, embeddings: dict[str, Array]) -> None:
        arguments.same_shape(embeddings, "anchor", "positive")

    def _evaluation(
        self, arrays: tuple[Array, ...], parameters: _Known, names: _Names
    ) -> Evaluation:
        return QueryEvaluation(
            negatives="batch", parts=2, parameters=parameters, names=names, **self._settings
        )


class GivenTriplets(Loss, family=True):
    """Anchors, positives and negatives (N, d) whose rows are matched. Rules: `QueryRule`."""

    rules = (QueryRule,)
    inputs: ClassVar[tuple[str, ...]] = ("anchor", "positive", "negative")
    embeddings: ClassVar[tuple[str, ...]] = ("anchor", "positive", "negative")
    keywords: ClassVar[tuple[str, ...]] = ("sample_weight",)

    def _check_shapes(self, embeddings: dict[str, Array]) -> None:
        arguments.same_shape(embeddings, "anchor", "positive")
        arguments.same_shape(embeddings, "anchor", "negative")

    def _evaluation(
        self, arrays: tuple[Array, ...], parameters: _Known, names: _Names
    ) -> Evaluation:
        return QueryEvaluation(
            negatives="matched", parts=3, parameters=parameters, names=names, **self._settings
        )


def _refuse_views(owner: str, x: Array, beside: str) -> None:
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

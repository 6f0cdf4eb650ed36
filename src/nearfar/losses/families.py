"""Families of losses: what they are called with, who is whose positive, who evaluates them.

Here those whose positives are matched by place: views, sides, queries, triplets.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from nearfar.evaluate import (
    CandidateEvaluation,
    Meeting,
    PartitionEvaluation,
    QueryEvaluation,
    SidesEvaluation,
    Threshold,
)
from nearfar.frameworks import Array, Evaluation
from nearfar.losses import arguments
from nearfar.losses.base import Loss
from nearfar.rules import PairRule, PartitionRule, QueryRule

_Known = tuple[float | None, ...]
_Names = tuple[str, ...]
_Given = Mapping[str, Any]

_WEIGHTS = ("sample_weight", "log_q", "guide")


class WithCandidates(Loss, family=True):
    """Anchors that may meet more than their batch, and not all of it.

    A field ``exclude`` may be `nearfar.Exclude`.
    """

    keywords: ClassVar[tuple[str, ...]] = _WEIGHTS

    def _among_candidates(
        self, meeting: Meeting, parameters: _Known, names: _Names, parts: int, **more: Any
    ) -> CandidateEvaluation:
        threshold = self._threshold()
        settings = {**self._settings, **more}
        return CandidateEvaluation(
            meeting=meeting,
            parameters=parameters,
            names=names,
            parts=parts,
            threshold=threshold,
            **settings,
        )

    def _refuse_other_than(self, names: _Names, *known: str) -> None:
        """Raise TypeError for facts that the loss's evaluator has no use for."""
        needed = [name for name in self.inputs if name not in self.optional]
        unknown = [name for name in names if name not in (*needed, *known)]
        if unknown:
            raise TypeError(
                f"{type(self).__name__}: expected a call with {', '.join((*needed, *known))}; "
                f"received also {', '.join(unknown)}, which say nothing of a loss of this kind"
            )

    def _threshold(self) -> Threshold | None:
        exclude = self.stated("exclude")
        return exclude and Threshold(exclude.by, exclude.margin, exclude.kind)

    def _plain(self, names: _Names, parts: int, facts: int = 0) -> bool:
        """Whether a call is of embeddings, and so many facts, that are all there is to it."""
        return len(names) == parts + facts and self.stated("exclude") is None


class TwoViews(WithCandidates, family=True):
    """Two views (N, d) of N objects; the other view of a row is its one positive.

    Anchors and candidates are all 2N rows; a field ``anchors`` may be "first", a field
    ``include_self`` True. With ids (N,), rows of the anchor's id are left out but for its positive,
    unless a field ``same`` is "negative". Rules: `PartitionRule`.
    """

    rules = (PartitionRule,)
    inputs: ClassVar[tuple[str, ...]] = ("a", "b", "ids")
    embeddings: ClassVar[tuple[str, ...]] = ("a", "b")
    optional: ClassVar[tuple[str, ...]] = ("ids",)

    def _check_shapes(self, embeddings: dict[str, Array], given: _Given) -> None:
        arguments.same_shape(embeddings, "a", "b")

    def _evaluation(
        self, arrays: tuple[Array, ...], parameters: _Known, names: _Names
    ) -> Evaluation:
        if not self._plain(names, 2):
            same = self.stated("same", "ignore")
            return self._among_candidates("views", parameters, names, 2, same=same)
        return PartitionEvaluation(
            pairing="views", parts=2, parameters=parameters, names=names, **self._settings
        )

    def _evaluated(self) -> dict[str, Any]:
        return super()._evaluated() | {
            "include_self": self.stated("include_self", False),
            "first_only": self.stated("anchors") == "first",
        }


class TwoSides(WithCandidates, family=True):
    """Two sides (N, d) that are never compared within; row i of each is row i's one positive.

    With ids, (N,) or a pair of arrays, rows of one id are positives, unless a field ``same`` is
    "ignore" or "negative". Rules: `PartitionRule`, of both directions; `QueryRule`, where rows of
    the first are anchors.
    """

    rules = (PartitionRule, QueryRule)
    inputs: ClassVar[tuple[str, ...]] = ("x", "y", "ids")
    embeddings: ClassVar[tuple[str, ...]] = ("x", "y")
    optional: ClassVar[tuple[str, ...]] = ("ids",)

    def _check_shapes(self, embeddings: dict[str, Array], given: _Given) -> None:
        x, y = (tuple(embeddings[k].shape) for k in ("x", "y"))
        pair = isinstance(given.get("ids"), tuple) and self.stated("same", "positive") == "positive"
        if x == y or not pair or x[1:] != y[1:]:
            arguments.same_shape(embeddings, "x", "y")
        elif self.reduction == "none" and isinstance(self._settings["rule"], PartitionRule):
            raise ValueError(
                f'{type(self).__name__}: expected sides of one length with reduction="none", a '
                f"value for each pair of rows; received {x} and {y}; take the mean or the sum"
            )

    def rule_of_ids(self) -> PartitionRule | QueryRule:
        """The rule where ids may give an anchor several positives; by default the loss's own."""
        rule = self.rule()
        assert isinstance(rule, PartitionRule | QueryRule)
        return rule

    def _evaluation(
        self, arrays: tuple[Array, ...], parameters: _Known, names: _Names
    ) -> Evaluation:
        settings = {"parts": 2, "parameters": parameters, "names": names, **self._settings}
        if isinstance(settings["rule"], QueryRule):
            return self._of_queries(names, settings)
        if not self._plain(names, 2):
            same = self.stated("same", "positive")
            more = {"same": same}
            if same == "positive" and any(name.startswith("ids") for name in names):
                more["rule"] = self.rule_of_ids()
            return self._among_candidates("sides", parameters, names, 2, **more)
        return PartitionEvaluation(pairing="matched", **settings)

    def _of_queries(self, names: _Names, settings: dict[str, Any]) -> Evaluation:
        """Rows of the first side are the anchors."""
        ids = ("ids", "ids.0", "ids.1")
        self._refuse_other_than(names, *ids, "sample_weight", "guide.0", "guide.1")
        threshold = self._threshold()
        if threshold is None and not any(name in names for name in ids):
            return QueryEvaluation(negatives="batch", **settings)
        if not isinstance(settings["rule"], PairRule):
            raise TypeError(
                f"{type(self).__name__}: expected neither ids nor exclude, with which pairs are "
                "told apart, since its rule takes each row with all others; received one; leave it "
                "out, or derive the rule from nearfar.rules.PairRule"
            )
        same = self.stated("same", "positive")
        return SidesEvaluation(same=same, threshold=threshold, **settings)


class Queries(WithCandidates, family=True):
    """Queries (N, d), their positives (N, d), and negatives: the other positives by default.

    Given negatives are (K, d), shared by all queries, or (N, K, d), each query's own, of which
    `valid` (N, K) tells who is no padding; a queue (M, d) has more shared ones. Fields
    ``in_batch``, ``own``, ``directions`` and ``partition`` say who meets them. Rules: `QueryRule`;
    where a call has more than queries, positives and negatives, that of `rule_of_candidates`.
    """

    rules = (QueryRule,)
    inputs: ClassVar[tuple[str, ...]] = (
        "query",
        "positive",
        "negatives",
        "queue",
        "ids",
        "valid",
    )
    embeddings: ClassVar[tuple[str, ...]] = ("query", "positive", "negatives", "queue")
    optional: ClassVar[tuple[str, ...]] = ("negatives", "queue", "ids", "valid")

    def rule_of_candidates(self, positive: bool) -> PartitionRule:
        """The rule as one of partition sums, in which the positive has a part or has none."""
        raise TypeError(
            f"{type(self).__name__}: expected (query, positive, negatives=None); received more, or "
            "fields that say more; a loss that takes these has a method "
            "rule_of_candidates(positive)"
        )

    def _check_shapes(self, embeddings: dict[str, Array], given: _Given) -> None:
        arguments.same_shape(embeddings, "query", "positive")
        query = tuple(embeddings["query"].shape)
        features = query[1:]
        if "queue" in embeddings and tuple(embeddings["queue"].shape)[1:] != features:
            raise ValueError(
                f"expected queue of shape (M, {_listed(features)}), shared by all queries; "
                f"received {tuple(embeddings['queue'].shape)}"
            )
        if "negatives" not in embeddings:
            if "queue" not in embeddings and self.stated("in_batch") == "never":
                raise ValueError(
                    f"{type(self).__name__}: expected negatives or a queue with "
                    'in_batch="never"; received neither; pass them, or state in_batch="always"'
                )
            return
        shape = tuple(embeddings["negatives"].shape)
        if shape[1:] != features and (shape[0], *shape[2:]) != query:
            listed = _listed(features)
            raise ValueError(
                f"expected negatives of shape (K, {listed}), shared by all queries, or "
                f"({query[0]}, K, {listed}), each query's own; received {shape}"
            )

    def _evaluation(
        self, arrays: tuple[Array, ...], parameters: _Known, names: _Names
    ) -> Evaluation:
        parts = sum(name in self.embeddings for name in names)
        own = "negatives" in names and len(arrays[2].shape) > len(arrays[0].shape)
        in_batch = self.stated("in_batch", "without_negatives")
        alone = parts == 2
        batch = in_batch == "always" or (in_batch == "without_negatives" and alone)
        directions = self.stated("directions", ("qp",))
        plain = self._plain(names, parts) and "queue" not in names and batch == alone
        if plain and directions == ("qp",) and not (own and self.stated("own") == "all"):
            return QueryEvaluation(
                negatives="batch" if alone else "own" if own else "shared",
                parts=parts,
                parameters=parameters,
                names=names,
                **self._settings,
            )
        return self._among_candidates(
            "queries",
            parameters,
            names,
            parts,
            rule=self.rule_of_candidates(True),
            without_positive=self.rule_of_candidates(False),
            same=self.stated("same", "ignore"),
            in_batch=batch,
            own=self.stated("own", "mine"),
            directions=directions,
            joint=self.stated("partition", "joint") == "joint",
        )


class GivenPairs(Loss, family=True):
    """Anchors and positives (N, d) whose rows are matched; the others' positives are negatives.

    Rules: `QueryRule`.
    """

    rules = (QueryRule,)
    inputs: ClassVar[tuple[str, ...]] = ("anchor", "positive")
    embeddings: ClassVar[tuple[str, ...]] = ("anchor", "positive")

    def _check_shapes(self, embeddings: dict[str, Array], given: _Given) -> None:
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

    def _check_shapes(self, embeddings: dict[str, Array], given: _Given) -> None:
        arguments.same_shape(embeddings, "anchor", "positive")
        arguments.same_shape(embeddings, "anchor", "negative")

    def _evaluation(
        self, arrays: tuple[Array, ...], parameters: _Known, names: _Names
    ) -> Evaluation:
        return QueryEvaluation(
            negatives="matched", parts=3, parameters=parameters, names=names, **self._settings
        )


def _listed(sizes: tuple[Any, ...]) -> str:
    return ", ".join(map(str, sizes))

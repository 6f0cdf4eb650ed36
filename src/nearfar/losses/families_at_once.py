"""Families of losses that compare no rows but neighbours, given pairs, or features."""

from collections.abc import Mapping
from typing import Any, ClassVar

from nearfar.evaluate import AtOnceEvaluation
from nearfar.frameworks import Array, Evaluation, Namespace
from nearfar.losses import arguments
from nearfar.losses.base import Loss
from nearfar.rules import AtOnceRule


class _AtOnce(Loss, family=True):
    rules = (AtOnceRule,)

    def _evaluation(
        self,
        arrays: tuple[Array, ...],
        parameters: tuple[float | None, ...],
        names: tuple[str, ...],
    ) -> Evaluation:
        parts = len(self.embeddings)
        return AtOnceEvaluation(parts=parts, parameters=parameters, names=names, **self._settings)


class RowsAlone(_AtOnce, family=True):
    """Rows (n, d) of which nobody is anybody's positive. Rules: `AtOnceRule`."""

    inputs: ClassVar[tuple[str, ...]] = ("embeddings",)
    embeddings: ClassVar[tuple[str, ...]] = ("embeddings",)


class ViewsAlone(_AtOnce, family=True):
    """Two views (N, d) whose rows are matched and compared with no others. Rules: `AtOnceRule`."""

    inputs: ClassVar[tuple[str, ...]] = ("a", "b")
    embeddings: ClassVar[tuple[str, ...]] = ("a", "b")

    def _check_shapes(self, embeddings: dict[str, Array], given: Mapping[str, Any]) -> None:
        arguments.same_shape(embeddings, "a", "b")


class ScoredPairs(_AtOnce, family=True):
    """Pairs of rows (N, d) with targets (N,): how similar each should be. Rules: `AtOnceRule`."""

    inputs: ClassVar[tuple[str, ...]] = ("x", "y", "targets")
    embeddings: ClassVar[tuple[str, ...]] = ("x", "y")

    def _check_shapes(self, embeddings: dict[str, Array], given: Mapping[str, Any]) -> None:
        arguments.same_shape(embeddings, "x", "y")

    def _settled(
        self, ns: Namespace, embeddings: dict[str, Array], facts: dict[str, Any]
    ) -> dict[str, Array]:
        shape = tuple(facts["targets"].shape)
        if len(shape) != 1:
            raise ValueError(
                f"{type(self).__name__}: expected targets (N,), one for each pair; received "
                f"{shape}; pass targets.ravel() where they are one column"
            )
        return embeddings

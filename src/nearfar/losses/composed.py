"""What losses that are made of losses share."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

from nearfar.evaluate import ComposedEvaluation, Options, Part
from nearfar.frameworks import Array, Evaluation, Namespace
from nearfar.losses.base import Loss
from nearfar.losses.fields import choice
from nearfar.losses.restored import loss_from_dict
from nearfar.similarity import Similarity


class Term(NamedTuple):
    loss: Loss
    weight: float
    features: int | None = None
    """How many features of the embeddings it sees; None: all."""


class Composed(Loss, family=True):
    """Losses of the same inputs, each evaluated by itself and added up."""

    inputs: ClassVar[tuple[str, ...]] = ()
    embeddings: ClassVar[tuple[str, ...]] = ()
    _terms: ClassVar[tuple[Term, ...]]

    reduction: str = choice("mean")

    def terms_of(self) -> Iterable[Term]:
        """The losses that it is made of."""
        raise NotImplementedError

    @property
    def first(self) -> Loss:
        """The loss that tells who is compared with whom."""
        return self._terms[0].loss

    def check(self) -> None:
        terms = tuple(self.terms_of())
        owner = type(self).__name__
        first = terms[0].loss
        for term in terms:
            if term.loss.reduction == "none":
                raise ValueError(
                    f'{owner}: expected losses with reduction "mean" or "sum"; received '
                    f'{term.loss!r}, whose value is a vector; state reduction="mean" there'
                )
            if term.loss.inputs != first.inputs:
                raise ValueError(
                    f"{owner}: expected losses that are called with the same inputs; received "
                    f"{type(first).__name__} of ({', '.join(first.inputs)}) and "
                    f"{type(term.loss).__name__} of ({', '.join(term.loss.inputs)}); add their "
                    "values instead"
                )
            if _candidates(term.loss) != _candidates(first):
                raise ValueError(
                    f"{owner}: expected losses with the same candidates; received {first!r} and "
                    f"{term.loss!r}; state the same there"
                )
        if self.options != Options():
            asked = self.options._asdict()
            terms = tuple(t._replace(loss=t.loss.with_options(**asked)) for t in terms)
        known = [set(term.loss.keywords) for term in terms]
        ready = {
            "_terms": terms,
            "inputs": first.inputs,
            "embeddings": first.embeddings,
            "optional": first.optional,
            "keywords": tuple(k for k in first.keywords if all(k in some for some in known)),
        }
        for name, value in ready.items():
            object.__setattr__(self, name, value)

    def stated(self, name: str, otherwise: Any = None) -> Any:
        if name in self.declarations:
            return super().stated(name, otherwise)
        return self.first.stated(name, otherwise)

    @property
    def comparison(self) -> Similarity:
        return self.first.comparison

    @property
    def by_distance(self) -> bool:
        return self.first.by_distance

    def _check_shapes(self, embeddings: dict[str, Array], given: Mapping[str, Any]) -> None:
        for term in self._terms:
            seen = {name: x[..., : term.features] for name, x in embeddings.items()}
            term.loss._check_shapes(seen, given)

    def _check_together(self, given: dict[str, Any]) -> None:
        for term in self._terms:
            term.loss._check_together(given)

    def _settled(
        self, ns: Namespace, embeddings: dict[str, Array], facts: dict[str, Array]
    ) -> dict[str, Array]:
        return self.first._settled(ns, embeddings, facts)

    def _evaluation(
        self,
        arrays: tuple[Array, ...],
        parameters: tuple[float | None, ...],
        names: tuple[str, ...],
    ) -> Evaluation:
        count = sum(name in self.embeddings for name in names)
        parts = []
        for loss, weight, features in self._terms:
            cut = (x[..., :features] for x in arrays[:count])
            numbers = tuple(getattr(loss, name) for name in loss.parameters)
            own = loss._evaluation((*cut, *arrays[count:]), numbers, names)
            parts.append(Part(own, self.scale * weight, features))
        return ComposedEvaluation(tuple(parts), count)

    def _evaluated(self) -> dict[str, Any]:
        return {}


def _candidates(loss: Loss) -> Any:
    return loss.stated("candidates", "reference")


def read_loss(owner: str, value: Any) -> Loss:
    """A loss, or what `to_dict` says of one."""
    if isinstance(value, dict):
        return loss_from_dict(value)
    if not isinstance(value, Loss):
        raise TypeError(
            f"{owner}: expected a nearfar loss; received {value!r}; pass for instance "
            "nearfar.SupCon()"
        )
    return value


def scaled(loss: Loss, factor: float) -> Loss:
    """The same loss with its result multiplied."""
    return replace(loss, scale=loss.scale * factor)

"""Matryoshka, a loss of several prefixes of the features."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

from nearfar.frameworks import Array
from nearfar.losses import arguments
from nearfar.losses.base import Loss
from nearfar.losses.composed import Composed, Term, read_loss
from nearfar.losses.fields import read_by


def _dims(owner: str, value: Any) -> tuple[int, ...]:
    several = isinstance(value, tuple | list) and value
    found = tuple(arguments.whole("dims", x) for x in value) if several else ()
    if not found or list(found) != sorted(set(found)):
        raise ValueError(
            f"{owner}: expected dims to be numbers of features that grow, as (64, 128, 256); "
            f"received {value!r}"
        )
    return found


def _weights(owner: str, value: Any) -> tuple[float, ...] | None:
    if value is None:
        return None
    if not isinstance(value, tuple | list):
        raise TypeError(
            f"{owner}: expected weights to be None or a number for each of dims; received {value!r}"
        )
    return tuple(arguments.real("weights", x, {"number": "finite numbers"}) for x in value)


class Matryoshka(Composed, composed=True):
    """A loss of the first features of its embeddings, for several numbers of them, added up.

    Formula: L = sum_m weights_m loss(z[:, :m]) over m in dims; a cosine normalises every prefix
    anew.

    Source: Kusupati et al. 2022, Matryoshka Representation Learning, arXiv 2205.13147, eq. 1, where
    all weights are 1.

    Call ``loss(...)`` with what the loss of one prefix takes, embeddings (n, d) with d at least the
    largest of `dims`; features beyond that have no gradient. A temperature at the call is refused:
    state it.

    Range: that of its loss times the sum of the weights, and so is chance level.

    Parameters
    ----------
    loss
        The loss of one prefix; its reduction is "mean" or "sum". It may be given without its name.
    dims
        Numbers of features, rising.
    weights
        One for each of `dims`; None: all 1.
    scale
        A factor on the result.
    reduction
        "mean": the sum over prefixes is one number.

    Examples
    --------
    >>> import numpy as np
    >>> import nearfar as nf
    >>> z = np.array([[1.0, 0.0, 0.2], [0.9, 0.2, 0.1], [0.8, 0.3, 0.9], [0.1, 1.0, 0.8]])
    >>> loss = nf.Matryoshka(nf.SupCon(), dims=(2, 3))
    >>> print(f"{loss(z, ['cat', 'cat', 'dog', 'dog']):.6f}")
    2.353343
    """

    also_written: ClassVar[tuple[str, ...]] = ("of",)

    loss: Loss = read_by(read_loss)
    dims: tuple[int, ...] = read_by(_dims, (64, 128, 256))
    weights: tuple[float, ...] | None = read_by(_weights)

    def __new__(cls, *unnamed: Any, **named: Any) -> Self:
        if len(unnamed) == 1 and "loss" not in named:
            return super().__new__(cls, loss=unnamed[0], **named)
        return super().__new__(cls, *unnamed, **named)

    def terms_of(self) -> Iterator[Term]:
        weights = (1.0,) * len(self.dims) if self.weights is None else self.weights
        if len(weights) != len(self.dims):
            raise ValueError(
                f"Matryoshka: expected weights for each of {len(self.dims)} dims; received "
                f"{len(weights)}"
            )
        pairs = zip(weights, self.dims, strict=True)
        return (Term(self.loss, weight, features) for weight, features in pairs)

    @property
    def least_features(self) -> int:  # type: ignore[override]
        return self.dims[-1]

    def to_dict(self) -> dict[str, Any]:
        """As of every loss; "of" is the loss of one prefix."""
        stated = super().to_dict()
        return stated | {"loss": type(self).__name__, "of": self.loss.to_dict()}

    @classmethod
    def of_dict(cls, stated: dict[str, Any], **more: Any) -> Self:
        rest = dict(stated)
        return cls(loss=rest.pop("of", None), **rest, **more)

    def _check_shapes(self, embeddings: dict[str, Array], given: Mapping[str, Any]) -> None:
        for name, x in embeddings.items():
            if isinstance(x.shape[-1], int) and x.shape[-1] < self.least_features:
                raise ValueError(
                    f"Matryoshka: expected {name} with at least {self.least_features} features, "
                    f"the largest of dims; received shape {tuple(x.shape)}; give smaller dims"
                )
        super()._check_shapes(embeddings, given)


_by_name = Matryoshka.__init__


def _init(self: Matryoshka, *unnamed: Any, **named: Any) -> None:
    _by_name(self, **({"loss": unnamed[0]} if unnamed else {}), **named)


Matryoshka.__init__ = _init  # type: ignore[method-assign]  # a dataclass writes its own

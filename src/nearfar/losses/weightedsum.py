"""A sum of losses with weights."""

from collections.abc import Iterator
from typing import Any, Self

from nearfar.losses.base import Loss
from nearfar.losses.composed import Composed, Term, read_loss, scaled
from nearfar.losses.fields import read_by


def _losses(owner: str, value: Any) -> tuple[Loss, ...]:
    if not isinstance(value, tuple | list) or not value:
        raise TypeError(
            f"{owner}: expected terms to be a tuple of losses; received {value!r}; pass "
            "terms=(nearfar.SupCon(), ...), or add losses: a + 0.5 * b"
        )
    return tuple(read_loss(owner, each) for each in value)


class WeightedSum(Composed, composed=True):
    """Several losses of the same inputs, each times its own scale, added up.

    Formula: L = scale sum_k L_k.

    Call ``loss(...)`` with what its losses take, all of which have the same inputs.
    ``a + 0.5 * b`` of two losses makes one: ``0.5 * b`` is `b` with half its scale. It is a loss as
    any other, with a text of its own in JSON, and one call gives value and gradients of the whole.
    Options of `with_options` are handed to every term; a temperature at the call is not, since each
    has its own.

    Range: the sum of the ranges of its terms, and so is chance level.

    Parameters
    ----------
    terms
        The losses; their reduction is "mean" or "sum".
    scale
        A factor on the result.
    reduction
        "mean": every term has its own, and the sum is one number.

    Examples
    --------
    >>> import numpy as np
    >>> import nearfar as nf
    >>> z = np.array([[1.0, 0.0], [0.9, 0.2], [0.8, 0.3], [0.1, 1.0]])
    >>> loss = nf.SupCon() + 0.5 * nf.SmoothAP()
    >>> loss
    WeightedSum(terms=(SupCon(temperature=0.1), SmoothAP(temperature=0.01, scale=0.5)))
    >>> print(f"{loss(z, ['cat', 'cat', 'dog', 'dog']):.6f}")
    2.012674
    """

    terms: tuple[Loss, ...] = read_by(_losses)

    def terms_of(self) -> Iterator[Term]:
        return (Term(loss, 1.0) for loss in self.terms)

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {"terms": [loss.to_dict() for loss in self.terms]}

    @classmethod
    def of(cls, *losses: Loss) -> Self:
        """The sum of losses, of which any may be a sum."""
        terms: list[Loss] = []
        for loss in losses:
            if isinstance(loss, WeightedSum):
                terms += [scaled(term, loss.scale) for term in loss.terms]
            else:
                terms.append(loss)
        return cls(terms=tuple(terms))

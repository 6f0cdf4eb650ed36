"""Which negatives are left out because they are probably none."""

from dataclasses import asdict, dataclass
from typing import Any

from nearfar.losses import arguments

_MARGIN = {"number": "a finite number"}


@dataclass(frozen=True, kw_only=True)
class Exclude:
    """Leaves out negatives that are as near to the anchor as its positive: probable false ones.

    Formula: with g_ij how similar anchor i is to row j and theta_i that of i to its positive (the
    least, where it has several), a negative j is left out of every sum of i where

        g_ij > theta_i - margin               kind="absolute"
        g_ij > theta_i - |theta_i| margin     kind="relative"

    Positives are never left out. Who is left out is no function of the embeddings to the gradient.

    Source: by="guide" Solatorio 2024, GISTEmbed, arXiv 2402.16829, section 3; by="self", with
    margin=-0.1, Zhang et al. 2025, Qwen3 Embedding, arXiv 2506.05176, section 3.

    Parameters
    ----------
    by
        "guide": g is the cosine of frozen embeddings of a guide, which the call is given as
        ``guide=``, one array for each embedding argument; "self": the loss's own similarity.
    margin
        How far below its positive an anchor's negatives have to stay, in units of the similarity,
        or as a share of it; below 0, how far above they may be.
    kind
        "absolute", "relative".

    Raises
    ------
    TypeError, ValueError
        For other values.

    Examples
    --------
    >>> import numpy as np
    >>> import nearfar as nf
    >>> a = np.array([[1.0, 0.0], [0.9, 0.4], [-1.0, 0.2]])
    >>> b = np.array([[0.8, 0.6], [0.9, 0.5], [-0.9, 0.0]])
    >>> print(f"{nf.CLIP(temperature=0.5)(a, b):.6f}")
    0.512031
    >>> print(f"{nf.CLIP(temperature=0.5, exclude=nf.Exclude(by='self'))(a, b):.6f}")
    0.243921
    """

    by: str = "guide"
    margin: float = 0.0
    kind: str = "absolute"

    def __post_init__(self) -> None:
        arguments.one_of("Exclude", "by", self.by, ("guide", "self"))
        arguments.one_of("Exclude", "kind", self.kind, ("absolute", "relative"))
        object.__setattr__(self, "margin", arguments.real("margin", self.margin, _MARGIN))

    def to_dict(self) -> dict[str, Any]:
        """Every field, ready for JSON."""
        return asdict(self)


def exclude_of(owner: str, value: Any) -> Exclude | None:
    """The value of a field `exclude`, which JSON holds as a dictionary."""
    if value is None or isinstance(value, Exclude):
        return value
    if isinstance(value, dict) and set(value) <= {"by", "margin", "kind"}:
        return Exclude(**value)
    raise TypeError(
        f"{owner}: expected exclude to be None or nearfar.Exclude(by=..., margin=..., kind=...); "
        f"received {value!r}"
    )

"""The whole space, for a kind of batch."""

from collections.abc import Iterator, Mapping

from nearfar.check.identity.space.hard import hard_shapes
from nearfar.check.identity.space.pairs import pair_shapes
from nearfar.check.identity.space.ranks import rank_shapes
from nearfar.check.identity.space.sigmoid import sigmoid_shapes
from nearfar.check.identity.space.slips import slip_shapes
from nearfar.check.identity.space.softmax import POWERS, softmax_shapes
from nearfar.check.identity.space.stack import Stack
from nearfar.check.identity.space.stated import stated_shapes
from nearfar.check.identity.space.triplets import triplet_shapes
from nearfar.check.identity.space.view import Shape
from nearfar.losses import (
    LOSSES,
    AgainstProxies,
    BatchTriplet,
    GivenPairs,
    GradedRows,
    LabelledRows,
    Loss,
    PairMargin,
    RowsAlone,
    ScoredPairs,
    SoftTriple,
    SupCon,
    ViewsAlone,
)

_FAMILIES: dict[str, tuple[type[Loss], ...]] = {
    "labels": (LabelledRows,),
    "views": (ViewsAlone, GivenPairs),
    "rows": (RowsAlone,),
    "proxies": (AgainstProxies,),
    "centres": (AgainstProxies,),
    "scored": (ScoredPairs,),
    "targets": (GradedRows,),
    "matrix": (GradedRows,),
    "marks": (GradedRows,),
    "frozen": (GradedRows,),
}
"""Families whose losses are stated by themselves, by the kind of a batch."""

_GENERAL = (SupCon, BatchTriplet, PairMargin)
"""Losses that have a general form, with slips that their fields do not say."""

_FURTHER: dict[str, dict[str, tuple[str, ...] | None]] = {
    "views": {
        "NTXent": ("hardness", "exclude"),
        "InfoNCE": ("hardness", "exclude", "directions", "partition"),
        "CLIP": ("exclude",),
    },
    "own": {"InfoNCE": ("in_batch", "own", "directions", "partition", "exclude", "hardness")},
    "queue": {"InfoNCE": ("in_batch", "directions", "partition", "hardness")},
    "ids": {
        "CLIP": ("similarity", "same"),
        "SigLIP": ("similarity", "same"),
        "InfoNCE": ("similarity", "same"),
        "NTXent": ("similarity", "same", "denominator"),
    },
    "guided": {
        "CLIP": ("similarity", "exclude"),
        "InfoNCE": ("exclude", "directions", "partition"),
        "NTXent": ("similarity", "exclude"),
    },
    "guided_own": {
        "InfoNCE": ("in_batch", "own", "directions", "partition", "exclude"),
    },
    "reference": {
        "SupCon": (
            "similarity",
            "denominator",
            "positives",
            "without_positives",
            "average",
            "candidates",
        ),
        "BatchTriplet": ("mining", "distance", "count", "candidates"),
        "PairMargin": ("distance", "candidates"),
        "MultiSimilarity": ("mining", "without_positives", "candidates"),
    },
}
"""Losses with a general form, and fields that it does not have."""

_GRID = ((0.1, 1.0), (0.1, 0.0), (0.05, 1.0), (0.1, 0.5), (0.1, 2.0), (0.0, 1.0), (0.0, 0.5),
         (0.01, 1.0), (0.2, 1.0), (0.05, 0.0), (0.05, 0.5))  # fmt: skip
_BIASES = (-10.0, 0.0, -5.0)
_GENERAL_KINDS = ("views", "labels", "targets", "queue", "own", "triplets")


def _stated(kind: str) -> dict[str, tuple[str, ...] | None]:
    """Losses of nearfar that take such a batch, each with the fields to vary."""
    families = _FAMILIES.get(kind, ())
    found: dict[str, tuple[str, ...] | None] = {
        cls.__name__: None
        for cls in LOSSES.values()
        if issubclass(cls, families) and not issubclass(cls, _GENERAL) and _is_own(cls)
    }
    if kind in ("proxies", "centres"):
        several = SoftTriple.__name__
        found = {name: None for name in found if (name == several) == (kind == "centres")}
    return found | _FURTHER.get(kind, {})


def _is_own(cls: type[Loss]) -> bool:
    """Whether it is one of the library."""
    return cls.__module__.startswith("nearfar.losses.")


def shapes_for(
    stack: Stack, form: str, numbers: Mapping[str, float], varied: tuple[str, str] | None = None
) -> Iterator[Shape]:
    """Every convention for a stack.

    Parameters
    ----------
    numbers
        What the target names, taken as it is.
    varied
        Kind and name of the argument that it is given values of.
    """
    kind, parts = stack.kind, stack.parts
    yield from stated_shapes(_stated(kind), kind, numbers, varied)
    if kind not in _GENERAL_KINDS:
        return
    if kind == "triplets":
        yield from triplet_shapes(given=True)
        return
    if kind == "targets":
        yield from rank_shapes(parts, POWERS)
        return
    yield from softmax_shapes(kind, parts, POWERS)
    yield from slip_shapes(kind, form, numbers)
    if kind == "labels":
        yield from triplet_shapes(given=False)
        yield from pair_shapes()
    if kind == "views":
        told = [(numbers.get("tau_plus", t), numbers.get("beta", b)) for t, b in _GRID]
        yield from hard_shapes(parts, dict.fromkeys(told))
        yield from sigmoid_shapes(parts, [numbers["bias"]] if "bias" in numbers else _BIASES)

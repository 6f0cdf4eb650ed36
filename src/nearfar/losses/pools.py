"""Rows that stand apart from a batch, and those beside it: what engines share or cut."""

from collections.abc import Iterable, Mapping, Sequence

from nearfar.losses.base import Loss

POOLS = ("negatives", "queue", "reference", "reference_labels", "reference_targets", "proxies")
"""Inputs that need not stand beside the rows: all devices may hold them alike."""


def one_value(loss: Loss, who: str) -> None:
    """Raise ValueError for a loss with a value per anchor, which `who` do not share."""
    if loss.reduction == "none":
        raise ValueError(
            f'expected a loss with reduction "mean" or "sum", received "none": {who} share '
            "one value; use the loss itself on gathered rows for a value per anchor"
        )


def pools_alone(loss: Loss, shared: Sequence[str], one: str) -> None:
    """Raise ValueError where `shared` names inputs that are rows of each device, as `one` says."""
    known = [name for name in POOLS if name in loss.inputs]
    wrong = [name for name in shared if name not in known]
    if wrong:
        raise ValueError(
            f"expected shared to name inputs that every {one} may hold whole "
            f"({', '.join(known) or 'this loss has none'}); received {', '.join(wrong)}; each "
            f"{one} gives its own rows of the others"
        )


def rows_alike(sizes: Mapping[str, Iterable[int]], one: str) -> None:
    """Raise ValueError where what belongs together has several numbers of rows on a device."""
    found = {name: set(each) for name, each in sizes.items()}
    if len(set().union(*found.values())) > 1:
        told = ", ".join(f"{name} {'/'.join(map(str, sorted(n)))}" for name, n in found.items())
        raise ValueError(
            f"expected as many rows of {' and '.join(found)} on every {one}; received {told}; cut "
            f"the batch over the {one}s and give each whole rows of it"
        )

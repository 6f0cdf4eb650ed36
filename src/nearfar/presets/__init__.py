"""Public implementations as statements: which loss each of them is, and how to move from it."""

import difflib
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from typing import Any

from nearfar.losses import Loss
from nearfar.presets.at_once import AT_ONCE
from nearfar.presets.candidates import CANDIDATES
from nearfar.presets.labels import LABELS
from nearfar.presets.pairs import PAIRS
from nearfar.presets.proxies import PROXIES
from nearfar.presets.queries import QUERIES
from nearfar.presets.record import Preset, Table
from nearfar.presets.uncovered import UNCOVERED
from nearfar.presets.views import VIEWS
from nearfar.presets.weighted import WEIGHTED

__all__ = ["Preset", "Table", "describe", "preset", "table"]

_COVERED = [*VIEWS, *LABELS, *QUERIES, *CANDIDATES, *PAIRS, *WEIGHTED, *AT_ONCE, *PROXIES]
_ALL = Table([*_COVERED, *UNCOVERED])
_BY_NAME = {row.name.lower(): row for row in _ALL}


def preset(name: str, **fields: Any) -> Loss:
    """The loss that equals a public implementation.

    Parameters
    ----------
    name
        As in `table`, such as "pytorch-metric-learning/SupConLoss"; case does not matter.
    **fields
        Fields of the loss, such as ``temperature=0.5``, in place of the implementation's defaults.

    Raises
    ------
    ValueError
        For a name that is not in the table, with the nearest ones, and for an implementation that
        is not covered, with the reason; for a value that its field does not take.
    TypeError
        For fields that the loss does not have.

    >>> import nearfar as nf
    >>> nf.preset("google-research/simclr", temperature=0.1).scale
    2.0
    """
    row = describe(name)
    if row.loss is None:
        raise ValueError(f"preset {row.name!r} is not covered yet: {row.reason}")
    known = [f.name for f in dataclass_fields(row.loss)]
    unknown = [field for field in fields if field not in known]
    if unknown:
        raise TypeError(
            f"preset {row.name!r} is a {type(row.loss).__name__}: expected its fields "
            f"{', '.join(known)}; received {', '.join(unknown)}"
        )
    return replace(row.loss, **fields)


def table() -> Table:
    """Every implementation known here, covered or not, as `Preset` rows; prints as a table.

    >>> import nearfar as nf
    >>> rows = nf.presets.table()
    >>> [row.loss for row in rows if row.name == "optax/triplet_margin_loss"]
    [Triplet(margin=1.0, distance='euclidean', reduction='none')]
    """
    return Table(_ALL)


def describe(name: str) -> Preset:
    """What is known of one implementation; ValueError as for `preset`."""
    row = _BY_NAME.get(str(name).lower())
    if row is not None:
        return row
    near = " or ".join(repr(n) for n in _nearest(str(name).lower()))
    raise ValueError(
        f"expected a name of nearfar.presets.table(); received {name!r}; the nearest are {near}"
    )


def _nearest(name: str) -> list[str]:
    """The names most alike, as a whole or without the package."""

    def likeness(row: Preset) -> float:
        known = row.name.lower()
        return max(
            difflib.SequenceMatcher(None, name, part).ratio()
            for part in (known, known.partition("/")[2])
        )

    return [row.name for row in sorted(_ALL, key=likeness, reverse=True)[:3]]

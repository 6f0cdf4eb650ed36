"""How to evaluate, never what: these change time and memory, and values only by rounding."""

from typing import NamedTuple


class Options(NamedTuple):
    tile: int | None = None
    memory: int | None = None
    """None: what the device of the inputs offers, see `Namespace.memory`."""
    workers: int | None = None
    check_finite: bool | None = None

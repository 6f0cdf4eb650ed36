"""How to evaluate, never what: these change time and memory, and values only by rounding."""

from typing import NamedTuple


class Options(NamedTuple):
    tile: int | None = None
    memory: int = 64 * 2**20
    workers: int | None = None
    check_finite: bool | None = None

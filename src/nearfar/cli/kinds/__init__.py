"""What rows are told apart by, and all that follows: split, scores, colours, answers."""

from nearfar.cli.kinds.base import Kind
from nearfar.cli.kinds.classes import Classes
from nearfar.cli.kinds.numbers import Numbers

# Under the names the losses have for them.
KINDS: dict[str, type[Kind]] = {"labels": Classes, "targets": Numbers}

__all__ = ["KINDS", "Kind"]

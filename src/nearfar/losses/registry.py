"""Losses by name: no two of one name, since files and compiled programs know a loss by it."""

from typing import Any

LOSSES: dict[str, type[Any]] = {}
"""Every loss by its name in lower case."""

COMPOSED: dict[str, type[Any]] = {}
"""Losses that are made of losses, likewise: they need those to be made."""

_OTHER_NAMES: dict[str, str] = {}
_BY_KEY: dict[str, type[Any]] = {}


def key_of(name: str) -> str:
    """How `LOSSES` spells a name, whatever its case and whichever of a loss's names it is."""
    return _OTHER_NAMES.get(name.lower(), name.lower())


def register(cls: type[Any], also: tuple[str, ...] = (), composed: bool = False) -> str:
    """Enter a loss under its name and others; the key by which a program finds this very class.

    A class of the same module and place takes the name over, as when a cell of a notebook runs
    again; programs that hold the earlier class still find that.

    Raises
    ------
    TypeError
        If another loss has the name.
    """
    for name in (cls.__name__, *also):
        held = LOSSES.get(key_of(name)) or COMPOSED.get(key_of(name))
        if held is not None and _place(held) != _place(cls):
            raise TypeError(
                f"expected a name that no other loss has; received {name} in module "
                f"{cls.__module__}, which {held.__module__}.{held.__qualname__} has (in whatever "
                "case): saved files and compiled programs would take one for the other; call it "
                f"for instance My{name}"
            )
    (COMPOSED if composed else LOSSES)[cls.__name__.lower()] = cls
    _OTHER_NAMES.update((name.lower(), cls.__name__.lower()) for name in also)
    key, again = ".".join(_place(cls)), 1
    while key in _BY_KEY:
        again += 1
        key = f"{'.'.join(_place(cls))}#{again}"
    _BY_KEY[key] = cls
    return key


def by_key(key: str) -> Any:
    """The class that `register` gave this key."""
    return _BY_KEY[key]


def _place(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__

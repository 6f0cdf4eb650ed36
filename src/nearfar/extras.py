"""Packages beyond the base install: what needs them says how to get them."""

from importlib import import_module
from typing import Any


def imported(module: str, who: str, extra: str) -> Any:
    """The module, or ModuleNotFoundError that says what wants it and which extra brings it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise explained(error, who, extra) from None


def explained(error: ModuleNotFoundError, who: str, extra: str) -> ModuleNotFoundError:
    """What to raise for an import that failed: with a remedy, where the extra has one."""
    package = (error.name or "").split(".")[0]
    if package == "nearfar":
        return error
    return ModuleNotFoundError(
        f"{who} needs {package}, which is not installed: pip install 'nearfar[{extra}]'",
        name=error.name,
    )

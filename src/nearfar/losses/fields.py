"""Declarations of a loss's fields: what a field may be, and what it is by default."""

from collections.abc import Callable, Mapping
from dataclasses import Field, field
from inspect import get_annotations
from math import inf
from typing import Any

from nearfar.losses import arguments
from nearfar.losses.exclude import exclude_of

_DECLARED = {"choices", "number", "exclude", "several", "read"}


def choice(*values: Any) -> Any:
    """A field that takes one of these values, the first by default."""
    if not values:
        raise TypeError("expected the values of a choice, the default first; received none")
    return field(default=values[0], metadata={"choices": values})


def number(default: float) -> Any:
    """A field that takes a finite number."""
    return _number(default, {"number": "a finite number"})


def positive(default: float) -> Any:
    """A field that takes a finite number above 0."""
    return _number(default, {"number": "a finite number above 0", "above": 0})


def from_zero(default: float, below: float = inf) -> Any:
    """A field that takes a finite number from 0 on, and below another."""
    end = "" if below == inf else f" and below {below:g}"
    return _number(
        default, {"number": f"a finite number from 0 on{end}", "from": 0, "below": below}
    )


def off_or_positive() -> Any:
    """A field that is False by default, or a finite number above 0."""
    allowed = {"number": "False, or a finite number above 0", "above": 0, "off": False}
    return field(default=False, metadata=allowed)


def excluding() -> Any:
    """A field that takes `Exclude`, or None, its default."""
    return field(default=None, metadata={"exclude": "None or nearfar.Exclude"})


def several(*values: str, default: tuple[str, ...]) -> Any:
    """A field that takes a tuple of these values, each once."""
    return field(default=default, metadata={"several": values})


def read_by(read: Callable[[str, Any], Any], default: Any = None) -> Any:
    """A field whose value is what a function makes of the loss's name and of what is given."""
    return field(default=default, metadata={"read": read})


def _number(default: float, allowed: Mapping[str, Any]) -> Any:
    return field(default=arguments.real("the default", default, allowed), metadata=allowed)


def checked(owner: str, name: str, value: Any, allowed: Mapping[str, Any]) -> Any:
    """The value of a field as its declaration wants it."""
    if value is False and "off" in allowed:
        return value
    if "read" in allowed:
        return allowed["read"](owner, value)
    if "exclude" in allowed:
        return exclude_of(owner, value)
    if "several" in allowed:
        return arguments.some_of(owner, name, value, allowed["several"])
    if "choices" not in allowed:
        return arguments.real(name, value, allowed)
    arguments.one_of(owner, name, value, allowed["choices"])
    return value


def declarations(cls: type) -> dict[str, Mapping[str, Any]]:
    """What each field that a class adds may be.

    Raises
    ------
    TypeError
        For a field without a declaration: anything would be taken for it.
    """
    known: Mapping[str, Any] = getattr(cls, "declarations", {})
    own: dict[str, Mapping[str, Any]] = {}
    for name, annotation in get_annotations(cls).items():
        if "ClassVar" in str(annotation) or "InitVar" in str(annotation):
            continue
        default = cls.__dict__.get(name)
        if not isinstance(default, Field) or not _DECLARED & set(default.metadata):
            raise _undeclared(cls, name, cls.__dict__.get(name, "none"))
        own[name] = default.metadata
    for name, value in cls.__dict__.items():
        if name in known and name not in own:
            raise _undeclared(cls, name, value)
    return own


def _undeclared(cls: type, name: str, value: Any) -> TypeError:
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    remedy = f"positive({value!r})" if numeric else 'choice("first is the default", "another")'
    return TypeError(
        f"{cls.__name__}: expected the field {name} to be declared, so that its values are "
        f"checked; received {value!r} as its default; write `{name}: ... = {remedy}`; positive, "
        "number, from_zero and choice are in nearfar.losses"
    )

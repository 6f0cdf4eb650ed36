"""Classes whose fields are declared: frozen dataclasses under names that no two share."""

from collections.abc import Mapping
from dataclasses import Field, FrozenInstanceError, dataclass, fields, is_dataclass
from inspect import Parameter, Signature
from typing import Any, ClassVar, NoReturn, Self, dataclass_transform

from nearfar.losses import arguments, registry
from nearfar.losses.fields import declarations

_LAST = ("scale", "scale_by", "reduction")
"""Fields that most losses have; a loss's own are written before them."""


def in_order(cls: type) -> list[Field[Any]]:
    """Fields as they are written: a loss's own, then those that most have."""
    known = fields(cls)
    own = [f for f in known if f.name not in _LAST]
    return own + [f for name in _LAST for f in known if f.name == name]


class _SignatureOfClass:
    """The fields as a signature, options left out; an instance is called as its method says."""

    def __get__(self, instance: Any, cls: type) -> Signature:
        if instance is not None or not is_dataclass(cls):
            raise AttributeError("__signature__")
        kind = Parameter.KEYWORD_ONLY
        return Signature(
            [Parameter(f.name, kind, default=f.default, annotation=f.type) for f in in_order(cls)]
        )


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Declared:
    """Makes every class that derives from it a frozen dataclass, its fields checked by name.

    No decorator is needed, so that none can be forgotten; one that is written changes nothing.
    """

    declarations: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """What each field may be."""
    __signature__: ClassVar[Any] = _SignatureOfClass()
    key: ClassVar[str | None] = None
    """By which a program finds this very class; None for what losses derive from."""

    def __init_subclass__(
        cls, *, family: bool = False, also: tuple[str, ...] = (), composed: bool = False
    ) -> None:
        """`family`: it is no loss, losses derive from it; `also`: other names of the loss;
        `composed`: it is made of losses."""
        cls.declarations = {**cls.declarations, **declarations(cls)}
        if "__repr__" not in cls.__dict__:
            cls.__repr__ = cls.__repr__  # type: ignore[method-assign]  # its own, not a generated
        dataclass(frozen=True, kw_only=True)(cls)
        # `Declared` has these for all: a second decorator would refuse to write over them.
        del cls.__setattr__, cls.__delattr__
        cls.key = None if family else registry.register(cls, also, composed)

    def __new__(cls, *unnamed: Any, **named: Any) -> Self:
        if cls.key is None:
            raise TypeError(
                f"expected a loss; received {cls.__name__}, which losses derive from: derive one, "
                "with a rule, or take one of nearfar's"
            )
        names = [f.name for f in in_order(cls)]
        unknown = [name for name in named if name not in names and name != "options"]
        if unnamed:
            raise TypeError(
                f"{cls.__name__} takes its fields by name, as in {cls.__name__}({names[0]}="
                f"{unnamed[0]!r}); received the positional {', '.join(map(repr, unnamed))}"
            )
        if unknown:
            near = arguments.nearest(unknown[0], names)
            meant = f"; did you mean {near}?" if near else ""
            raise TypeError(
                f"expected fields of {cls.__name__}, which are {', '.join(names)}; received "
                f"{', '.join(unknown)}{meant}"
            )
        return super().__new__(cls)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise FrozenInstanceError(
            f"expected no change of {name!r}: a loss is a value; make another with "
            "dataclasses.replace"
        )

    def __delattr__(self, name: str) -> NoReturn:
        raise FrozenInstanceError(f"expected no deletion of {name!r}: a loss is a value")

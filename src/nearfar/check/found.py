"""What a check has found, and its exit code."""

from dataclasses import dataclass, field
from typing import Any

from nearfar.check.finding import FAULT, Finding
from nearfar.check.identity.identify import Identity
from nearfar.check.target.forms import FORMS, Form
from nearfar.losses import Loss


@dataclass(frozen=True)
class Found:
    """A target held against nearfar.

    `exit_code` is 0 where the target is the loss that was expected (or, with nothing expected, one
    that is known) and sound; 1 where it differs or is unsafe; 2 where it could not be run at all.
    """

    target: str
    ran: bool
    form: str = ""
    call: str = ""
    arguments: tuple[str, ...] = ()
    framework: str = ""
    dtype: str = ""
    identity: Identity | None = None
    implementations: tuple[str, ...] = ()
    expected: str | None = None
    as_expected: bool | None = None
    differences: tuple[str, ...] = ()
    gradient: dict[str, Any] = field(default_factory=dict)
    stability: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    seconds: float = 0.0

    @property
    def known(self) -> bool:
        """It is a loss of nearfar without any factor or slip, or a public implementation."""
        if self.identity is None or not self.identity.sure or self.identity.statement is None:
            return False
        loss = self.identity.exact
        as_published = loss is not None and loss.scale == 1 and not _slips(loss)
        return as_published or bool(self.implementations)

    @property
    def right(self) -> bool:
        """It is what was expected or, with nothing expected, a known loss."""
        return self.known if self.as_expected is None else self.as_expected

    @property
    def faults(self) -> list[Finding]:
        return [f for f in self.findings if f.level == FAULT]

    @property
    def notes(self) -> list[Finding]:
        return [f for f in self.findings if f.level != FAULT]

    @property
    def sound(self) -> bool:
        """Nothing found that makes it wrong, whatever loss it is."""
        return self.ran and not self.faults

    @property
    def exit_code(self) -> int:
        if not self.ran:
            return 2
        return 0 if self.right and self.sound else 1

    @property
    def equal_call(self) -> str:
        """The call of nearfar on the target's own arguments; nothing where none is equal."""
        if self.identity is None or self.identity.exact is None:
            return ""
        statement = self.identity.statement
        loss: Loss = self.identity.exact
        swapped = statement is not None and statement.swapped
        return _equal_call(loss, FORMS[self.form], self.arguments, swapped)


def _slips(loss: Any) -> bool:
    """Fields that state what nobody publishes."""
    return loss.stated("order") == "nearer" or loss.stated("include_self") is True


def _equal_call(loss: Loss, form: Form, names: tuple[str, ...], swapped: bool) -> str:
    """On the author's arguments, in his order and by his names."""
    count = len(form.arguments)
    given = names[:count] if len(names) >= count else form.arguments
    inputs = form.inputs.format(*given)
    if swapped:
        first, _, second = inputs.partition(", ")
        inputs = f"{second}, {first}"
    return f"nf.{loss}({inputs})"

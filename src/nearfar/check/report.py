"""What a check has found, as text, as plain numbers, and as an exit code."""

from dataclasses import dataclass, field
from typing import Any

from nearfar.check.finding import FAULT, Finding
from nearfar.check.identity.identify import Identity

Line = tuple[str, str]


@dataclass(frozen=True)
class Report:
    """A target held against nearfar; prints as a table.

    `exit_code` is 0 where the target is the loss that was expected (or, with nothing expected, one
    that is known) and sound; 1 where it is not; 2 where it could not be run at all.
    """

    target: str
    ran: bool
    form: str = ""
    call: str = ""
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
    def faults(self) -> list[Finding]:
        return [f for f in self.findings if f.level == FAULT]

    @property
    def sound(self) -> bool:
        """Nothing found that makes it wrong, whatever loss it is."""
        return self.ran and not self.faults

    @property
    def exit_code(self) -> int:
        if not self.ran:
            return 2
        right = self.known if self.as_expected is None else self.as_expected
        return 0 if right and self.sound else 1

    def sections(self) -> list[tuple[str, list[Line]]]:
        """Headings, each with lines of a name and a text."""
        found = [("Target", self._target())]
        if self.identity is not None:
            found.append(("Identity", self._identity(self.identity)))
        for heading, facts in (
            ("Gradient", self.gradient), ("Stability", self.stability), ("Cost", self.cost),
        ):  # fmt: skip
            if facts:
                found.append((heading, list(facts["lines"])))
        notes = [("fault" if f.level == FAULT else "note", f.text) for f in self.findings]
        if notes:
            found.append(("Findings", notes))
        return [*found, ("Verdict", [(self.verdict(), self._reason())])]

    def verdict(self) -> str:
        """In one word."""
        return {0: "passed", 1: "failed", 2: "not run"}[self.exit_code]

    def _reason(self) -> str:
        if not self.ran:
            return "no call gave a number"
        if self.as_expected is not None:
            what = "the loss that was expected" if self.as_expected else (
                f"not the expected {self.expected}"
            )  # fmt: skip
        elif self.known:
            what = "a known loss"
        elif self.identity and self.identity.statement and self.identity.sure:
            what = "a loss of nearfar with changes"
        else:
            what = "no loss that nearfar could name for sure"
        faults = len(self.faults)
        return f"{what}, " + (f"{faults} fault{'s' * (faults > 1)}" if faults else "sound")

    def _target(self) -> list[Line]:
        lines = [("called as", self.call)] if self.call else []
        if self.framework:
            lines.append(("framework", f"{self.framework}, {self.dtype}"))
        return [("", self.target), *lines]

    def _identity(self, found: Identity) -> list[Line]:
        lines: list[Line] = []
        if found.statement is None:
            lines.append(("equals", "no loss in the space of conventions that was searched"))
            for text, deviation in found.nearest:
                lines.append(("nearest", f"{text}; off by {_percent(deviation)}"))
            if not found.batches:
                lines[0] = ("equals", "unknown: too few batches gave a number")
            return lines
        statement = found.statement
        word = "equals" if found.sure else "may be"
        if statement.changes:
            word = "is" if found.sure else "may be"
        swapped = ", called as (b, a)" if statement.swapped else ""
        lines.append((word, str(statement.loss) + swapped))
        for change in statement.changes:
            lines.append(("but", change))
        said = [r for r in statement.remarks() if r not in statement.changes]
        for remark in said:
            lines.append(("that is", remark))
        for rival in found.rivals:
            lines.append(("or", rival))
        for k, name in enumerate(self.implementations):
            lines.append(("the same" if k == 0 else "", name))
        lines.append(("how sure", self._evidence(found)))
        for text in self.differences:
            lines.append(("to expected", text))
        return lines

    def _evidence(self, found: Identity) -> str:
        fixed = "; its temperature or margin is a constant of the code" if found.fixed else ""
        apart = (
            "these batches cannot tell the above apart"
            if found.rivals
            else "no other convention of the space agrees"
        )
        return (
            f"{found.values} values on {found.batches} batches, {found.held_back} of them held "
            f"back, agree to {found.deviation:.0e} (limit {found.tolerance:.0e}); {apart}{fixed}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON, which has no NaN: null is a number that there is not."""
        found: dict[str, Any] = _jsonable(self._facts())
        return found

    def _facts(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "exit_code": self.exit_code,
            "verdict": self.verdict(),
            "sound": self.sound,
            "known": self.known,
            "call": self.form,
            "framework": self.framework,
            "dtype": self.dtype,
            "identity": self._identity_dict(),
            "expected": self.expected,
            "as_expected": self.as_expected,
            "differences": list(self.differences),
            "gradient": _plain(self.gradient),
            "stability": _plain(self.stability),
            "cost": _plain(self.cost),
            "findings": [f.to_dict() for f in self.findings],
            "seconds": round(self.seconds, 2),
        }

    def _identity_dict(self) -> dict[str, Any] | None:
        found = self.identity
        if found is None:
            return None
        statement = found.statement
        return {
            "sure": found.sure,
            "loss": None if statement is None else statement.loss.to_dict(),
            "statement": None if statement is None else str(statement),
            "exact": found.exact is not None,
            "changes": [] if statement is None else list(statement.changes),
            "remarks": [] if statement is None else statement.remarks(),
            "implementations": list(self.implementations),
            "batches": found.batches,
            "held_back": found.held_back,
            "values": found.values,
            "deviation": None if statement is None else found.deviation,
            "tolerance": None if statement is None else found.tolerance,
            "verified": found.verified,
            "fixed_parameter": found.fixed,
            "cannot_tell_apart": list(found.rivals),
            "nearest": [{"statement": text, "deviation": d} for text, d in found.nearest],
        }

    def __str__(self) -> str:
        width = 12
        lines = []
        for heading, rows in self.sections():
            lines.append(heading)
            lines += [f"  {name:<{width}}{text}" for name, text in rows]
        return "\n".join(lines)

    __repr__ = __str__


def _slips(loss: Any) -> bool:
    """Fields that state what nobody publishes."""
    return loss.stated("order") == "nearer" or loss.stated("include_self") is True


def _plain(facts: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if key != "lines"}


def _jsonable(x: Any) -> Any:
    if isinstance(x, dict):
        return {key: _jsonable(value) for key, value in x.items()}
    if isinstance(x, (list, tuple)):
        return [_jsonable(value) for value in x]
    return None if isinstance(x, float) and not _finite(x) else x


def _percent(x: float) -> str:
    return f"{100 * x:.2g} %" if _finite(x) else "more than can be told"


def _finite(x: float) -> bool:
    return x == x and abs(x) != float("inf")

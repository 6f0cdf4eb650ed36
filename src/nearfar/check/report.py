"""What a check has found, as text and as plain numbers."""

from typing import Any

from nearfar.check.found import Found
from nearfar.check.page import fragment, page
from nearfar.check.wording import Line, in_one_sentence, in_sections


class Report(Found):
    """What `nearfar.check.check` returns; prints as a table.

    `exit_code` is 0 where the target is the loss that was expected (or, with nothing expected, one
    that is known) and sound; 1 where it differs or is unsafe; 2 where it could not be run at all.
    """

    @property
    def answer(self) -> str:
        """The whole report in one sentence."""
        return in_one_sentence(self)

    def sections(self) -> list[tuple[str, list[Line]]]:
        """Headings, each with lines of a name and a text; the answer comes first."""
        return in_sections(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON, which has no NaN: null is a number that there is not."""
        found: dict[str, Any] = _jsonable(self._facts())
        return found

    def to_html(self) -> str:
        """The whole report as a page that opens in a browser without a network."""
        return page(self.target, self.sections(), self.exit_code == 0)

    def _repr_html_(self) -> str:
        return fragment(self.sections(), self.exit_code == 0)

    def _facts(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "exit_code": self.exit_code,
            "answer": self.answer,
            "equal_call": self.equal_call,
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
            "something_small_is_added": found.small,
            "of_unit_rows": found.unit,
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
        rows = [(name, text) for _, lines in self.sections() for name, text in lines]
        width = 2 + max((len(name) for name, _ in rows), default=0)
        lines = []
        for heading, section in self.sections():
            lines.append(heading)
            lines += [f"  {name:<{width}}{text}".rstrip() for name, text in section]
        return "\n".join(lines)

    __repr__ = __str__


def _plain(facts: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if key != "lines"}


def _jsonable(x: Any) -> Any:
    if isinstance(x, dict):
        return {key: _jsonable(value) for key, value in x.items()}
    if isinstance(x, (list, tuple)):
        return [_jsonable(value) for value in x]
    finite = not isinstance(x, float) or (x == x and abs(x) != float("inf"))
    return x if finite else None

"""One public implementation, and the table of them."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from nearfar.losses import Loss

Evidence = Literal["run", "calculated", "read"]

UNRECORDED = "not recorded"
"""For a version that the notes on an implementation do not name."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A public implementation as a statement.

    In `original` and `call`, a and b are two views (B, d), f their stack (B, 2, d), z rows (n, d)
    with labels y, q and k queries and keys, n hard negatives (B, K, d), r and yr a labelled
    reference, x and w the two sides of a pair.
    """

    name: str
    """Package or repository, and what it calls the loss there."""
    version: str
    """Version or commit."""
    source: str
    """The file in it."""
    loss: Loss | None
    """The equal loss with the implementation's defaults; None where it is not covered."""
    differs: str = ""
    """From the paper, in a sentence."""
    traps: tuple[str, ...] = ()
    """What surprises there."""
    original: str = ""
    """The call of the original."""
    call: str = ""
    """The same in nearfar, where `loss` is the preset."""
    inputs: str = ""
    """How the original's inputs become nearfar's."""
    normalises: bool = False
    """Rows are normalised inside, where `loss` takes them as they are and `call` does it."""
    queue: bool = False
    """Candidates come from outside of the batch, in a third argument."""
    evidence: Evidence = "read"
    """"run": the original was run and gave this value; "calculated": its formula was computed
    again; "read": only its source was read."""
    reason: str = ""
    """Why it is not covered."""

    def to_dict(self) -> dict[str, Any]:
        """Every field, ready for JSON; the loss as `Loss.to_dict` gives it."""
        loss = None if self.loss is None else self.loss.to_dict()
        return asdict(self) | {"loss": loss, "traps": list(self.traps)}

    def __str__(self) -> str:
        """The explanation with its migration."""
        lines = [f"{self.name} ({self.version}, {self.source})", ""]
        if self.loss is None:
            return "\n".join([*lines, f"Not covered yet: {self.reason}."])
        lines += [
            f"nearfar:   {self.loss!r}",
            f"Differs:   {self.differs}",
            *(f"Trap:      {trap}" for trap in self.traps),
            f"Evidence:  {_EVIDENCE[self.evidence]}",
            "",
            "From",
            f"    {self.original}",
            "to",
            f'    loss = nf.preset("{self.name}")',
            f"    {self.call}",
            f"Inputs:    {self.inputs}",
        ]
        return "\n".join(lines)


_EVIDENCE = {
    "run": "the original was run and gives the same value",
    "calculated": "the original's formula was computed again and gives the same value",
    "read": "only the original's source was read",
}


class Table(list[Preset]):
    """Rows of presets; prints as a table."""

    def __str__(self) -> str:
        rows = [
            (row.name, type(row.loss).__name__ if row.loss else "not covered", row.version)
            for row in self
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)] if rows else []
        padded = (zip(row, widths, strict=True) for row in rows)
        return "\n".join("  ".join(x.ljust(w) for x, w in row).rstrip() for row in padded)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Every row by its name, ready for JSON."""
        return {row.name: row.to_dict() for row in self}

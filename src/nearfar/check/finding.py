"""Something a check found: what is wrong, or worth knowing."""

from dataclasses import dataclass
from typing import Any

FAULT, NOTE = "fault", "note"


@dataclass(frozen=True)
class Finding:
    """A fault makes a target unsound; a note does not."""

    part: str  # "run", "identity", "gradient", "stability", "cost"
    level: str
    text: str

    def to_dict(self) -> dict[str, Any]:
        return {"part": self.part, "level": self.level, "text": self.text}

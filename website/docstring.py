"""A loss's docstring in its parts, which the house's order of paragraphs tells apart."""

import inspect
import re
from typing import NamedTuple

from nearfar import WeightedSum

PARTS = ("Formula", "Source", "Call", "Range")


class Described(NamedTuple):
    summary: str
    formula: str
    source: str
    call: str
    range: str
    parameters: dict[str, str]
    example: str


def described(cls: type) -> Described:
    """Raise ValueError where a part is missing: the build fails and says which."""
    text = inspect.getdoc(cls) or ""
    body, _, rest = text.partition("\nParameters\n----------\n")
    fields, _, example = rest.partition("\nExamples\n--------\n")
    paragraphs = [p.strip() for p in body.split("\n\n") if p.strip()]
    found: dict[str, list[str]] = {"Summary": []}
    part = "Summary"
    for paragraph in paragraphs:
        head = next((p for p in PARTS if re.match(rf"{p}\b", paragraph)), None)
        part = head or part
        found.setdefault(part, []).append(paragraph)
    needed = [part for part in (*PARTS, "Parameters", "Examples") if part not in _spared(cls)]
    missing = [part for part in needed if not _has(part, found, fields, example)]
    if missing:
        raise ValueError(f"{cls.__name__}: its docstring has no {', '.join(missing)}")
    whole = {name: re.sub(rf"^{name}:\s*", "", "\n\n".join(p)) for name, p in found.items()}
    return Described(
        *(whole.get(name, "") for name in ("Summary", *PARTS)), _fields(fields), example.strip()
    )


def _spared(cls: type) -> tuple[str, ...]:
    """A sum of losses is nobody's invention."""
    return ("Source",) if cls is WeightedSum else ()


def _has(part: str, found: dict[str, list[str]], fields: str, example: str) -> bool:
    return {"Parameters": bool(fields.strip()), "Examples": bool(example.strip())}.get(
        part, part in found
    )


def _fields(text: str) -> dict[str, str]:
    """Names at the margin, what they mean below."""
    fields: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if line and not line.startswith(" "):
            name = line.split(":")[0].strip()
            fields[name] = []
        elif name:
            fields[name].append(line.strip())
    return {name: " ".join(lines).strip() for name, lines in fields.items()}

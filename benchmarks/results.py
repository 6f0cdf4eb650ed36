"""The file of a run, so that one that ended early can go on."""

import json
from pathlib import Path
from typing import Any

CHANGES = {"date", "load when started"}
"""What may differ between the parts of one run."""


def save(results: dict[str, Any], out: Path) -> None:
    """Whole or not at all."""
    beside = out.with_suffix(".part")
    beside.write_text(json.dumps(results, indent=1), encoding="utf-8")
    beside.replace(out)


def begun(here: dict[str, Any], out: Path) -> dict[str, Any]:
    """The run that `out` holds, or `here` where there is no file.

    Raises ValueError where it was made on another machine, with other threads or versions.
    """
    if not out.exists():
        return here
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    now, then = here["machine"], found["machine"]
    for key in sorted(now.keys() - CHANGES):
        if now[key] != then.get(key):
            raise ValueError(
                f"expected {out} to hold a run that can go on here; its {key} is "
                f"{then.get(key)!r} and this one's {now[key]!r}: measure anew into another file"
            )
    return found

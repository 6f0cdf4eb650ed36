"""What ``nearfar check`` and ``python -m nearfar.check`` do with their arguments."""

import ast
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nearfar.check.api import check
from nearfar.check.report import Report
from nearfar.check.target.targets import BadRequest


def run(
    target: str,
    settings: Sequence[str],
    as_json: bool,
    show: Callable[[Report], None],
    html: Path | None = None,
    **options: Any,
) -> int:
    """Check a target, tell of the steps on stderr, show the report, and give the exit code.

    ``html`` names the file that a page of it is written to as well.
    """
    if html is not None and not html.resolve().parent.is_dir():
        raise BadRequest(f"--html: expected a file in a folder that is there, received '{html}'")
    report = check(target, arguments=arguments(settings), progress=_say, **options)
    if html is not None:
        html.write_text(report.to_html(), encoding="utf-8")
    if as_json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        show(report)
    return report.exit_code


def arguments(settings: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE, several; a value that is no literal is a string."""
    found = {}
    for text in settings:
        name, equals, value = text.partition("=")
        if not (equals and name.isidentifier()):
            raise BadRequest(f"--set: expected NAME=VALUE, received '{text}'")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name] = value
    return found


def _say(step: str) -> None:
    print(f"... {step}", file=sys.stderr, flush=True)

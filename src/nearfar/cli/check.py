"""``nearfar check``: what a loss really computes, in a table."""

import ast
import json
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nearfar.check import BadRequest, BadTarget, Report
from nearfar.check import check as run_check
from nearfar.cli.errors import BadInput

_STYLES = {"fault": "red", "passed": "green", "failed": "red", "not run": "red", "or": "yellow"}


def check(
    target: str,
    settings: list[str],
    as_json: bool,
    time_limit: float,
    memory_limit: int,
    **options: Any,
) -> int:
    """Check a target, print the report, give the exit code."""
    try:
        report = run_check(
            target,
            arguments=_arguments(settings),
            time_limit=time_limit,
            memory_limit=memory_limit * 2**20,
            **options,
        )
    except (BadTarget, BadRequest) as error:
        raise BadInput(str(error)) from error
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2))
    else:
        show(Console(), report)
    return report.exit_code


def _arguments(settings: list[str]) -> dict[str, Any]:
    found = {}
    for text in settings:
        name, equals, value = text.partition("=")
        if not (equals and name.isidentifier()):
            raise BadInput(f"--set: expected NAME=VALUE, received '{text}'")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name] = value  # a word is a string
    return found


def show(console: Console, report: Report) -> None:
    """Print the sections as one table."""
    table = Table(box=box.SIMPLE_HEAD, show_header=False, pad_edge=False, show_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for heading, lines in report.sections():
        for k, (name, text) in enumerate(lines):
            last = k == len(lines) - 1
            table.add_row(
                Text(heading if k == 0 else "", style="bold"),
                Text(name, style=_STYLES.get(name, "")),
                Text(text),
                end_section=last,
            )
    console.print(table)

"""``nearfar check``: what a loss really computes, in a table."""

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nearfar.check import BadRequest, BadTarget, Report
from nearfar.check.command import run
from nearfar.cli.errors import BadInput

_STYLES = {"or": "yellow", "may be": "yellow", "but": "yellow", "to expected": "yellow"}
_HEADINGS = {"Unsafe": "bold red", "Differs": "bold yellow"}


def check(target: str, settings: list[str], as_json: bool, **options: Any) -> int:
    """Check a target, print the report, give the exit code."""
    try:
        return run(target, settings, as_json, lambda report: show(Console(), report), **options)
    except (BadTarget, BadRequest) as error:
        raise BadInput(str(error)) from error


def show(console: Console, report: Report) -> None:
    """Print the answer, and the sections as one table."""
    table = Table(box=box.SIMPLE_HEAD, show_header=False, pad_edge=False, show_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    (answer, _), *sections = report.sections()
    for heading, lines in sections:
        for k, (name, text) in enumerate(lines):
            table.add_row(
                Text(heading if k == 0 else "", style=_HEADINGS.get(heading, "bold")),
                Text(name, style=_STYLES.get(name, "")),
                Text(text),
                end_section=k == len(lines) - 1,
            )
    colour = "green" if report.exit_code == 0 else "red"
    console.print(Text(answer, style=colour), soft_wrap=True)  # one line, however long
    console.print(table)

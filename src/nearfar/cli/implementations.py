"""``nearfar presets``: which loss public implementations equal, and how to move from them."""

from dataclasses import fields

import typer
from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from nearfar.cli.errors import library_errors
from nearfar.losses import Loss
from nearfar.presets import describe, table


def show_all(console: Console) -> None:
    """Print the covered implementations under their losses, then the others with the reason."""
    rows = table()
    for kind in dict.fromkeys(type(row.loss) for row in rows if row.loss):
        grid = Table(Column(kind.__name__, overflow="fold"), Column("version", no_wrap=True))
        grid.box, grid.pad_edge = box.SIMPLE_HEAD, False
        for row in rows:
            if isinstance(row.loss, kind):
                grid.add_row(_entry(row.name, _stated(row.loss)), Text(row.version))
        console.print(grid)
    rest = Table(Column("not covered yet", overflow="fold"), box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        if row.loss is None:
            rest.add_row(_entry(row.name, row.reason))
    console.print(rest)
    typer.echo("nearfar presets NAME explains one, and the equal call.")


def show_one(console: Console, name: str) -> None:
    """Print all that is known of one, and the migration."""
    with library_errors():
        row = describe(name)
    console.print(Text(str(row)), soft_wrap=True)


def _entry(name: str, text: str) -> Group:
    """A name, and under it a text whose every line is set in."""
    return Group(Text(name), Padding(Text(text), (0, 0, 0, 2), expand=False))


def _stated(loss: Loss) -> str:
    """The fields that are not the loss's defaults, and its temperature or margin."""
    shown = [
        f"{f.name}={getattr(loss, f.name):.4g}"
        if isinstance(getattr(loss, f.name), float)
        else f"{f.name}={getattr(loss, f.name)}"
        for f in fields(loss)
        if f.name in ("temperature", "margin") or getattr(loss, f.name) != f.default
    ]
    return ", ".join(shown)

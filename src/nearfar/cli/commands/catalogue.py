"""``nearfar losses`` and ``nearfar presets``: what the losses and presets say of themselves."""

import inspect
from dataclasses import MISSING, Field, fields
from typing import Any

import typer
from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from nearfar.cli.errors import BadInput, library_errors, listed, nearest
from nearfar.losses import LOSSES, key_of
from nearfar.presets import Preset, describe, table


def show_losses(console: Console) -> None:
    """Print what every loss is called with, and in a sentence what it does."""
    for loss in LOSSES.values():
        summary = " ".join((inspect.getdoc(loss) or "").split("\n\n")[0].split())
        console.print(_entry(_call(loss), summary))
    typer.echo("nearfar losses NAME shows the formula, the source and the fields of one.")


def show_loss(console: Console, name: str) -> None:
    """Print a loss with its fields; its docstring holds formula and source."""
    loss = LOSSES.get(key_of(name))
    if loss is None:
        every = listed(list(LOSSES), most=len(LOSSES))
        raise BadInput(f"'{name}' is no loss of nearfar{nearest(name, LOSSES)}; there are {every}")
    typer.echo(f"{_call(loss)}\n\n{inspect.getdoc(loss)}\n")
    grid = Table("field", "default", "values", box=box.SIMPLE_HEAD, pad_edge=False)
    for field in fields(loss):
        default = "required" if field.default is MISSING else repr(field.default)
        grid.add_row(*map(Text, (field.name, default, _values(field))))
    console.print(grid)


def show_presets(console: Console, word: str | None) -> None:
    """Print the implementations, or those that a word is found in; of one all that is known."""
    rows: list[Preset] = table()
    if word is not None:
        rows = [row for row in rows if row.name.casefold() == word.casefold()] or [
            row for row in rows if word.casefold() in f"{row} {row.loss}".casefold()
        ]
        if len(rows) < 2:
            with library_errors():
                # Of none at all this says which names are near.
                console.print(Text(str(rows[0] if rows else describe(word))), soft_wrap=True)
            return
    # Every name whole where there is room, to be copied and searched: ten columns for versions and
    # three between leave enough at a width of 80.
    whole = min(max(len(row.name) for row in rows), max(1, console.width - 13))
    for loss in dict.fromkeys(type(row.loss) for row in rows if row.loss):
        version = Column("version", overflow="fold", max_width=10)
        grid = Table(Column(loss.__name__, overflow="fold", min_width=whole), version)
        grid.box, grid.pad_edge = box.SIMPLE_HEAD, False
        for row in rows:
            if isinstance(row.loss, loss):
                grid.add_row(_entry(row.name, str(row.loss)), Text(row.version))
        console.print(grid)
    rest = Table(Column("not covered yet", overflow="fold"), box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        if row.loss is None:
            rest.add_row(_entry(row.name, row.reason))
    if rest.row_count:
        console.print(rest)
    typer.echo("nearfar presets NAME explains one, and the equal call; a WORD searches.")


def _call(loss: Any) -> str:
    return f"{loss.__name__}({', '.join(loss.inputs)})"


def _values(field: Field[Any]) -> str:
    if "choices" in field.metadata:
        return ", ".join(map(repr, field.metadata["choices"]))
    return str(field.metadata.get("number", ""))


def _entry(name: str, text: str) -> Group:
    """A name, and under it a text whose every line is set in."""
    return Group(Text(name), Padding(Text(text), (0, 0, 0, 2), expand=False))

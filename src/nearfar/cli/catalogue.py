"""``nearfar losses``: what the docstrings and fields of the losses say, laid out."""

import inspect
from dataclasses import MISSING, Field, fields
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nearfar.cli.errors import BadInput, listed
from nearfar.losses import LOSSES, key_of


def show_all(console: Console) -> None:
    """Print one line for every loss."""
    table = Table("loss", "formula", "source", box=box.SIMPLE_HEAD, show_lines=True, pad_edge=False)
    for name, loss in LOSSES.items():
        doc = inspect.getdoc(loss) or ""
        call = f"{name}\n({', '.join(loss.inputs)})"
        table.add_row(*map(Text, (call, paragraph(doc, "Formula:"), paragraph(doc, "Source:"))))
    console.print(table)
    typer.echo("nearfar losses NAME shows the fields of one.")


def show_one(console: Console, name: str) -> None:
    """Print a loss with its fields; its docstring holds formula and source."""
    loss = LOSSES.get(key_of(name))
    if loss is None:
        raise BadInput(f"'{name}' is no loss of nearfar; there are {listed(list(LOSSES))}")
    typer.echo(f"{_call(loss)}\n\n{inspect.getdoc(loss)}\n")
    table = Table("field", "default", "values", box=box.SIMPLE_HEAD, pad_edge=False)
    for field in fields(loss):
        default = "required" if field.default is MISSING else repr(field.default)
        table.add_row(*map(Text, (field.name, default, _values(field))))
    console.print(table)


def paragraph(doc: str, start: str) -> str:
    """Return the paragraph of a docstring that begins with ``start``, on one line without it."""
    for block in doc.split("\n\n"):
        words = " ".join(block.split())
        if words.startswith(start):
            return words.removeprefix(start).lstrip()
    return ""


def _call(loss: Any) -> str:
    return f"{loss.__name__}({', '.join(loss.inputs)})"


def _values(field: Field[Any]) -> str:
    if "choices" in field.metadata:
        return ", ".join(map(repr, field.metadata["choices"]))
    return str(field.metadata.get("number", ""))

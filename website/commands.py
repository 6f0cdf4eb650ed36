"""A page for each command, made from its own help."""

from typing import Any

import typer

from nearfar.cli.app import app
from website.markdown import escaped


def pages() -> dict[str, str]:
    """Markdown by path; raises for a command or an option that says nothing of itself."""
    commands = all_of_them()
    made = {f"commands/{name}.md": _page(name, command) for name, command in commands.items()}
    return {"commands/index.md": _overview(commands)} | made


def all_of_them() -> dict[str, Any]:
    """The commands by their names."""
    found: dict[str, Any] = typer.main.get_command(app).commands
    return found


def first_sentence(command: Any) -> str:
    """What a command does."""
    if not command.help:
        raise ValueError(f"nearfar {command.name} has no help")
    return " ".join(command.help.split("\n\n")[0].split())


def _overview(commands: dict[str, Any]) -> str:
    rows = ["| command | what it does |", "|---|---|"]
    rows += [
        f"| [nearfar {name}]({name}.md) | {escaped(first_sentence(command))} |"
        for name, command in commands.items()
    ]
    names = "\n".join(commands)
    return "# Commands\n\n" + "\n".join(rows) + f"\n\n```{{toctree}}\n:hidden:\n{names}\n```"


def _page(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.is_eager]
    usage = " ".join(["nearfar", name, *(a.metavar for a in arguments)])
    parts = [f"# nearfar {name}", *map(escaped, command.help.split("\n\n"))]
    parts.append(f"```text\n{usage}{' [OPTIONS]' * bool(options)}\n```")
    if arguments:
        parts.append(_table("argument", arguments, command))
    for panel in dict.fromkeys(option.rich_help_panel for option in options):
        members = [option for option in options if option.rich_help_panel == panel]
        parts += [f"## {panel or 'Options'}", _table("option", members, command)]
    return "\n\n".join(parts)


def _table(kind: str, parameters: list[Any], command: Any) -> str:
    rows = [f"| {kind} | meaning |", "|---|---|"]
    for parameter in parameters:
        if not parameter.help:
            raise ValueError(f"nearfar {command.name}: {parameter.opts[0]} has no help")
        if kind == "argument":
            name = parameter.metavar
        else:
            taken = "" if parameter.is_flag else f" {parameter.metavar or 'VALUE'}"
            name = ", ".join(parameter.opts) + taken
        name = name.replace("|", " or ")
        rows.append(f"| `{name}` | {escaped(parameter.help)}{_default(parameter)} |")
    return "\n".join(rows)


def _default(parameter: Any) -> str:
    """Where the help does not say it."""
    value = parameter.default
    told = "[default:" in parameter.help or value in (None, False) or parameter.required
    return "" if told else f" [default: {value}]"

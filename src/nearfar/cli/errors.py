"""What the user can put right is one line on stderr and exit code 2; a bug keeps its traceback."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from nearfar.extras import explained


class BadInput(Exception):
    """The input is at fault; the message names the thing, what is wrong with it and the remedy."""


class OneLineErrors(TyperGroup):
    """A group of commands whose failures are one line each."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options before the command."""
        if not args:
            return super().parse_args(ctx, args)  # typer then shows the help by an exception
        with _one_line(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Read the command's own arguments and run it."""
        with _one_line(ctx):
            return super().invoke(ctx)


@contextmanager
def _one_line(ctx: Any) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise  # `nearfar losses | head` is no mistake; typer ends it quietly.
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("nearfar"):
            raise
        _fail(str(explained(error, "this command", "cli")), code=2, cause=error)
    except (BadInput, OSError) as error:
        _fail(str(error), code=2, cause=error)
    except KeyboardInterrupt as error:
        _fail("interrupted, nothing written", code=130, cause=error)
    except Exception as error:
        # A usage error: its class is click's or typer's own, as the version of typer has it.
        if not hasattr(error, "format_message"):
            raise
        command = (getattr(error, "ctx", None) or ctx).command_path
        _fail(f"{error.format_message()} (see {command} --help)", code=2, cause=error)


def _fail(message: str, code: int, cause: BaseException) -> NoReturn:
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    raise typer.Exit(code) from cause


@contextmanager
def library_errors(prefix: str = "") -> Iterator[None]:
    """Turn what the library says about the user's values into bad input."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise BadInput(f"{prefix}{error}") from error


def nearest(name: str, names: Iterable[object]) -> str:
    """Ask whether one of the names that look alike was meant, or say nothing."""
    by_folded = {str(known).casefold(): known for known in names}
    found = get_close_matches(str(name).casefold(), by_folded, n=1, cutoff=0.6)
    return f"; did you mean '{by_folded[found[0]]}'?" if found else ""


def listed(names: Sequence[object], most: int = 12) -> str:
    """Join names for a message, the first ones only where there are many."""
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"

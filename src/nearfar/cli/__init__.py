"""The command line: ``nearfar fit``, ``transform``, ``predict`` and ``losses``."""

import io
import sys


def main() -> None:
    """Run the command line: what the ``nearfar`` script and ``python -m nearfar.cli`` call."""
    try:
        from nearfar.cli.app import app
    except ModuleNotFoundError as error:
        if error.name != "typer":
            raise
        if sys.argv[1:2] == ["check"]:  # which needs none of them
            from nearfar.check.__main__ import main as check

            sys.exit(check(sys.argv[2:], "nearfar check"))
        sys.exit("error: the command line needs more packages: pip install 'nearfar[cli]'")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a formula's sigma must not end an ASCII terminal
    app(prog_name="nearfar")

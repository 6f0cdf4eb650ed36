"""``python -m nearfar.check TARGET``: a check that needs no package beside nearfar itself."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nearfar.check.command import run
from nearfar.check.target.targets import BadRequest, BadTarget


def main(given: Sequence[str] | None = None, program: str = "python -m nearfar.check") -> int:
    """Read the arguments, check, print the plain report."""
    asked = vars(_parser(program).parse_args(given))
    parts = {"parts": asked.pop("only")} if asked["only"] else {}
    asked.pop("only", None)
    memory = asked.pop("memory_limit") * 2**20
    try:
        return run(
            asked.pop("target"),
            asked.pop("set"),
            asked.pop("json"),
            print,
            memory_limit=memory,
            **parts,
            **asked,
        )
    except (BadTarget, BadRequest) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Find out which loss a function really is, and whether it is sound. Exit code "
        "0: it is the loss that --expect names (or a known one) and sound; 1: it differs or is "
        "unsafe; 2: it could not be run.",
    )
    add = parser.add_argument
    add("target", metavar="TARGET", help="module:function, module:Class(args), file.py:name")
    add("--expect", metavar="NAME", help="what it should be: supcon, SupCon(average='pairs')")
    add("--call", metavar="FORM", help="how it is called: views, labels, ...; tried by default")
    add("--framework", help="numpy, torch, tensorflow or jax; tried by default")
    add("--set", metavar="NAME=VALUE", action="append", default=[], help="an argument to pass")
    add("--json", action="store_true", help="print numbers for programs")
    add("--html", metavar="FILE", type=Path, help="write a page to look at, too")
    add("--only", metavar="PART", action="append", help="identity, gradient, stability or cost")
    add("--seed", type=int, default=0, help="chooses the batches")
    add("--batches", type=int, default=10, help="how many it is compared on, 6 or more")
    add("--time-limit", type=float, default=30, help="seconds for one call")
    add("--memory-limit", type=int, default=4096, help="MB beyond the imports")
    return parser


if __name__ == "__main__":
    sys.exit(main())

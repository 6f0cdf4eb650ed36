"""The README's table of frameworks and modes, made from the tests' own parametrisation.

    PYTHONPATH=tests python -m support.readme

prints it; `modes/test_readme.py` asks for the same lines in the README.
"""

import re
from pathlib import Path

from support.backends import BACKENDS

ROOT = Path(__file__).parents[2]
PACKAGES = {"tensorflow": "tensorflow-cpu"}
NUMPY = ["arrays", "read-only arrays", "threads (`workers`)"]


def table() -> list[str]:
    required = (ROOT / "requirements-test.txt").read_text(encoding="utf-8")
    versions = dict(re.findall(r"^([\w-]+)==([\d.]+)$", required, re.MULTILINE))
    rows = [
        f"| {b.title} | {versions[PACKAGES.get(b.name, b.name)]} | {'; '.join(b.modes or NUMPY)} |"
        for b in BACKENDS.values()
    ]
    return ["| framework | tested with | modes |", "|---|---|---|", *rows]


if __name__ == "__main__":
    print("\n".join(table()))

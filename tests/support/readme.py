"""The README's tables, made from what is there: the losses, and the modes that the tests run.

    PYTHONPATH=tests python -m support.readme

writes them; tests/common/test_readme.py asks for the same lines.
"""

import inspect
import re
from pathlib import Path

from nearfar.losses import LOSSES, Loss, families
from support.backends import BACKENDS

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PACKAGES = {"tensorflow": "tensorflow-cpu"}
_REFERENCE = "(?:arXiv|doi|eq|section)"
NUMPY = ["arrays", "read-only arrays", "threads (`workers`)"]


def modes() -> list[str]:
    required = (ROOT / "requirements-test.txt").read_text(encoding="utf-8")
    versions = dict(re.findall(r"^([\w-]+)==([\d.]+)$", required, re.MULTILINE))
    rows = [
        f"| {b.title} | {versions[PACKAGES.get(b.name, b.name)]} | {'; '.join(b.modes or NUMPY)} |"
        for b in BACKENDS.values()
    ]
    return ["| framework | tested with | modes |", "|---|---|---|", *rows]


def losses() -> list[str]:
    """Family by family; the first of each says what its inputs are."""
    rows = ["| loss | call | what it is | source |", "|---|---|---|---|"]
    for family in vars(families).values():
        members = [cls for cls in _built_in() if cls().family is family]
        for k, cls in enumerate(sorted(members, key=lambda cls: cls.__name__)):
            inputs = [f"{x}=None" if x in cls.optional else x for x in cls.inputs]
            called = f"`({', '.join(inputs)})`"
            if k == 0:
                what = re.split(r"[;:.]", inspect.getdoc(family), maxsplit=1)[0]
                called += f": {what[0].lower()}{what[1:]}"
            text = inspect.getdoc(cls)
            summary = text.split("\n\n")[0].rstrip(".")
            source = re.search(rf"Source: (.*?)(?=, {_REFERENCE}|;|\n\n)", text, re.DOTALL)
            assert source, f"expected 'Source: WHO YEAR, WHAT, arXiv ...' in the docstring of {cls}"
            row = f"| `nf.{cls()!r}` | {called} | {summary} | {source[1]} |"
            rows.append(row.replace("\n", " "))
    return rows


def _built_in() -> list[type[Loss]]:
    return [cls for cls in LOSSES.values() if cls.__module__.startswith("nearfar.")]


def written(text: str) -> str:
    """The text with its tables as they ought to be."""
    for table in (losses(), modes()):
        head = re.escape("\n".join(table[:2]))
        text, count = re.subn(rf"{head}\n(\|.*\n)*", lambda _, t=table: "\n".join(t) + "\n", text)
        assert count == 1, f"expected one table that begins with {table[0]} in README.md"
    return text


if __name__ == "__main__":
    README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")

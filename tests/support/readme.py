"""Tables of the README and of pages, made from what is there: the losses, which of them fits which
data, and the modes that the tests run.

    PYTHONPATH=tests python -m support.readme

writes them; tests/common/test_readme.py asks for the same lines.
"""

import inspect
import re
import tomllib
from pathlib import Path

from nearfar.losses import (
    LOSSES,
    Loss,
    families,
    families_at_once,
    families_of_grades,
    families_of_labels,
    families_of_proxies,
)
from support.backends import BACKENDS
from website import zh

ROOT = Path(__file__).parents[2]
PACKAGES = {"tensorflow": "tensorflow-cpu"}
NUMPY = ["arrays", "read-only arrays", "threads (`workers`)"]
KINDS = tomllib.loads((ROOT / "website" / "kinds.toml").read_text(encoding="utf-8"))["kind"]


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
    rows = ["| loss | call | what it is |", "|---|---|---|"]
    for family, members in _by_family():
        for k, cls in enumerate(members):
            called = _call(cls)
            if k == 0:
                what = re.split(r"[;:.]", inspect.getdoc(family), maxsplit=1)[0]
                called += f": {what[0].lower()}{what[1:]}"
            rows.append(f"| `nf.{cls()!r}` | {called} | {_summary(cls)} |".replace("\n", " "))
    return rows


def losses_zh() -> list[str]:
    """The same in Chinese."""
    rows = ["| 损失 | 调用 | 含义 |", "|---|---|---|"]
    for _, members in _by_family():
        for cls in members:
            what = zh.translated(inspect.getdoc(cls).split("\n\n")[0]).rstrip("。")
            rows.append(f"| `nf.{cls()!r}` | {_call(cls)} | {what} |")
    return rows


def _by_family() -> list[tuple[type, list[type[Loss]]]]:
    found = []
    for family in {
        **vars(families),
        **vars(families_of_labels),
        **vars(families_at_once),
        **vars(families_of_grades),
        **vars(families_of_proxies),
    }.values():
        members = [cls for cls in built_in() if cls().family is family]
        if members:
            found.append((family, sorted(members, key=lambda cls: cls.__name__)))
    return found


def _call(cls: type[Loss]) -> str:
    inputs = [f"{x}=None" if x in cls.optional else x for x in cls.inputs]
    return f"`({', '.join(inputs)})`"


def _summary(cls: type[Loss]) -> str:
    return inspect.getdoc(cls).split("\n\n")[0].replace("\n", " ").rstrip(".")


def which() -> list[str]:
    """Rows by what somebody has, the loss to begin with first."""
    return ["| you have | you give | losses |", "|---|---|---|", *_by_data("have")]


def which_zh() -> list[str]:
    return ["| 你有 | 传入 | 损失 |", "|---|---|---|", *_by_data("zh")]


def _by_data(language: str) -> list[str]:
    def link(name: str) -> str:
        return f"[{name}](losses/{name.lower()}.md)"

    give = "give_zh" if language == "zh" else "give"
    return [
        f"| {kind[language]} | {kind.get(give, kind['give'])} | {', '.join(map(link, found))} |"
        for kind in KINDS
        if (found := standing(kind))
    ]


def standing(kind: dict) -> list[str]:
    """The losses that stand in a row of kinds.toml."""
    return sorted(
        (cls.__name__ for cls in built_in() if _stands(cls, kind)),
        key=lambda name: (name != kind.get("first"), name),
    )


def _stands(cls: type[Loss], kind: dict) -> bool:
    required = [name for name in cls.inputs if name not in cls.optional]
    call = inspect.getdoc(cls).partition("Call ``")[2].partition("\n\n")[0]
    return (
        required == kind.get("needs")
        or bool(set(kind.get("takes", ())) & set(cls.inputs))
        or kind.get("says", "\n\n") in call
    )


def built_in() -> list[type[Loss]]:
    return [cls for cls in LOSSES.values() if cls.__module__.startswith("nearfar.")]


PAGES = {
    ROOT / "README.md": [losses],
    ROOT / "README.zh.md": [losses_zh],
    ROOT / "docs" / "zh" / "which-loss.md": [which_zh],
    ROOT / "docs" / "which-loss.md": [which],
    ROOT / "docs" / "numbers.md": [modes],
}


def written(page: Path, text: str) -> str:
    """The text of a page with its tables as they ought to be."""
    for table in (made() for made in PAGES[page]):
        head = re.escape("\n".join(table[:2]))
        text, count = re.subn(rf"{head}\n(\|.*\n)*", lambda _, t=table: "\n".join(t) + "\n", text)
        assert count == 1, f"expected one table that begins with {table[0]} in {page}"
    return text


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(written(page, page.read_text(encoding="utf-8")), encoding="utf-8")

"""Which translated page is older than its source.

A translated page begins with the name of its English source and a digest of what it was translated
from. After a page was brought up to date,

    PYTHONPATH=tests python -m support.translations PAGE ...

stamps it anew (`losses` in place of PAGE what website/zh.toml says of losses). Tables that are made
from the code have no part in it: they are made in every language.
"""

import hashlib
import inspect
import re
import sys
import tomllib
from pathlib import Path

import nearfar as nf
from support.readme import PAGES, ROOT

STAMP = re.compile(r"\A<!-- translated from (\S+), digest ([0-9a-f]{12}) -->\n")
WORDS = ROOT / "website" / "zh.toml"
TRANSLATED = [ROOT / "README.zh.md", *sorted((ROOT / "docs" / "zh").glob("*.md"))]


def source(page: Path) -> Path:
    """The English page of a translated one."""
    return ROOT / "README.md" if page.parent == ROOT else ROOT / "docs" / page.name


def digest(page: Path) -> str:
    """Of an English page, without the tables that are made."""
    text = page.read_text(encoding="utf-8")
    for table in (made() for made in PAGES.get(page, ())):
        text = re.sub(rf"{re.escape(table[0])}\n(\|.*\n)*", "", text)
    text = re.sub(r"```\{toctree\}.*?```\n", "", text, flags=re.DOTALL)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def stale(page: Path) -> bool:
    """Whether the source is another than the one that was translated."""
    stamp = STAMP.match(page.read_text(encoding="utf-8"))
    return stamp is None or stamp[2] != digest(source(page))


def stamp(page: Path) -> None:
    text = STAMP.sub("", page.read_text(encoding="utf-8"))
    origin = source(page)
    head = f"<!-- translated from {origin.relative_to(ROOT)}, digest {digest(origin)} -->\n"
    page.write_text(head + text, encoding="utf-8")


def words() -> dict:
    return tomllib.loads(WORDS.read_text(encoding="utf-8"))


def digest_of(name: str) -> str:
    """Of what a loss's docstring says that zh.toml says too: the summary and the range."""
    text = inspect.getdoc(getattr(nf, name))
    parts = text.split("\n\n")
    told = [parts[0], *(part for part in parts if part.startswith("Range"))]
    return hashlib.sha256(" ".join(" ".join(told).split()).encode()).hexdigest()[:12]


def stamp_losses() -> None:
    text = WORDS.read_text(encoding="utf-8").partition("\n[digests]\n")[0].rstrip()
    lines = [f'{name} = "{digest_of(name)}"' for name in words()["losses"]]
    WORDS.write_text("\n".join([text, "", "[digests]", *lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        if name == "losses":
            stamp_losses()
        else:
            stamp(Path(name).resolve())

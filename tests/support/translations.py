"""Which translated page is older than its source.

A translated page begins with the name of its English source and a digest of what it was translated
from. After a page was brought up to date,

    PYTHONPATH=tests python -m support.translations PAGE ...

stamps it anew. Tables that are made from the code have no part in it: they are made in every
language. Pages of losses are made from their docstrings, whose paragraphs website/zh.toml has with
their translation: `untold` and `unasked` tell what it lacks and what nobody says any more.
"""

import hashlib
import re
import sys
from pathlib import Path

from support.readme import PAGES, ROOT
from website import losspage, zh

STAMP = re.compile(r"\A<!-- translated from (\S+), digest ([0-9a-f]{12}) -->\n")
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


def asked() -> dict[str, str]:
    """Every paragraph that a loss's page in Chinese looks up, and the first loss that does."""
    found: dict[str, str] = {}
    for name, cls in losspage.every_loss().items():

        def note(text: str, name: str = name) -> str:
            found.setdefault(" ".join(text.split()), name)
            return text

        losspage.page(cls, zh.CHINESE._replace(translated=note))
    return found


def untold() -> list[str]:
    """What has no translation, "loss: paragraph", and losses without a word on their use."""
    lacking = [f"{name}: {text}" for text, name in asked().items() if text not in zh.SAID]
    return lacking + [f"{name}: use" for name in losspage.every_loss() if name not in zh.USES]


def unasked() -> list[str]:
    """Translations of paragraphs that no page has."""
    known = asked()
    return [text for text in zh.SAID if text not in known]


if __name__ == "__main__":
    for page_name in sys.argv[1:]:
        stamp(Path(page_name).resolve())

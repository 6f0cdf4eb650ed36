"""The pages of losses in Chinese: those of `losspage`, its sentences looked up in zh.toml."""

import tomllib
from pathlib import Path

from website import losspage

_TOLD = tomllib.loads((Path(__file__).parent / "zh.toml").read_text(encoding="utf8"))
USES: dict[str, str] = _TOLD["use"]
SAID: dict[str, str] = {entry["en"]: entry["zh"] for entry in _TOLD["said"]}


def pages() -> dict[str, str]:
    """Markdown by path."""
    made = {
        f"zh/losses/{name.lower()}.md": losspage.page(cls, CHINESE, USES.get(name, ""))
        for name, cls in losspage.every_loss().items()
    }
    return {"zh/losses/index.md": losspage.overview(CHINESE, USES)} | made


def translated(text: str) -> str:
    """A sentence that zh.toml does not have stays English on the page, and a test names it."""
    return SAID.get(" ".join(text.split()), text)


CHINESE = losspage.Language(_TOLD["page"], translated, "../../", "../../losses/")

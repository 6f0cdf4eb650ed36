"""What Sphinx calls: pages made from the code before it reads, formulas when it writes."""

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.ext.autodoc.mock import mock

from website import assistants, commands, implementations, losspage, mathml, reference, zh

_BARE = re.compile(r"(?<!`)([|]|(?<=\w)_(?!\w))(?!`)")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("config-inited", _make_pages)
    app.connect("build-finished", _for_assistants)
    app.connect("autodoc-process-docstring", _plain)
    app.connect("html-page-context", _language)
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _make_pages(app: Sphinx, config: Config) -> None:
    made: dict[str, str | bytes] = {
        "losses/index.md": losspage.overview(),
        "reference/index.md": reference.overview(),
    }
    for name, cls in losspage.every_loss().items():
        parts = losspage.page(cls), losspage.reference(cls)
        made[f"losses/{name.lower()}.md"] = "\n\n".join(parts)
    for name, cls in losspage.losses().items():
        made[f"losses/{name.lower()}.svg"] = losspage.picture(cls)
    made |= implementations.pages() | commands.pages() | zh.pages()
    with mock(config.autodoc_mock_imports):  # modules of frameworks that need not be there
        made |= {f"reference/{module}.md": text for module, text in reference.pages().items()}
    for path, content in made.items():
        _write(Path(app.srcdir) / path, content)


def _for_assistants(app: Sphinx, exception: Exception | None) -> None:
    if exception is None:
        for name, text in assistants.files().items():
            (Path(app.outdir) / name).write_text(text, encoding="utf8")


def _language(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Browsers choose their fonts for Chinese by it."""
    if page.startswith("zh/"):
        context["language"] = "zh-CN"


def _plain(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are read in a terminal first: bars and names that end in _ are what they are."""
    lines[:] = [_BARE.sub(r"\\\1", line) for line in lines]


def _write(path: Path, content: str | bytes) -> None:
    """Only what changed, so that a second build reads only that."""
    new = content if isinstance(content, bytes) else content.encode("utf8")
    if not path.exists() or path.read_bytes() != new:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(new)


def _inline(self: Any, node: Any) -> None:
    self.body.append(mathml.rendered(node.astext(), "inline"))
    raise mathml.SkipNode


def _block(self: Any, node: Any) -> None:
    self.body.append(mathml.rendered(node.astext(), "block"))
    raise mathml.SkipNode

"""Every page of a built site in a browser, on a screen and on a phone; `.ci/run` names the site.

SITE=site pytest -n 0 tests/test_built_site.py
"""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from support.browser import CHROMIUM, browser

SITE = Path(os.environ.get("SITE", "nowhere"))
PAGES = sorted(path for path in SITE.rglob("*.html") if "_static" not in path.parts)

pytestmark = [
    pytest.mark.skipif(not PAGES, reason="SITE names no built site"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here"),
]

# Text beside formulas and code: what is left of TeX there was not rendered.
RAW_TEX = r"""(() => {
    const article = (document.querySelector("article") ?? document.body).cloneNode(true);
    article.querySelectorAll("pre, code, math").forEach(element => element.remove());
    return (article.textContent.match(/\\(frac|sum|log|left|partial|begin)|\$\$/g) ?? []).join();
})()"""


@pytest.mark.parametrize("width", [1280, 390])
def test_every_page(width):
    wrong = []
    with browser() as tab:
        for page in PAGES:
            tab.open(page, width, phone=width < 500)
            asked = [urlsplit(url) for url in tab.requests]
            outside = {url.scheme for url in asked} - {"file", "data", "blob"}
            lost = [url.path for url in asked if url.scheme == "file"
                    and not Path(unquote(url.path)).exists()]  # fmt: skip
            wide = tab.value("document.documentElement.scrollWidth")
            tex = tab.value(RAW_TEX)
            if tab.errors or outside or lost or tex or wide > width:
                wrong.append((page.name, tab.errors, outside, lost, tex, wide))
    assert not wrong
    assert len(PAGES) > 80

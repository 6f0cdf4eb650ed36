"""A site of one loss, built as `sphinx-build -W` builds the whole: what it lacks ends the build.
`.ci/run` runs this where the requirements of the site are installed.
"""

import io
from pathlib import Path

import pytest

import nearfar as nf
from website import commands, implementations, losspage, reference

application = pytest.importorskip("sphinx.application")
errors = pytest.importorskip("sphinx.errors")

# Sphinx's own extensions call what it will take away.
pytestmark = pytest.mark.filterwarnings("ignore")

DOCS = Path(__file__).parents[1] / "docs"
INDEX = """# Site

```{toctree}
losses/index
zh/losses/index
equation-to-tiles
zh/equation-to-tiles
```
"""


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Build, and give what was warned of; red if anything was."""
    source = tmp_path / "docs"
    (source / "zh").mkdir(parents=True)
    (source / "assets").mkdir()
    (source / "index.md").write_text(INDEX)
    for page in ("equation-to-tiles.md", "zh/equation-to-tiles.md"):
        (source / page).write_text("# Tiles\n")
    monkeypatch.setattr(losspage, "every_loss", lambda: {"SupCon": nf.SupCon})
    monkeypatch.setattr(losspage, "composed", dict)
    monkeypatch.setattr(implementations, "link", lambda row, folder: row.name)
    monkeypatch.setattr(implementations, "pages", dict)
    monkeypatch.setattr(commands, "pages", dict)
    monkeypatch.setattr(reference, "pages", dict)
    monkeypatch.setattr(reference, "overview", lambda: "---\norphan: true\n---\n# Reference\n")

    def run():
        told = io.StringIO()
        app = application.Sphinx(
            source, DOCS, tmp_path / "site", tmp_path / "trees", "html", status=None,
            warning=told, freshenv=True, warningiserror=True,
        )  # fmt: skip
        app.build()
        assert (app.statuscode != 0) == bool(told.getvalue())
        return told.getvalue()

    return run


def test_a_whole_page_builds(build, tmp_path):
    assert build() == ""
    assert "<math" in (tmp_path / "site" / "losses" / "supcon.html").read_text("utf-8")


def test_a_docstring_without_a_section_ends_the_build(build, monkeypatch):
    monkeypatch.setattr(
        nf.SupCon, "__doc__", nf.SupCon.__doc__.replace("    Range:", "    Elsewhere:")
    )
    with pytest.raises(errors.ExtensionError, match="SupCon: its docstring has no Range"):
        build()


def test_a_loss_without_its_picture_ends_the_build(build, monkeypatch):
    monkeypatch.setattr(losspage, "losses", dict)  # of which pictures are drawn
    assert "image file not readable: losses/supcon.svg" in build()


def test_a_loss_that_cannot_be_drawn_ends_the_build(build, monkeypatch):
    monkeypatch.setattr(nf.SupCon, "explain", None)
    with pytest.raises(errors.ExtensionError):
        build()


def test_a_link_to_nowhere_ends_the_build(build, monkeypatch):
    monkeypatch.setattr(implementations, "link", lambda row, folder: "[there](nowhere.md)")
    assert "nowhere.md" in build()

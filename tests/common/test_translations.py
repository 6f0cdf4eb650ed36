"""Translated pages: none is older than its source, and their code is the source's."""

import re

import pytest
from support import translations
from support.readme import ROOT
from support.translations import TRANSLATED, digest, source, stale, stamp, unasked, untold

import nearfar as nf
from website import losspage, zh


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.name)
def test_a_translated_page_is_as_new_as_its_source(page):
    name = page.relative_to(ROOT)
    assert not stale(page), (
        f"{name} is older than {source(page).relative_to(ROOT)}: translate what changed, then "
        f"PYTHONPATH=tests python -m support.translations {name}"
    )


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.name)
def test_its_code_is_that_of_its_source(page):
    def blocks(path):
        fenced = re.findall(r"^```(.*?)\n(.*?)^```$", path.read_text("utf-8"), re.S | re.M)
        return [code for kind, code in fenced if not kind.startswith("{")]

    assert blocks(page) == blocks(source(page))


def test_every_paragraph_of_a_loss_is_translated():
    assert not untold(), "add these to website/zh.toml"
    assert not unasked(), "no docstring says these any more: take them out of website/zh.toml"


def test_a_paragraph_that_changed_is_named(monkeypatch):
    changed = nf.SupCon.__doc__.replace("A factor on the result.", "A factor on the value.")
    monkeypatch.setattr(nf.SupCon, "__doc__", changed)
    assert untold() == ["SupCon: A factor on the value."]


def test_a_page_says_in_both_languages_the_same_things():
    assert set(losspage.ENGLISH.words) == set(zh.CHINESE.words)
    chinese = zh.pages()["zh/losses/supcon.md"]
    headings = re.findall("^## .*", losspage.page(nf.SupCon), re.M)
    assert len(headings) == len(re.findall("^## .*", chinese, re.M)) == 6
    assert "| `sample_weight=` | 无 | 调用时传入" in chinese
    assert "没有正样本的锚点不计入平均" in chinese


def test_a_page_made_stale_is_noticed(tmp_path, monkeypatch):
    english, chinese = tmp_path / "docs" / "a.md", tmp_path / "docs" / "zh" / "a.md"
    chinese.parent.mkdir(parents=True)
    english.write_text("# Loss\n")
    chinese.write_text("# 损失\n")
    monkeypatch.setattr(translations, "ROOT", tmp_path)
    assert stale(chinese)
    stamp(chinese)
    assert not stale(chinese)
    assert chinese.read_text().endswith("-->\n# 损失\n")
    english.write_text("# Loss, of another kind\n")
    assert stale(chinese)


def test_a_row_of_a_table_that_is_made_makes_nothing_stale(tmp_path, monkeypatch):
    page = ROOT / "docs" / "which-loss.md"
    other = tmp_path / "which-loss.md"
    text = page.read_text(encoding="utf-8")
    other.write_text(text.replace("| triplets |", "| triples |"), encoding="utf-8")
    monkeypatch.setitem(translations.PAGES, other, translations.PAGES[page])
    assert digest(other) == digest(page)
    other.write_text(text + "One more thing.\n", encoding="utf-8")
    assert digest(other) != digest(page)

"""The README and the pages say what there is, and what the tests run."""

import pytest
from support.readme import KINDS, PAGES, built_in, losses, standing, written

TABLES = [(page, table) for page, tables in PAGES.items() for table in tables]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tables_are_up_to_date(page):
    text = page.read_text(encoding="utf-8")
    assert written(page, text) == text, "run: PYTHONPATH=tests python -m support.readme"


@pytest.mark.parametrize(("page", "table"), TABLES, ids=lambda x: getattr(x, "__name__", ""))
def test_a_row_that_is_missing_is_noticed(page, table):
    whole = written(page, page.read_text(encoding="utf-8"))
    without = whole.replace(table()[-1] + "\n", "")
    assert without != written(page, without) == whole


def test_every_loss_fits_some_data():
    somewhere = {name for kind in KINDS for name in standing(kind)}
    missing = sorted({cls.__name__ for cls in built_in()} - somewhere)
    assert not missing, f"website/kinds.toml has no row for {', '.join(missing)}"


def test_every_loss_has_its_row():
    listed = "\n".join(losses())
    assert not [cls.__name__ for cls in built_in() if f"| `nf.{cls.__name__}(" not in listed]

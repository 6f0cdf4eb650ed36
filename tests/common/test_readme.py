"""The README says what there is, and what the tests run."""

import pytest
from support.readme import README, losses, modes, written

TEXT = README.read_text(encoding="utf-8")


def test_the_tables_are_up_to_date():
    assert written(TEXT) == TEXT, "run: PYTHONPATH=tests python -m support.readme"


@pytest.mark.parametrize("table", [losses, modes])
def test_a_row_that_is_missing_is_noticed(table):
    without = written(TEXT).replace(table()[-1] + "\n", "")
    assert without != written(without) == written(TEXT)

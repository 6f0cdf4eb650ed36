"""The README says what the tests run."""

from support.readme import ROOT, table


def test_readme_has_the_table():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    missing = [line for line in table() if line not in lines]
    assert not missing, "bring README.md up to date: PYTHONPATH=tests python -m support.readme"

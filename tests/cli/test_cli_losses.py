"""`nearfar losses`: every registered loss, read from its class."""

import dataclasses

import pytest

from nearfar.cli.commands.catalogue import paragraph
from nearfar.losses import LOSSES


def test_every_loss_is_listed_with_what_it_is_and_its_source(run):
    result = run("losses")
    assert result.exit_code == 0
    cells = " ".join(result.stdout.split())
    for name, loss in LOSSES.items():
        assert name in cells
        for start in ("Formula:", "Source:"):
            text = paragraph(loss.__doc__, start)
            assert text, f"{name} has no paragraph '{start}'"


@pytest.mark.parametrize("name", LOSSES)
def test_one_loss_with_its_fields(run, name):
    result = run("losses", name.upper())
    assert result.exit_code == 0
    assert "Formula:" in result.stdout
    assert "Source:" in result.stdout
    for field in dataclasses.fields(LOSSES[name]):
        assert field.name in result.stdout


def test_unknown_loss(run):
    result = run("losses", "nosuch")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: 'nosuch' is no loss of nearfar; there are ")
    assert "'supcon'" in result.stderr


def test_paragraph():
    doc = "First.\n\n    Formula: a\n      + b\n\n    Source: c"
    assert paragraph(doc, "Formula:") == "a + b"
    assert paragraph(doc, "Source:") == "c"
    assert paragraph(doc, "Shape:") == ""

"""`nearfar losses`: every registered loss, read from its class; and what `--help` names."""

import dataclasses
import inspect

import pytest

from nearfar.cli.app import app
from nearfar.losses import LOSSES


def test_every_loss_is_listed_by_its_call_and_its_summary(run):
    result = run("losses")
    assert result.exit_code == 0
    shown = " ".join(result.stdout.split())
    for cls in LOSSES.values():
        summary = " ".join(inspect.getdoc(cls).split("\n\n")[0].split())
        assert f"{cls.__name__}({', '.join(cls.inputs)}) {summary}" in shown


@pytest.mark.parametrize("name", LOSSES)
def test_one_loss_with_its_fields(run, name):
    result = run("losses", name.upper())
    assert result.exit_code == 0
    assert "Formula" in result.stdout
    assert "Source:" in result.stdout
    for field in dataclasses.fields(LOSSES[name]):
        assert field.name in result.stdout


def test_unknown_loss(run):
    result = run("losses", "nosuch")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: 'nosuch' is no loss of nearfar; there are ")
    assert "'supcon'" in result.stderr


def test_the_first_sentence_of_the_help_names_every_command():
    commands = [found.callback.__name__ for found in app.registered_commands]
    assert len(commands) >= 7
    assert [name for name in commands if f"**{name}**" not in app.info.help] == []

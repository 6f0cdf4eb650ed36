"""What the build of the site makes from the code: whole, or an error that says what is missing."""

import re

import numpy as np
import pytest
from support.backends import BACKENDS

import nearfar as nf
from website import assistants, commands, implementations, losspage, reference
from website.batches import batch
from website.docstring import described

LOSSES = losspage.every_loss()


def tab(cls, framework):
    """The code that a loss's page shows for a framework."""
    found = re.search(rf"tab-item\}} {framework}\n.*?```python\n(.*?)```", losspage.tabs(cls), re.S)
    return found[1]


def tabs():
    """Pages of losses with the same inputs differ in a name: where it takes long, one of each."""
    alike = {losspage.shown(cls).inputs: name for name, cls in reversed(LOSSES.items())}
    for name in LOSSES:
        for framework in ("PyTorch", "NumPy", "JAX", "TensorFlow"):
            if framework in ("PyTorch", "NumPy") or name in alike.values():
                yield name, framework


@pytest.mark.parametrize(("name", "framework"), list(tabs()))
def test_the_code_of_every_framework_runs(name, framework):
    cls = LOSSES[name]
    (backend,) = [found for found in BACKENDS.values() if found.title == framework]
    embeddings = set(losspage.shown(cls).embeddings)
    inputs = {
        key: backend.asarray(x, "float32") if key in embeddings else x
        for key, x in batch(losspage.shown(cls)).items()
    }
    if framework == "PyTorch":
        for key in embeddings & set(inputs):
            inputs[key].requires_grad_()
    exec(tab(cls, framework), inputs)
    if framework == "PyTorch":
        assert all(np.isfinite(inputs[key].grad.numpy()).all() for key in embeddings & set(inputs))
    else:
        assert np.isfinite(float(inputs["value"]))


@pytest.mark.parametrize("name", LOSSES)
def test_every_page_has_its_citation(name):
    (entry,) = re.findall(r"```bibtex\n(.*?)```", losspage.page(LOSSES[name]), re.S)
    assert entry.startswith("@misc{nearfar:")


@pytest.mark.parametrize("part", ["Formula:", "Source:", "Call ", "Range"])
def test_a_docstring_without_a_section_stops_the_build(part):
    class Bare(nf.SupCon):
        pass

    assert part in nf.SupCon.__doc__
    Bare.__doc__ = nf.SupCon.__doc__.replace(f"    {part}", "    Elsewhere")
    try:
        with pytest.raises(ValueError, match=f"Bare: its docstring has no {part.strip(' :')}"):
            described(Bare)
    finally:
        nf.losses.LOSSES.pop("bare")


def test_a_loss_without_a_formula_or_a_field_without_a_meaning_stops_the_build(monkeypatch):
    monkeypatch.delitem(losspage.FORMULAS, "SupCon")
    with pytest.raises(ValueError, match=r"SupCon: website/formulas\.toml has no formula"):
        losspage.page(nf.SupCon)
    monkeypatch.setitem(losspage.FORMULAS, "SupCon", "x")
    text = nf.SupCon.__doc__.replace("without_positives\n", "elsewhere\n")
    monkeypatch.setattr(nf.SupCon, "__doc__", text)
    with pytest.raises(ValueError, match="SupCon: its docstring does not name without_positives"):
        losspage.page(nf.SupCon)


def test_a_public_name_without_a_docstring_stops_the_build(monkeypatch):
    monkeypatch.setattr(nf.preset, "__doc__", None)
    with pytest.raises(ValueError, match=r"nearfar\.preset is public and has no docstring"):
        reference.entry("nearfar", "preset")


def test_an_option_without_help_stops_the_build(monkeypatch):
    found = commands.all_of_them()
    monkeypatch.setattr(commands, "all_of_them", lambda: found)
    assert "commands/fit.md" in commands.pages()
    option = next(p for p in found["fit"].params if p.opts == ["--epochs"])
    monkeypatch.setattr(option, "help", None)
    with pytest.raises(ValueError, match="nearfar fit: --epochs has no help"):
        commands.pages()


def test_every_preset_has_its_place():
    pages = "\n".join(implementations.pages().values())
    for row in nf.presets.table():
        title = row.name.partition("/")[2] or row.name
        assert f"## {title}".replace("_", "\\_") in pages, row.name


def test_assistants_are_told_of_every_loss_and_command():
    made = assistants.files()
    assert set(made) == {"llms.txt", "SKILL.md"}
    for text in made.values():
        for name in LOSSES:
            assert re.search(rf"\b{name}\b", text), name
        for name in commands.all_of_them():
            assert f"`nearfar {name}`" in text
    (code,) = re.findall(r"```python\n(.*?)```", made["SKILL.md"], re.S)
    exec(code, {})

"""What a loss of the library must have: each thing that is forgotten is a red test that says so."""

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from candidates.calls import CALLS
from support import conventions
from support.cases import LOSSES
from support.ranks import LOSSES as TRAINED

import nearfar as nf
from nearfar import losses
from nearfar.check import check

conventions.share()
ROOT = Path(__file__).parents[2]
HOW = "see 'A new loss' in CONTRIBUTING.md"


def built_in() -> dict[str, type[nf.Loss]]:
    """Every loss that a file of `nearfar.losses` defines, whether or not anything imports it."""
    modules = [importlib.import_module(f"nearfar.losses.{m.name}")
               for m in pkgutil.iter_modules(losses.__path__)]  # fmt: skip
    return {
        name: thing
        for module in modules
        for name, thing in vars(module).items()
        if inspect.isclass(thing) and thing in losses.LOSSES.values()
        if thing.__module__ == module.__name__ and name == thing.__name__
    }


BUILT_IN = built_in()
SHARED = ("scale", "scale_by", "reduction")
"""Fields that most losses have, described and varied once for all."""
EVERY = pytest.mark.parametrize("name", sorted({*BUILT_IN, *LOSSES}))


def entry(name):
    if name not in LOSSES:
        pytest.fail(
            f"expected an entry of {name} in tests/support/cases.py, with loops read off the "
            f"paper, in tests/oracles, and cases; {HOW}"
        )
    return LOSSES[name]


@EVERY
def test_it_is_among_the_cases(name):
    assert name in BUILT_IN, f"tests/support/cases.py has {name}, which nearfar/losses has not"
    assert entry(name).cases, f"expected cases of {name} in tests/support/cases.py"
    assert all(type(case.loss).__name__ == name for case in entry(name).cases.values())


@EVERY
def test_its_oracle_is_independent(name):
    """Loops over lists, in a file that imports nothing of the library."""
    source = Path(inspect.getsourcefile(entry(name).loops))
    assert source.is_relative_to(ROOT / "tests" / "oracles")
    tree = ast.parse(source.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import)
                for alias in node.names}  # fmt: skip
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {module for module in imported if module.split(".")[0] == "nearfar"}


@EVERY
def test_it_is_exported(name):
    assert name in losses.__all__, f"import {name} in nearfar/losses/__init__.py and its __all__"
    assert name in nf.__all__, f"import {name} in nearfar/__init__.py and its __all__"
    assert getattr(nf, name) is getattr(losses, name) is BUILT_IN[name]


@EVERY
def test_its_docstring_has_what_a_reader_needs(name):
    """A formula, a source, every field, and an example that the doctests run."""
    text = inspect.getdoc(BUILT_IN[name])
    for words, what in (
        ("arXiv|doi|http|CVPR|NIPS|NeurIPS", "its source"),
        (">>>", "an example"),
        ("log|max|exp", "its formula"),
        (r"\(n, d\)|\(N, d\)|rows", "shapes"),
    ):
        assert re.search(words, text), f"expected {what} in the docstring of {name}"
    fields = [f.name for f in dataclasses.fields(BUILT_IN[name]) if f.name not in SHARED]
    missing = [f for f in fields if not re.search(rf"^\s*{f}\b", text, re.MULTILINE)]
    assert not missing, f"expected {', '.join(missing)} under Parameters of {name}"


@EVERY
def test_the_site_has_its_formula(name):
    formulas = tomllib.loads((ROOT / "website" / "formulas.toml").read_text(encoding="utf-8"))
    assert name in formulas, f"expected the formula of {name} in TeX in website/formulas.toml"


@EVERY
def test_a_public_implementation_equals_it(name):
    has = any(type(row.loss).__name__ == name for row in nf.presets.table())
    why = entry(name).not_in_presets
    assert has != bool(why), (
        f"expected a record of a {name} in nearfar/presets, or why there is none, as "
        f"not_in_presets= of tests/support/cases.py; received {'both' if has else 'neither'}"
    )


@EVERY
def test_it_trains_on_several_ranks(name):
    has = any(type(loss).__name__ == name for loss in TRAINED.values())
    why = entry(name).not_distributed
    assert has != bool(why), (
        f"expected a {name} in LOSSES of tests/support/ranks.py, or why it is refused there, as "
        f"not_distributed= of tests/support/cases.py; received {'both' if has else 'neither'}"
    )


@EVERY
def test_its_conventions_state_every_word_of_its_fields(name):
    """The fields to vary: a new choice of a field that no test states is none."""
    tried = [*entry(name).conventions]
    losses = [case.loss for case in entry(name).cases.values()]
    losses += [call.loss for call in CALLS.values() if type(call.loss).__name__ == name]
    tried += [{field: getattr(loss, field) for field in loss.declarations} for loss in losses]
    for field in dataclasses.fields(BUILT_IN[name]):
        if field.name in SHARED:
            continue
        stated = {fields.get(field.name, field.default) for fields in tried}
        # Hamming's distance is constant almost everywhere: it has no formula to differentiate.
        missing = {*field.metadata.get("choices", ())} - stated - {"hamming"}
        where = f"the conventions or cases of {name}, or the calls of tests/candidates"
        assert not missing, f"expected {field.name} {missing} in {where}"


@EVERY
def test_check_names_it(name):
    """`nearfar check` finds the loss in a function that computes it."""
    loss = BUILT_IN[name]()

    def function(*inputs):
        return loss(*inputs)

    found = check(function, framework="numpy", parts=["identity"]).identity
    known, why = found is not None and found.sure, entry(name).not_in_check
    assert known != bool(why), (
        f"expected nearfar check to name a {name}, by its form in nearfar/check, or why it does "
        f"not, as not_in_check= of tests/support/cases.py; received {found}, {why!r}"
    )
    if not known:
        return
    assert found.statement.changes == ()
    # It may be a convention of another loss, whose name is as right.
    case = next(iter(entry(name).cases.values()))
    rest = [name for name in loss.inputs if name not in loss.embeddings]
    inputs = dict(zip(loss.embeddings, case.embeddings, strict=False))
    inputs |= dict(zip(rest, case.labels, strict=False))
    own = found.statement.loss(*(inputs[name] for name in loss.inputs if name in inputs))
    np.testing.assert_allclose(own, loss(**inputs), rtol=1e-12)

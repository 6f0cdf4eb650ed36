"""What is public: every name in a module's `__all__` is documented and shows no private one."""

import importlib
import inspect
import pydoc
import sys
from pathlib import Path

import pytest

import nearfar as nf

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from website import reference  # noqa: E402

MODULES = reference.MODULES


def names(module):
    return [(module, name) for name in importlib.import_module(module).__all__]


def test_every_public_module_has_a_page():
    """Packages and modules of the first level, but for those that are no library."""
    found = {
        f"nearfar.{path.stem}" for path in (ROOT / "src" / "nearfar").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }  # fmt: skip
    inner = {
        "cli",
        "evaluate",
        "extras",
        "frameworks",
        "similarity",
        "pairing",
        "codes",
        "relations",
    }
    inner |= {"__init__", "__main__", "html", "linear_map"}
    assert found - {f"nearfar.{name}" for name in inner} == set(MODULES) - {"nearfar"}


@pytest.mark.parametrize("module", MODULES)
def test_a_page_has_every_name(module):
    page = reference.pages()[module]
    for _, name in names(module):
        thing = getattr(importlib.import_module(module), name)
        elsewhere = module == "nearfar" and name in ("Loss", "__version__")
        if not inspect.ismodule(thing) and not elsewhere:
            assert name in page, f"{module}.{name}"


@pytest.mark.parametrize(("module", "name"), [pair for module in MODULES for pair in names(module)])
def test_a_signature_shows_no_private_name(module, name):
    thing = getattr(importlib.import_module(module), name)
    if not callable(thing) or (inspect.isclass(thing) and issubclass(thing, Exception)):
        return
    shown = [thing]
    if inspect.isclass(thing):
        shown += [m for key, m in vars(thing).items() if key[0] != "_" and inspect.isfunction(m)]
    for one in shown:
        parameters = inspect.signature(one).parameters
        assert not [key for key in parameters if key.startswith("_")], one


@pytest.mark.parametrize("name", sorted(loss.__name__ for loss in nf.losses.LOSSES.values()))
def test_help_fits_a_screen_before_the_fields(name):
    lines = pydoc.plain(pydoc.render_doc(getattr(nf, name))).splitlines()
    assert next(k for k, line in enumerate(lines) if line.strip(" |") == "Parameters") < 30

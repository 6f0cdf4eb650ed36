"""A page for every public module: what its `__all__` names, from the docstrings."""

import ast
import importlib
import inspect
from pathlib import Path

import nearfar as nf
from website import losspage

_SOURCE = Path(__file__).parent.parent / "src"

MODULES = (
    "nearfar",
    "nearfar.losses",
    "nearfar.rules",
    "nearfar.explain",
    "nearfar.testing",
    "nearfar.kernels",
    "nearfar.distances",
    "nearfar.divergences",
    "nearfar.presets",
    "nearfar.metrics",
    "nearfar.queue",
    "nearfar.samplers",
    "nearfar.datasets",
    "nearfar.check",
    "nearfar.sklearn",
    "nearfar.torch",
    "nearfar.sentence_transformers",
    "nearfar.keras",
    "nearfar.jax",
    "nearfar.tensorflow",
)


def pages() -> dict[str, str]:
    """Markdown by module; raises for a module that does not say what is public."""
    return {module: _page(module) for module in MODULES}


def overview() -> str:
    lines = ["# Reference", ""]
    for module in MODULES:
        names = ", ".join(f"`{name}`" for name in public(module))
        lines += [f"- [{module}]({module}.md): {names}"]
    pages = "\n".join(MODULES)
    return "\n".join(lines) + f"\n\n```{{toctree}}\n:hidden:\n{pages}\n```"


def entry(module: str, name: str) -> str:
    """What is said of a name; raises where nothing is.

    Raises
    ------
    ValueError
        For a public class or function without a docstring.
    """
    thing = getattr(importlib.import_module(module), name)
    if not callable(thing):
        keys = ", ".join(f"`{key}`" for key in thing)
        return f"## {module}.{name}\n\n{keys}"
    if not inspect.getdoc(thing):
        raise ValueError(f"{module}.{name} is public and has no docstring")
    if inspect.isclass(thing) and thing in losspage.every_loss().values():
        return f"- [{name}](../losses/{thing.__name__.lower()}.md)"
    if module != "nearfar" and getattr(nf, name, None) is thing:
        return f"- [{name}](nearfar.md)"
    kind = "class" if inspect.isclass(thing) else "function"
    return f"```{{eval-rst}}\n.. auto{kind}:: {module}.{name}\n```"


def public(module: str) -> list[str]:
    """The names in `__all__`, read without importing what may not be installed."""
    tree = ast.parse(_file(module).read_text(encoding="utf8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return [name for name in ast.literal_eval(node.value) if not name.startswith("__")]
    raise ValueError(f"{module} has no __all__, so nobody knows what is public in it")


def _page(module: str) -> str:
    parts = [f"# {module}"]
    parts += [entry(module, name) for name in public(module) if not _is_module(module, name)]
    return "\n\n".join(parts)


def _is_module(module: str, name: str) -> bool:
    path = _SOURCE / module.replace(".", "/")
    return (path / name).is_dir() or (path / f"{name}.py").exists()


def _file(module: str) -> Path:
    path = _SOURCE / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")

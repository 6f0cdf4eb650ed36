"""The page of a loss, made from the loss itself: docstring, fields, presets, a picture."""

import dataclasses
import io
import re
import tomllib
from pathlib import Path
from typing import Any

import nearfar as nf
from nearfar.losses.citation import citation
from nearfar.losses.composed import Composed
from nearfar.losses.families import GivenTriplets, TwoSides
from nearfar.presets import Preset
from nearfar.rules import PartitionRule
from website import implementations
from website.batches import batch
from website.docstring import described
from website.markdown import escaped

FORMULAS = tomllib.loads((Path(__file__).parent / "formulas.toml").read_text(encoding="utf8"))

_MEMBERS = "__call__, value_and_grad, explain, with_options, to_dict"

_FRAMEWORKS = {
    "PyTorch": ("import torch, nearfar as nf", "loss({inputs}).backward()"),
    "JAX": (
        "import jax, nearfar as nf",
        "value, gradient = jax.value_and_grad(loss)({inputs})",
    ),
    "TensorFlow": (
        "import tensorflow as tf, nearfar as nf",
        "with tf.GradientTape() as tape:\n    value = loss({inputs})",
    ),
    "NumPy": (
        "import numpy as np, nearfar as nf",
        "value, gradients = loss.value_and_grad({inputs})",
    ),
}


# What a page shows of losses that are made of others and have no default.
_COMPOSED = {
    "Matryoshka": "nf.Matryoshka(nf.SupCon(), dims=(2, 4, 6))",
    "WeightedSum": "nf.SupCon() + 0.5 * nf.SmoothAP()",
}


def losses() -> dict[str, type]:
    """Every public loss once, by its name; those made of other losses apart (`composed`)."""
    return {name: cls for name, cls in every_loss().items() if not issubclass(cls, Composed)}


def composed() -> dict[str, type]:
    """Losses of losses, which have the inputs and the pictures of these."""
    return {name: cls for name, cls in every_loss().items() if issubclass(cls, Composed)}


def shown(cls: type) -> Any:
    """The loss of a class that its page shows."""
    return eval(written(cls), {"nf": nf})


def written(cls: type) -> str:
    """How `shown` is written."""
    return _COMPOSED.get(cls.__name__, f"nf.{cls.__name__}()")


def every_loss() -> dict[str, type]:
    found = {}
    for name in nf.__all__:
        thing = getattr(nf, name)
        if isinstance(thing, type) and issubclass(thing, nf.Loss) and thing is not nf.Loss:
            found.setdefault(thing.__name__, thing)
    return found


def page(cls: type) -> str:
    """Markdown; raises where a part of the page has nothing to be made from."""
    name = cls.__name__
    if name not in FORMULAS:
        raise ValueError(f"{name}: website/formulas.toml has no formula")
    parts, loss = described(cls), shown(cls)
    known = {field.name for field in dataclasses.fields(loss)}
    undocumented = sorted(known - set(parts.parameters))
    if undocumented:
        raise ValueError(f"{name}: its docstring does not name {', '.join(undocumented)}")
    return "\n\n".join(
        [
            f"# {name}",
            parts.summary,
            f"$${FORMULAS[name].strip()}$$",
            f"**In plain letters.** {escaped(parts.formula)}",
            *([f"**Source.** {_linked(escaped(parts.source))}"] if parts.source else []),
            f"**Call.** {parts.call.removeprefix('Call').strip()}",
            tabs(cls),
            f"**Range** {escaped(parts.range).removeprefix('Range').strip()}",
            "## Fields",
            _fields(loss, parts.parameters),
            "## Who pulls on whom",
            _who(cls),
            "## Cost",
            _cost(cls),
            "## Implementations that equal it",
            _implementations(cls),
            "## Example",
            f"```python\n{_session(parts.example)}\n```",
            "## Citation",
            f"```bibtex\n{citation(loss)}\n```",
            "## Reference",
            f"```{{eval-rst}}\n.. autoclass:: nearfar.{name}\n   :members: {_MEMBERS}\n```",
        ]
    )


def _who(cls: type) -> str:
    if issubclass(cls, Composed):
        return (
            "Its losses say so, each on its own page: here [SupCon](supcon.md). "
            "`loss.explain(...).plot()` draws your own batch."
        )
    return (
        f"![Anchors of a small batch against their candidates]({cls.__name__.lower()}.svg)\n\n"
        "A small batch: anchors against candidates. Blue are an anchor's positives, orange its "
        "negatives, grey is not compared; the bars are each anchor's share of the gradient. "
        "`loss.explain(...).plot()` draws your own."
    )


def picture(cls: type) -> bytes:
    """SVG of a small batch under the loss."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    loss = cls()
    figure = loss.explain(*batch(loss).values()).plot()
    out = io.BytesIO()
    with plt.rc_context({"svg.hashsalt": "nearfar"}):
        figure.savefig(out, format="svg", metadata={"Date": None}, transparent=False)
    plt.close(figure)
    return out.getvalue()


def overview() -> str:
    rows = ["| loss | call | what it is |", "|---|---|---|"]
    for name, cls in losses().items():
        call = ", ".join(cls().inputs)
        rows.append(f"| [{name}]({name.lower()}.md) | `({call})` | {described(cls).summary} |")
    rows += ["", "Made of other losses:", "", "| loss | what it is |", "|---|---|"]
    for name, cls in composed().items():
        rows.append(f"| [{name}]({name.lower()}.md) | {described(cls).summary} |")
    pages = "\n".join(name.lower() for name in every_loss())
    return "# Losses\n\n" + "\n".join(rows) + f"\n\n```{{toctree}}\n:hidden:\n{pages}\n```"


def tabs(cls: type) -> str:
    """The call in each framework."""
    loss = shown(cls)
    inputs = ", ".join(name for name in loss.inputs if name not in loss.optional)
    found = [":::::{tab-set}"]
    for framework, (imports, use) in _FRAMEWORKS.items():
        code = f"{imports}\n\nloss = {written(cls)}\n{use.format(inputs=inputs)}"
        found.append(
            f"::::{{tab-item}} {framework}\n:sync: {framework}\n\n```python\n{code}\n```\n::::"
        )
    return "\n".join([*found, ":::::"])


def _fields(loss: Any, meanings: dict[str, str]) -> str:
    rows = ["| field | default | meaning | other values, and who uses them |", "|---|---|---|---|"]
    needed = {"terms", "loss"} if isinstance(loss, Composed) else set()
    defaults = {field.name: field.default for field in dataclasses.fields(loss)}
    for name, meaning in meanings.items():
        if name in needed:
            rows.append(f"| `{name}` | must be given | {escaped(meaning)} | |")
        elif name in defaults:
            used = _used(type(loss), name, getattr(loss, name))
            rows.append(f"| `{name}` | `{defaults[name]!r}` | {escaped(meaning)} | {used} |")
        elif name in loss.keywords:
            rows.append(f"| `{name}=` | none | {escaped(meaning)} | |")
    return "\n".join(rows)


def _used(cls: type, field: str, default: Any) -> str:
    """The values that public implementations have in place of the default."""
    found: dict[Any, list[str]] = {}
    for row in equal(cls):
        value = getattr(row.loss, field)
        if value != default:
            found.setdefault(value, []).append(escaped(row.name.partition("/")[0]))
    return "; ".join(
        f"`{value:.6g}`: {_few(names)}"
        if isinstance(value, float)
        else f"`{value!r}`: {_few(names)}"
        for value, names in found.items()
    )


def _few(names: list[str], most: int = 3) -> str:
    several = list(dict.fromkeys(names))
    return ", ".join(several[:most]) + (", ..." if len(several) > most else "")


def equal(cls: type) -> list[Preset]:
    """The public implementations that are this loss."""
    return [row for row in nf.presets.table() if type(row.loss) is cls]


def _implementations(cls: type) -> str:
    rows = equal(cls)
    if not rows:
        return "None is recorded."
    lines = ["| implementation | equals | differs from the paper |", "|---|---|---|"]
    for row in rows:
        where = implementations.link(row, "../implementations/")
        lines.append(f"| {where} | `{row.loss!r}` | {escaped(row.differs)} |")
    return "\n".join(lines)


def _session(example: str) -> str:
    """An example of a docstring as a program, what it prints as comments."""
    lines = []
    for line in example.splitlines():
        code = re.match(r"(?:>>>|\.\.\.)(?: |$)", line)
        lines.append(line[code.end() :] if code else f"# {line}" if line else "")
    return "\n".join(lines)


def _linked(source: str) -> str:
    """With papers as links."""
    text = re.sub(r"arXiv (\d{4}\.\d{4,5})", r"[arXiv \1](https://arxiv.org/abs/\1)", source)
    return re.sub(r"doi (10\.\S+\w)", r"[doi \1](https://doi.org/\1)", text)


def _cost(cls: type) -> str:
    """Products and memory, by how it is evaluated."""
    if issubclass(cls, Composed):
        return (
            "Value and gradient: those of its losses, one after the other; memory of the largest."
        )
    loss = shown(cls)
    if loss.family is GivenTriplets:
        return "Value and gradient: O(N d) of time and memory, for N triplets."
    sides = len([name for name in loss.embeddings if name not in loss.optional])
    if isinstance(loss.rule(), PartitionRule):
        products = 4 if loss.family is TwoSides else 2
        passes = f"{products} matrix products of all pairs, in two passes over tiles"
    else:
        passes = "3 matrix products of its pairs at most, in one pass over blocks of anchors"
    return (
        f"Value and gradient: {passes}; memory O(n d) for {sides} array{'s' * (sides > 1)} of "
        "embeddings and what `with_options(memory=...)` allows, 64 MiB by default: "
        "[from equation to tiles](../equation-to-tiles.md)."
    )

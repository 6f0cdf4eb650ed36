"""The page of a loss, made from the loss itself: docstring, fields, presets, a picture."""

import dataclasses
import io
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import nearfar as nf
from nearfar.losses.citation import citation
from nearfar.losses.composed import Composed
from nearfar.losses.families import GivenTriplets, TwoSides
from nearfar.losses.families_at_once import RowsAlone, ScoredPairs, ViewsAlone
from nearfar.presets import Preset
from nearfar.rules import AnchoredProxies, PartitionRule, ProxyRule
from nearfar.rules.moments import CrossCorrelation, VarianceCovariance
from nearfar.rules.smooth_ap import SmoothRanks
from website import implementations
from website.batches import batch
from website.docstring import described
from website.markdown import escaped

FORMULAS = tomllib.loads((Path(__file__).parent / "formulas.toml").read_text(encoding="utf8"))

_MEMBERS = "__call__, value_and_grad, explain, with_options, to_dict"

# Families and rules whose cost is a sentence of its own.
_WHOLE = {
    GivenTriplets: "cost_triplets",
    ScoredPairs: "cost_scored",
    CrossCorrelation: "cost_features",
    VarianceCovariance: "cost_features",
    ViewsAlone: "cost_triplets",
    RowsAlone: "cost_spread",
    SmoothRanks: "cost_ranks",
}

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
    return {name: found[name] for name in sorted(found, key=str.lower)}


class Language(NamedTuple):
    """What a page says around what the loss says of itself."""

    words: dict[str, str]
    translated: Callable[[str], str]
    site: str
    """The root of the site, seen from the folder of the losses."""
    other: str
    """The folder of the losses in the other language."""

    def said(self, text: str) -> str:
        """Paragraph by paragraph."""
        return "\n\n".join(self.translated(paragraph) for paragraph in text.split("\n\n"))


ENGLISH = Language(
    tomllib.loads((Path(__file__).parent / "words.toml").read_text(encoding="utf8")),
    lambda text: text,
    "../",
    "../zh/losses/",
)


def page(cls: type, language: Language = ENGLISH, use: str = "") -> str:
    """Markdown; raises where a part of the page has nothing to be made from."""
    name = cls.__name__
    if name not in FORMULAS:
        raise ValueError(f"{name}: website/formulas.toml has no formula")
    parts, loss = described(cls), shown(cls)
    known = {field.name for field in dataclasses.fields(loss)}
    undocumented = sorted(known - set(parts.parameters))
    if undocumented:
        raise ValueError(f"{name}: its docstring does not name {', '.join(undocumented)}")
    words, said = language.words, language.said
    source = [f"{words['source']} {_linked(escaped(said(parts.source)))}"] if parts.source else []
    return "\n\n".join(
        [
            f"# {name}",
            f"[{words['other']}]({language.other}{name.lower()}.md)",
            said(parts.summary),
            f"$${FORMULAS[name].strip()}$$",
            f"{words['plain']} {_sentence(escaped(said(parts.formula)))}",
            *source,
            *([f"{words['use']} {use}"] if use else []),
            f"{words['call']} {said(parts.call).removeprefix('Call ')}",
            tabs(cls),
            f"{words['range']} {_sentence(escaped(said(parts.range)).removeprefix('Range '))}",
            f"## {words['fields']}",
            _fields(loss, parts.parameters, language),
            f"## {words['who']}",
            _who(cls, language),
            f"## {words['cost']}",
            _cost(cls, language),
            f"## {words['equal']}",
            _implementations(cls, language),
            f"## {words['example']}",
            f"```python\n{_session(parts.example)}\n```",
            f"## {words['citation']}",
            f"```bibtex\n{citation(loss)}\n```",
        ]
    )


def _sentence(text: str) -> str:
    """As one that begins with a word begins."""
    return text[:1].upper() + text[1:] if re.match("[a-z]{2}", text) else text


def reference(cls: type) -> str:
    """What ends the page in English: the names in the code, which other pages link to."""
    return (
        "## Reference\n\n"
        f"```{{eval-rst}}\n.. autoclass:: nearfar.{cls.__name__}\n   :members: {_MEMBERS}\n```"
    )


def _who(cls: type, language: Language) -> str:
    words = language.words
    if issubclass(cls, Composed):
        return words["who_composed"]
    drawn = f"{language.site}losses/{cls.__name__.lower()}.svg"
    return f"![{words['picture']}]({drawn})\n\n{words['who_drawn']}"


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


def overview(language: Language = ENGLISH, uses: Mapping[str, str] = MappingProxyType({})) -> str:
    words = language.words
    more = ["---"] if uses else []

    def row(name: str, cls: type, *cells: str) -> str:
        told = [uses[name]] if uses else []
        summary = language.said(described(cls).summary).replace("\n", " ")
        return f"| {' | '.join([f'[{name}]({name.lower()}.md)', *cells, summary, *told])} |"

    rows = [words["losses_head"], f"|{'|'.join(['---'] * 3 + more)}|"]
    for name, cls in losses().items():
        rows.append(row(name, cls, f"`({', '.join(cls().inputs)})`"))
    rows += ["", words["composed"], "", words["composed_head"], f"|{'|'.join(['---'] * 2 + more)}|"]
    rows += [row(name, cls) for name, cls in composed().items()]
    pages = "\n".join(name.lower() for name in every_loss())
    return (
        f"# {words['losses']}\n\n"
        + "\n".join(rows)
        + (f"\n\n```{{toctree}}\n:hidden:\n{pages}\n```")
    )


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


def _fields(loss: Any, meanings: dict[str, str], language: Language) -> str:
    words = language.words
    needed = {"terms", "loss"} if isinstance(loss, Composed) else set()
    defaults = {field.name: field.default for field in dataclasses.fields(loss)}
    rows = []
    for name, meaning in meanings.items():
        told = escaped(language.said(meaning))
        if name in needed:
            rows.append((f"`{name}`", words["needed"], told, ""))
        elif name in defaults:
            used = _used(type(loss), name, getattr(loss, name))
            rows.append((f"`{name}`", f"`{defaults[name]!r}`", told, used))
        elif name in loss.keywords:
            rows.append((f"`{name}=`", words["none"], told, ""))
    head = (words["field"], words["default"], words["meaning"], words["others"])
    columns = 4 if any(row[3] for row in rows) else 3
    lines = [head, ("---",) * 4, *rows]
    return "\n".join(f"| {' | '.join(line[:columns])} |" for line in lines)


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


def _implementations(cls: type, language: Language) -> str:
    rows, words = equal(cls), language.words
    if not rows:
        return words["no_equal"]
    lines = [words["equal_head"], "|---|---|---|"]
    for row in rows:
        where = implementations.link(row, f"{language.site}implementations/")
        lines.append(f"| {where} | `{row.loss!r}` | {escaped(language.said(row.differs))} |")
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


def _cost(cls: type, language: Language) -> str:
    """Products and memory, by how it is evaluated."""
    words = language.words
    if issubclass(cls, Composed):
        return words["cost_composed"]
    loss, rule = shown(cls), shown(cls).rule()
    whole = _WHOLE.get(type(rule), _WHOLE.get(loss.family))
    if whole is not None:
        return words[whole]
    sides = len([name for name in loss.embeddings if name not in loss.optional])
    if isinstance(rule, PartitionRule):
        products = words["cost_partition"].format(4 if loss.family is TwoSides else 2)
    elif isinstance(rule, ProxyRule | AnchoredProxies):
        products = words["cost_proxies" if isinstance(rule, ProxyRule) else "cost_anchored"]
    else:
        products = words["cost_rows"]
    return words["cost_of"].format(products=products, sides=sides)

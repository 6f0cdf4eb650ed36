"""``README.md`` of a run: what was learned, from what, how well, and whom to cite."""

import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from nearfar import __version__
from nearfar.cli.report.scores import Row
from nearfar.losses import Loss
from nearfar.losses.citation import citation
from nearfar.presets import table

_PACKAGES = ("numpy", "scipy", "scikit-learn", "torch")
_NEARFAR = "@software{nearfar,\n    author = {{The nearfar developers}},\n    title = {nearfar},"


@dataclass(frozen=True)
class Card:
    """What a stranger needs to know of a run folder."""

    name: str
    what: str  # was learned
    loss: Loss
    data: Mapping[str, Any]
    measured: Mapping[str, Row]
    caption: str
    command: str
    files: Mapping[str, str]

    def __str__(self) -> str:
        parts = {
            f"# {self.name}": [f"{self.what}, learned by nearfar {__version__}."],
            "## Loss": self._loss(),
            "## Data": _table(("", ""), self.data.items()),
            "## Numbers": [*self._numbers(), "", self.caption],
            "## Made by": ["```", self.command, "```"],
            "## Files": _table(("file", "what it is"), self.files.items()),
            "## Versions": _table(("package", "version"), _versions()),
            "## Citation": ["```bibtex", citation(self.loss), *self._own(), "```"],
        }
        return "\n\n".join(f"{head}\n\n{chr(10).join(body)}" for head, body in parts.items()) + "\n"

    def _loss(self) -> list[str]:
        summary = (inspect.getdoc(type(self.loss)) or "").split("\n\n")[0]
        equal = _presets(self.loss)
        known = f"It equals {', '.join(equal)}." if equal else "It equals no preset."
        return [f"`{self.loss!r}`", "", " ".join(summary.split()), "", known]

    def _numbers(self) -> list[str]:
        (_, first), *_ = self.measured.items()
        probe = [first.probe.heading] if first.probe else []
        heads = [f.metadata["heading"] for f in fields(first.scores)]
        rows = []
        for name, row in self.measured.items():
            scores = [*asdict(row.scores).values(), *([row.probe.score] if row.probe else [])]
            rows.append((name, *(f"{x:.3f}" for x in scores), _count(row.dimensions)))
        return _table(("space", *heads, *probe, "dimensions"), rows)

    def _own(self) -> list[str]:
        return ["", _NEARFAR, f"    version = {{{__version__}}},", "}"]


def _presets(loss: Loss) -> list[str]:
    """The calls that make it, of implementations that take rows as it does."""
    stated = {name: loss.stated(name) for name in ("temperature", "margin")}
    known = {name: x for name, x in stated.items() if name in loss.declarations}
    found = []
    for row in table():
        if type(row.loss) is not type(loss) or row.normalises or row.queue:
            continue
        assert row.loss is not None
        if replace(row.loss, **known) == loss:
            given = "" if row.loss == loss else "".join(f", {k}={x!r}" for k, x in known.items())
            found.append(f'`nf.preset("{row.name}"{given})`')
    return found


def _versions() -> list[tuple[str, str]]:
    found = [("nearfar", __version__), ("Python", sys.version.split()[0])]
    for package in _PACKAGES:
        if package in sys.modules or package == "scikit-learn":
            try:
                found.append((package, version(package)))
            except PackageNotFoundError:  # it came without its metadata
                continue
    return found


def _count(dimensions: int | None) -> str:
    return "" if dimensions is None else str(dimensions)


def _table(heads: Sequence[Any], rows: Any) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(_cell(x) for x in line) + " |" for line in lines]


def _cell(x: Any) -> str:
    return " ".join(str(x).replace("|", "\\|").split())

"""``report.html``: all that a fit says, on one page that opens without a network."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from bokeh.embed import components
from bokeh.resources import Resources
from numpy.typing import NDArray

from nearfar.cli.report import interactive
from nearfar.cli.report.interactive import Points
from nearfar.cli.report.scores import Measured
from nearfar.html import document, table

_HEAD = """<style>
.panels { flex-wrap: wrap !important; gap: 12px; }
</style>"""


@dataclass(frozen=True)
class Page:
    """What is shown, in its order; ``planes`` hold the rows of ``points`` (n, 2)."""

    title: str
    verdict: str
    caption: str
    spaces: Mapping[str, Measured]
    planes: Mapping[str, NDArray[np.float64]]
    points: Points
    left_out: str
    history: Sequence[dict[str, Any]]
    mistakes: tuple[str, list[Any]]
    settings: Mapping[str, Any]
    command: str


def write(path: Path, page: Page) -> None:
    """Write it; every script and picture is inside."""
    heading, shown = page.mistakes
    figures: dict[str, Any] = {"points": interactive.scatter(dict(page.planes), page.points)}
    if page.history:
        figures["curve"] = interactive.curve(page.history)
    figures |= {f"mistake{k}": part for k, part in enumerate(shown) if not isinstance(part, str)}
    script, placed = components(figures, wrap_script=True)
    hide = "click a class to hide it; " if page.points.key.names else ""
    body = [
        f"<h1>{escape(page.title)}</h1>",
        f"<p>{escape(page.verdict)}.</p>",
        _spaces(page.spaces),
        f'<p class="soft">{escape(page.caption)}</p>',
        "<h2>Held-out rows</h2>",
        f'<p class="soft">Point at a row to see what it is; {hide}select rows on one side to see '
        f"them on the other. {escape(page.left_out)}</p>",
        placed["points"],
    ]
    if page.history:
        body += ["<h2>Learning</h2>", placed["curve"]]
    body.append(f"<h2>{escape(heading)}</h2>")
    body += [
        part if isinstance(part, str) else placed[f"mistake{k}"] for k, part in enumerate(shown)
    ]
    body += [
        "<h2>Settings</h2>",
        f"<pre>{escape(page.command)}</pre>",
        table((name, _said(value)) for name, value in page.settings.items()),
        script,
    ]
    library = Resources(mode="inline", components=["bokeh"]).render_js()
    path.write_text(
        document(page.title, "\n".join(body), f"{_HEAD}\n{_pictures(page.points)}\n{library}"),
        encoding="utf-8",
    )


def _spaces(spaces: Mapping[str, Measured]) -> str:
    example = spaces["learned"]
    probe = [example.probe.heading] if example.probe else []
    headings = [f.metadata["heading"] for f in fields(example.scores)]
    rows = [
        (
            name,
            *(float(score) for score in asdict(row.scores).values()),
            *([float(row.probe.score)] if row.probe else []),
            row.dimensions,
            f"{row.space.seconds:.1f} s",
        )
        for name, row in spaces.items()
    ]
    return table(rows, ("space", *headings, *probe, "dimensions", "time"))


def _pictures(points: Points) -> str:
    """The rows' picture as a variable, which reaches into Bokeh's shadow trees as rules do not."""
    if points.images is None:
        return ""
    return f"<style>:root {{ --rows: url({points.images.uri}); }}</style>"


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={_said(of)}" for name, of in value.items())
    return f"{value:.6g}" if isinstance(value, float) else str(value)

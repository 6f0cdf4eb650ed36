"""The interactive parts of report.html: points that tell their row, curves, confusions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.layouts import row
from bokeh.models import (
    CDSView,
    ColorBar,
    ColumnDataSource,
    GroupFilter,
    HoverTool,
    Legend,
    LegendItem,
    LinearColorMapper,
    Range1d,
)
from bokeh.plotting import figure
from numpy.typing import NDArray

from nearfar.cli.report.colouring import Key
from nearfar.cli.report.thumbnails import Thumbnails

_TOOLS = "pan,wheel_zoom,box_select,tap,reset"
_MOST_NAMED = 30  # classes whose confusions are drawn
_INK, _WRONG, _LINE, _SOFT = "#3566a8", "#c8551f", "#d8dde3", "#5b6570"


@dataclass(frozen=True)
class Points:
    """What is known of the rows that are drawn (n): texts by column, and their colours."""

    texts: Mapping[str, Sequence[str]]
    neighbours: Sequence[Sequence[str]]  # the first, the second, ... nearest training row
    key: Key
    images: Thumbnails | None = None
    neighbour_images: Sequence[Sequence[int]] = ()  # where in ``images`` each of them is
    own_images: Sequence[int] = ()


def scatter(planes: dict[str, NDArray[np.float64]], points: Points) -> Any:
    """Draw the same rows in every plane: selecting some in one selects them in all."""
    data: dict[str, Any] = {name: list(texts) for name, texts in points.texts.items()}
    for k, texts in enumerate(points.neighbours):
        data[f"neighbour{k}"] = list(texts)
    if points.images:
        data["place"] = [points.images.places[at] for at in points.own_images]
        for k, found in enumerate(points.neighbour_images):
            data[f"place{k}"] = [points.images.places[at] for at in found]
    data["group"], data["colour"] = list(points.key.groups), list(points.key.colours)
    for k, plane in enumerate(planes.values()):
        data[f"x{k}"], data[f"y{k}"] = plane.astype(np.float32).T
    source = ColumnDataSource(data)
    plots = [_panel(source, k, title, points) for k, title in enumerate(planes)]
    first, *others = plots
    for other in others:  # hiding a class by the legend of one hides it in all
        for one, same in zip(other.renderers, first.renderers, strict=True):
            one.js_link("visible", same, "visible")
    _add_key(plots[-1], points.key)
    return row(plots, sizing_mode="stretch_width", css_classes=["panels"])


def _panel(source: ColumnDataSource, k: int, title: str, points: Points) -> Any:
    plot = figure(
        title=title, tools=_TOOLS, active_scroll=None, height=440, min_width=300,
        sizing_mode="stretch_width", toolbar_location="below",
    )  # fmt: skip
    plot.toolbar.logo = None
    size = float(np.clip(7 * (1000 / max(len(points.key.groups), 1)) ** 0.25, 4, 8))
    style = {
        "source": source, "size": size, "color": "colour", "line_color": None, "fill_alpha": 0.75,
        "nonselection_fill_alpha": 0.08,
    }  # fmt: skip
    views = {name: CDSView(filter=GroupFilter(column_name="group", group=name)) for name in
             points.key.names} or {"": CDSView()}  # fmt: skip
    drawn = [plot.scatter(f"x{k}", f"y{k}", view=view, **style) for view in views.values()]
    plot.add_tools(HoverTool(renderers=drawn, tooltips=_tip(points), limit=1))
    plot.axis.visible = plot.grid.visible = False
    plot.outline_line_color = _LINE
    return plot


def _add_key(plot: Any, key: Key) -> None:
    """Beside the last panel: names to click at, or a scale."""
    if key.scale:
        low, high, palette = key.scale
        mapper = LinearColorMapper(palette=palette, low=low, high=high)
        plot.add_layout(ColorBar(color_mapper=mapper, width=12), "right")
        return
    items = [
        LegendItem(label=name, renderers=[drawn])
        for name, drawn in zip(key.names, plot.renderers, strict=True)
    ]
    legend = Legend(
        items=items, click_policy="hide", label_text_font_size="12px", spacing=2, padding=4,
        border_line_color=None,
    )  # fmt: skip
    plot.add_layout(legend, "right")


def _tip(points: Points) -> str:
    """HTML of what is shown beside a point."""
    lines = [
        f"<div><span style='color:{_SOFT}'>{name}</span> @{{{name}}}</div>" for name in points.texts
    ]
    near = [
        "<div style='display:inline-block;margin-right:8px'>"
        f"{_picture(points.images, f'place{k}')}@neighbour{k}</div>"
        for k in range(len(points.neighbours))
    ]
    return (
        "<div class='told' style='max-width:320px;font:13px system-ui,sans-serif'>"
        f"{_picture(points.images, 'place')}{''.join(lines)}<div style='color:{_SOFT};"
        f"margin-top:4px'>nearest training rows</div>{''.join(near)}</div>"
    )


def _picture(images: Thumbnails | None, column: str) -> str:
    """A row's image, cut out of the picture that the page keeps as the variable --rows."""
    if images is None:
        return ""
    return (
        f"<div style='width:{images.width}px;height:{images.height}px;background:var(--rows) "
        f"@{column};background-size:{images.sheet};image-rendering:pixelated'></div>"
    )


def curve(history: Sequence[dict[str, Any]]) -> Any:
    """Draw the loss, and the score of rows set aside where there is one, step by step."""
    step = "iteration" if "iteration" in history[0] else "epoch"
    steps = [entry[step] for entry in history]
    plots = []
    for what, title in (("loss", "loss"), ("validation", "validation")):
        values = [entry.get(what) for entry in history]
        if all(value is None for value in values):
            continue
        plot = figure(
            title=f"{title} by {step}", tools="reset", height=260, min_width=280,
            sizing_mode="stretch_width", toolbar_location=None,
        )  # fmt: skip
        source = ColumnDataSource({"x": steps, "y": [np.nan if v is None else v for v in values]})
        plot.line("x", "y", source=source, line_width=2, color=_INK)
        drawn = plot.scatter("x", "y", source=source, size=5, color=_INK)
        plot.add_tools(HoverTool(renderers=[drawn], tooltips=[(step, "@x"), (title, "@y{0.0000}")]))
        plots.append(plot)
    return row(plots, sizing_mode="stretch_width", css_classes=["panels"])


def confusions(counts: NDArray[np.intp], names: Sequence[str]) -> Any | None:
    """Draw how often a class (down) was taken for another (across); None for too many classes."""
    if len(names) > _MOST_NAMED:
        return None
    true, taken = np.divmod(np.arange(counts.size), len(names))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    source = ColumnDataSource(
        {
            "true": [names[k] for k in true], "taken": [names[k] for k in taken],
            "count": counts.ravel(), "alpha": np.sqrt(shares.ravel()),
            "of": counts.sum(axis=1)[true],
            "colour": [_INK if a == b else _WRONG for a, b in zip(true, taken, strict=True)],
        }
    )  # fmt: skip
    side = int(np.clip(34 * len(names), 260, 620))
    plot = figure(
        title="class (down), taken for (across)", x_range=list(names), y_range=list(names)[::-1],
        tools="", toolbar_location=None, height=side, width=side + 60, x_axis_location="above",
        sizing_mode="scale_width", max_width=side + 60,
    )  # fmt: skip
    drawn = plot.rect("taken", "true", 0.96, 0.96, source=source, color="colour", alpha="alpha")
    plot.add_tools(HoverTool(renderers=[drawn], tooltips="@true taken for @taken: @count of @of"))
    plot.xaxis.major_label_orientation = 0.8
    plot.grid.visible = False
    return plot


def predicted(truth: NDArray[np.float64], found: NDArray[np.float64], rows: Sequence[str]) -> Any:
    """Draw what the neighbours predict against what is true."""
    low, high = float(min(truth.min(), found.min())), float(max(truth.max(), found.max()))
    plot = figure(
        title="predicted against true", tools="reset", toolbar_location=None, height=420,
        width=460, sizing_mode="scale_width", max_width=520,
        x_range=Range1d(low, high), y_range=Range1d(low, high),
    )  # fmt: skip
    plot.line([low, high], [low, high], color="#b4bcc4")
    source = ColumnDataSource({"x": truth, "y": found, "row": list(rows)})
    drawn = plot.scatter(
        "x", "y", source=source, size=6, color=_INK, fill_alpha=0.6, line_color=None
    )
    tips = [("row", "@row"), ("true", "@x{0.000}"), ("predicted", "@y{0.000}")]
    plot.add_tools(HoverTool(renderers=[drawn], tooltips=tips))
    plot.xaxis.axis_label, plot.yaxis.axis_label = "true", "predicted"
    return plot

"""``embedding.png``: the held-out part before and after, side by side."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

_LONGEST_NAME = 16
_MOST_NAMED = 40  # classes; a longer legend leaves no room for the points


def draw(
    path: Path,
    title: str,
    panels: list[tuple[str, NDArray[np.float64]]],
    labels: NDArray[np.intp],
    classes: NDArray[Any],
) -> None:
    """Write one panel for each heading and its points (n, 2), coloured by class."""
    figure = Figure(figsize=(5.6 * len(panels) + 1.6, 5.8), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, parse_math=False, fontsize=13)
    names = [_short(str(name)) for name in classes]
    colours = _colours(len(classes))
    handles = []
    for axes, (heading, plane) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        handles = [
            axes.scatter(*plane[labels == code].T, s=16, color=colour, alpha=0.75, linewidths=0)
            for code, colour in enumerate(colours)
        ]
        if len(classes) <= _MOST_NAMED:
            _name_clusters(axes, plane, labels, names, colours)
        axes.set_title(heading, fontsize=12)
        axes.set_xlabel("first principal component")
        axes.set_ylabel("second principal component")
        axes.set(xticks=[], yticks=[])
    if len(classes) <= _MOST_NAMED:
        legend = figure.legend(
            handles,
            names,
            loc="outside right upper",
            title="class",
            ncols=1 + len(classes) // 21,
            markerscale=1.6,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # class names in any script
        figure.savefig(path, dpi=130)


def _name_clusters(
    axes: Any,
    plane: NDArray[np.float64],
    labels: NDArray[np.intp],
    names: list[str],
    colours: NDArray[np.float64],
) -> None:
    halo = [withStroke(linewidth=3, foreground="white")]
    for code, name in enumerate(names):
        x, y = np.median(plane[labels == code], axis=0)
        axes.text(
            x,
            y,
            name,
            ha="center",
            va="center",
            fontsize=13,
            weight="bold",
            color=0.6 * colours[code, :3],  # darker than its points
            path_effects=halo,
            parse_math=False,
        )


def _colours(n: int) -> NDArray[np.float64]:
    """Red, green, blue and opacity of every class (n, 4)."""
    if n <= 20:
        return np.array(colormaps["tab10" if n <= 10 else "tab20"](np.arange(n)))
    return np.array(colormaps["turbo"](np.linspace(0, 1, n)))


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"

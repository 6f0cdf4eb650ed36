"""``embedding.png``: the held-out part before and after, coloured by class or by number."""

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

_LONGEST_NAME = 16
_MOST_NAMED = 40  # classes; a longer legend leaves no room for the points


def draw(
    path: Path, title: str, panels: list[tuple[str, NDArray[np.float64]]], colouring: "Colouring"
) -> None:
    """Write one panel for each heading and its points (n, 2), and the key to their colours."""
    figure = Figure(figsize=(5.6 * len(panels) + 1.6, 5.8), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, parse_math=False, fontsize=13)
    all_axes = figure.subplots(1, len(panels))
    for axes, (heading, plane) in zip(all_axes, panels, strict=True):
        colouring.points(axes, plane)
        axes.set_title(heading, fontsize=12)
        axes.set_xlabel("first principal component")
        axes.set_ylabel("second principal component")
        axes.set(xticks=[], yticks=[])
    colouring.key(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # class names in any script
        figure.savefig(path, dpi=130)


class Colouring(ABC):
    """Draws points coloured by what is known of their rows."""

    @abstractmethod
    def points(self, axes: Any, plane: NDArray[np.float64]) -> None:
        """Draw points (n, 2), in the order of the rows."""

    @abstractmethod
    def key(self, figure: Any) -> None:
        """Say what the colours mean."""


@dataclass(frozen=True)
class ByClass(Colouring):
    """A colour and a name for each class."""

    labels: NDArray[np.intp]  # (n,) positions in classes
    classes: NDArray[Any]

    def points(self, axes: Any, plane: NDArray[np.float64]) -> None:
        for code, colour in enumerate(self._colours()):
            points = plane[self.labels == code]
            axes.scatter(*points.T, s=16, color=colour, alpha=0.75, linewidths=0)
        if len(self.classes) <= _MOST_NAMED:
            self._name_clusters(axes, plane)

    def key(self, figure: Any) -> None:
        if len(self.classes) > _MOST_NAMED:
            return
        handles = [
            Line2D([], [], linestyle="", marker="o", markersize=6.4, markeredgewidth=0, color=c)
            for c in self._colours()
        ]
        legend = figure.legend(
            handles,
            self._names(),
            loc="outside right upper",
            title="class",
            ncols=1 + len(self.classes) // 21,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)

    def _name_clusters(self, axes: Any, plane: NDArray[np.float64]) -> None:
        halo = [withStroke(linewidth=3, foreground="white")]
        for code, (name, colour) in enumerate(zip(self._names(), self._colours(), strict=True)):
            x, y = np.median(plane[self.labels == code], axis=0)
            axes.text(
                x,
                y,
                name,
                ha="center",
                va="center",
                fontsize=13,
                weight="bold",
                color=0.6 * colour[:3],  # darker than its points
                path_effects=halo,
                parse_math=False,
            )

    def _names(self) -> list[str]:
        return [_short(str(name)) for name in self.classes]

    def _colours(self) -> NDArray[np.float64]:
        """Red, green, blue and opacity of every class (n, 4)."""
        n = len(self.classes)
        if n <= 20:
            return np.array(colormaps["tab10" if n <= 10 else "tab20"](np.arange(n)))
        return np.array(colormaps["turbo"](np.linspace(0, 1, n)))


@dataclass(frozen=True)
class ByNumber(Colouring):
    """From dark for the smallest number to light for the largest, with a bar."""

    targets: NDArray[np.float64]  # (n,)
    name: str

    def points(self, axes: Any, plane: NDArray[np.float64]) -> None:
        colours = self._scale().to_rgba(self.targets)
        axes.scatter(*plane.T, s=24, color=colours, alpha=0.9, linewidths=0)

    def key(self, figure: Any) -> None:
        bar = figure.colorbar(self._scale(), ax=figure.axes, fraction=0.05, aspect=30)
        bar.set_label(_short(self.name), parse_math=False)

    def _scale(self) -> Any:
        return ScalarMappable(Normalize(self.targets.min(), self.targets.max()), "viridis")


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"

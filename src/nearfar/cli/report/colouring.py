"""The colours of points: one for each class, or a scale of numbers; and their names."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

_LONGEST_NAME = 16
_MOST_NAMED = 20  # classes that have colours and names of their own
_LARGEST = 10  # that have where there are more
_GREY = (0.72, 0.72, 0.72, 1.0)
_PIXELS = 3  # between two names
_FAR = 20  # pixels from its class from which on a name gets a line


@dataclass(frozen=True)
class Key:
    """Colours for a page: of every row, and the names of the groups or the scale they stand for."""

    groups: list[str]  # (n,)
    colours: list[str]  # (n,) as #rrggbb
    names: list[str] = field(default_factory=list)
    scale: tuple[float, float, list[str]] | None = None  # lowest, highest, from dark to light


class Colouring(ABC):
    """Draws points coloured by what is known of their rows."""

    @abstractmethod
    def take(self, rows: NDArray[np.intp]) -> Self:
        """Colour some of the rows alone."""

    @abstractmethod
    def words(self) -> Sequence[str]:
        """All that is written in the picture."""

    @abstractmethod
    def points(self, axes: Any, plane: NDArray[np.float64]) -> None:
        """Draw points (n, 2), in the order of the rows."""

    @abstractmethod
    def key(self, figure: Any) -> None:
        """Say what the colours mean."""

    @abstractmethod
    def on_a_page(self) -> Key:
        """Give the colours, and what they mean, to who draws by other means."""

    @abstractmethod
    def names(self, axes: Any, plane: NDArray[np.float64]) -> None:
        """Write names beside the points, once everything else has its place."""


@dataclass(frozen=True)
class ByClass(Colouring):
    """A colour and a name for each class, or for the largest where there are many."""

    labels: NDArray[np.intp]  # (n,) positions in classes
    classes: NDArray[Any]

    def take(self, rows: NDArray[np.intp]) -> Self:
        return replace(self, labels=self.labels[rows])

    def words(self) -> Sequence[str]:
        return [self._name(code) for code in self._named()]

    def points(self, axes: Any, plane: NDArray[np.float64]) -> None:
        named = self._named()
        style = {"s": _size(len(plane), 16), "linewidths": 0}
        rest = plane[~np.isin(self.labels, named)]
        axes.scatter(*rest.T, color=_GREY, alpha=0.6, **style)
        for code, colour in zip(named, self._colours(), strict=True):
            axes.scatter(*plane[self.labels == code].T, color=colour, alpha=0.75, **style)

    def key(self, figure: Any) -> None:
        named = self._named()
        others = len(self.classes) - len(named)
        colours, words = list(self._colours()), [self._name(code) for code in named]
        if others:
            colours.append(np.array(_GREY))
            words.append(f"{others} others")
        handles = [
            Line2D([], [], linestyle="", marker="o", markersize=6.4, markeredgewidth=0, color=c)
            for c in colours
        ]
        title = f"{len(named)} largest classes" if others else "class"
        legend = figure.legend(handles, words, loc="outside right upper", title=title)
        for text in legend.get_texts():
            text.set_parse_math(False)

    def on_a_page(self) -> Key:
        named = self._named()
        names = [self._name(code) for code in named]
        others = "others" if len(named) < len(self.classes) else None
        by_code = dict(
            zip(named, zip(names, map(to_hex, self._colours()), strict=True), strict=True)
        )
        rest = (others or "", to_hex(_GREY))
        of_rows = [by_code.get(code, rest) for code in self.labels.tolist()]
        groups, colours = ([pair[k] for pair in of_rows] for k in (0, 1))
        return Key(groups, colours, [*dict.fromkeys(names), *([others] if others else [])])

    def names(self, axes: Any, plane: NDArray[np.float64]) -> None:
        halo = [withStroke(linewidth=3, foreground="white")]
        named = self._named()
        texts, homes = [], []
        for code, colour in zip(named, self._colours(), strict=True):
            points = plane[self.labels == code]
            if len(points):
                home = np.median(points, axis=0)
                homes.append(axes.transData.transform(home))
                text = axes.text(
                    *home,
                    self._name(code),
                    ha="center",
                    va="center",
                    fontsize=13 if len(named) <= _LARGEST else 10,
                    weight="bold",
                    color=0.6 * colour[:3],  # darker than its points
                    path_effects=halo,
                    parse_math=False,
                )
                texts.append(text)
        _spread(axes, texts, np.array(homes))

    def _named(self) -> list[int]:
        """The classes that have a colour, in their order."""
        if len(self.classes) <= _MOST_NAMED:
            return list(range(len(self.classes)))
        counts = np.bincount(self.labels, minlength=len(self.classes))
        return sorted(np.argsort(-counts, kind="stable")[:_LARGEST].tolist())

    def _name(self, code: int) -> str:
        return _short(str(self.classes[code]))

    def _colours(self) -> NDArray[np.float64]:
        """Red, green, blue and opacity of every named class (n, 4)."""
        n = len(self._named())
        colours = np.array(colormaps["tab10" if n <= 10 else "tab20"](np.arange(n)))
        if n < len(self.classes):
            colours[7:8, :3] = 0.1  # grey in tab10, as the others are here
        return colours


@dataclass(frozen=True)
class ByNumber(Colouring):
    """From dark for the smallest number to light for the largest, with a bar."""

    targets: NDArray[np.float64]  # (n,)
    name: str

    def take(self, rows: NDArray[np.intp]) -> Self:
        return replace(self, targets=self.targets[rows])

    def words(self) -> Sequence[str]:
        return [_short(self.name)]

    def points(self, axes: Any, plane: NDArray[np.float64]) -> None:
        colours = self._scale().to_rgba(self.targets)
        axes.scatter(*plane.T, s=_size(len(plane), 24), color=colours, alpha=0.9, linewidths=0)

    def key(self, figure: Any) -> None:
        bar = figure.colorbar(self._scale(), ax=figure.axes, fraction=0.05, aspect=30)
        bar.set_label(_short(self.name), parse_math=False)

    def on_a_page(self) -> Key:
        scale = self._scale()
        colours = [to_hex(colour) for colour in scale.to_rgba(self.targets)]
        steps = [to_hex(colour) for colour in scale.get_cmap()(np.linspace(0, 1, 64))]
        ends = float(self.targets.min()), float(self.targets.max())
        return Key([""] * len(colours), colours, scale=(*ends, steps))

    def names(self, axes: Any, plane: NDArray[np.float64]) -> None:
        pass

    def _scale(self) -> Any:
        return ScalarMappable(Normalize(self.targets.min(), self.targets.max()), "viridis")


def _size(points: int, most: float) -> float:
    """The area of a point: smaller where there are thousands."""
    return float(np.clip(most * np.sqrt(1000 / max(points, 1)), 4, most))


def _spread(axes: Any, texts: Sequence[Any], homes: NDArray[np.float64]) -> None:
    """Move names apart and into the frame, a line to those that end up far from their class."""
    if not texts:
        return
    renderer = axes.figure.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in texts]
    half = np.array([(box.width, box.height) for box in boxes]) / 2 + _PIXELS  # (n, 2)
    frame = axes.get_window_extent(renderer)
    low = np.array([frame.x0, frame.y0]) + half
    high = np.maximum(low, np.array([frame.x1, frame.y1]) - half)
    at = np.clip(homes, low, high)  # (n, 2)
    for _ in range(300):
        apart = at[:, None] - at[None]  # (n, n, 2)
        overlap = half[:, None] + half[None] - np.abs(apart)
        meets = (overlap > 0).all(axis=2) & ~np.eye(len(at), dtype=bool)
        if not meets.any():
            break
        # Names are wide and low: they part upwards and downwards; the later one of equals goes up.
        later = np.sign(np.arange(len(at))[:, None] - np.arange(len(at)))
        side = np.where(apart[..., 1] == 0, later, np.sign(apart[..., 1]))
        at[:, 1] += 0.5 * np.where(meets, side * (overlap[..., 1] + 0.1), 0).sum(axis=1)
        at = np.clip(at, low, high)
    to_data = axes.transData.inverted()
    for text, home, place in zip(texts, homes, at, strict=True):
        text.set_position(to_data.transform(place))
        if np.linalg.norm(place - home) > _FAR:
            ends = to_data.transform(np.array([home, place]))
            axes.plot(*ends.T, color=text.get_color(), linewidth=0.8, scalex=False, scaley=False)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"

"""``embedding.png``: the held-out part before and after, side by side."""

import warnings
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nearfar.cli.colouring import Colouring


def draw(
    path: Path, title: str, panels: list[tuple[str, NDArray[np.float64]]], colouring: Colouring
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

"""``embedding.png``: the held-out part before and after, side by side."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from nearfar.cli.errors import BadInput
from nearfar.cli.report.colouring import Colouring
from nearfar.cli.report.fonts import families_for
from nearfar.cli.report.scores import Space

_MOST_MAPPED = 5000  # rows that t-SNE and UMAP draw: more take minutes
_AXES = {
    "pca": ("first principal component", "second principal component"),
    "tsne": ("t-SNE: near rows stay near", "distances between groups mean little"),
    "umap": ("UMAP: near rows stay near", "distances between groups mean little"),
}


class Panel(NamedTuple):
    """One half of the picture."""

    heading: str
    space: Space


def check_layout(layout: str) -> None:
    """Refuse a layout whose package is not installed."""
    if layout == "umap" and find_spec("umap") is None:
        raise BadInput(
            "--picture umap needs umap-learn, which is not installed: pip install "
            "umap-learn, or choose 'tsne'"
        )


def draw(
    path: Path, title: str, panels: list[Panel], colouring: Colouring, layout: str, seed: int
) -> list[str]:
    """Write one panel for each space, and the key to the colours; give what is to be said of it."""
    notes = []
    rows = np.arange(len(panels[0].space.held_out))
    if layout != "pca" and len(rows) > _MOST_MAPPED:
        rows = np.sort(np.random.default_rng(seed).permutation(len(rows))[:_MOST_MAPPED])
        colouring = colouring.take(rows)
        notes.append(f"embedding.png shows {_MOST_MAPPED} of the held-out rows, chosen by --seed")
    words = "".join([title, *(panel.heading for panel in panels), *colouring.words()])
    families, missing = families_for(words)
    if missing:
        notes.append(
            f"embedding.png: no font here has {missing[:12]}; install one that does, such as Noto "
            "Sans CJK for Chinese, Japanese and Korean"
        )
    with rc_context({"font.family": families}), _silent_about_fonts():
        figure = Figure(figsize=(5.6 * len(panels) + 1.8, 5.8), dpi=130, layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(title, parse_math=False, fontsize=13)
        planes = [_plane(panel.space, rows, layout, seed) for panel in panels]
        all_axes = figure.subplots(1, len(panels))
        for axes, panel, plane in zip(all_axes, panels, planes, strict=True):
            colouring.points(axes, plane)
            axes.set_title(panel.heading, fontsize=12)
            axes.set_xlabel(_AXES[layout][0])
            axes.set_ylabel(_AXES[layout][1])
            axes.set(xticks=[], yticks=[])
        colouring.key(figure)
        figure.draw_without_rendering()  # names are written where everything has its place
        figure.set_layout_engine("none")
        for axes, plane in zip(all_axes, planes, strict=True):
            colouring.names(axes, plane)
        figure.savefig(path, dpi=figure.dpi)
    return notes


@contextmanager
def _silent_about_fonts() -> Iterator[None]:
    """Missing characters have been told; and a font without a bold cut may be drawn as it is."""
    log = logging.getLogger("matplotlib.font_manager")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing")
            yield
    finally:
        log.setLevel(before)


def _plane(space: Space, rows: NDArray[np.intp], layout: str, seed: int) -> NDArray[np.float64]:
    """Place the rows (n, 2)."""
    if layout == "pca":
        return space.plane()[rows]
    held_out = space.held_out[rows]
    if layout == "umap":
        from umap import UMAP

        found = UMAP(metric=space.metric, random_state=seed).fit_transform(held_out)
    else:
        most = max(1.0, (len(held_out) - 1) / 3)
        start = "pca" if held_out.shape[1] > 1 else "random"
        found = TSNE(
            perplexity=min(30.0, most), metric=space.metric, init=start, random_state=seed
        ).fit_transform(held_out)
    return np.asarray(found, np.float64)

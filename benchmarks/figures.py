"""Time and memory against the number of rows."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

# Okabe and Ito's colours, told apart by the colour-blind: nearfar has the first of them, solid.
_OURS = ["#0072B2", "#56B4E9", "#009E73", "#000000"]
_OTHERS = ["#D55E00", "#E69F00", "#CC79A7", "#7F7F7F", "#8C564B", "#F0E442"]
_MARKERS = "osD^vP"


def draw(sweeps: list[dict[str, Any]], cap: int, folder: Path) -> list[Path]:
    """One picture a workload; a cross is where memory ran out."""
    drawn = []
    for workload in dict.fromkeys(s["workload"] for s in sweeps):
        curves = [s for s in sweeps if s["workload"] == workload and s["points"]]
        figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
        counts = {True: 0, False: 0}
        for curve in curves:
            ours = curve["candidate"].startswith("nearfar")
            k = counts[ours]
            counts[ours] += 1
            colours = _OURS if ours else _OTHERS
            style = {
                "color": colours[k % len(colours)],
                "marker": _MARKERS[k % len(_MARKERS)],
                "linestyle": "-" if ours else "--",
                "zorder": 3 if ours else 2,
            }
            _curve(axes[0], curve, "seconds", style, 0)
            _curve(axes[1], curve, "MiB", style, cap)
        axes[1].axhline(cap, color="0.6", lw=0.8, zorder=1)
        sizes = sorted({p["rows"] for c in curves for p in c["points"]})
        for axis, label in zip(axes, ("seconds a call", "MiB that a call adds"), strict=True):
            _axis(axis, label, sizes)
        axes[0].set_title(f"{workload}: value and gradient, 128 features, float32", fontsize=9)
        axes[1].set_title(f"× does not fit under {cap / 1024:g} GiB, the line", fontsize=9)
        figure.legend(
            *axes[0].get_legend_handles_labels(), loc="outside right", fontsize=8, frameon=False
        )
        path = folder / f"benchmark-{workload.lower()}.png"
        figure.savefig(path, dpi=120)
        plt.close(figure)
        drawn.append(path)
    return drawn


def _curve(axis: Axes, curve: dict[str, Any], key: str, style: dict[str, Any], cap: int) -> None:
    # Less than 1 MiB is below what a process's counters tell.
    least = 1.0 if key == "MiB" else 0.0
    points = [(p["rows"], max(p[key], least)) for p in curve["points"]]
    axis.plot(*zip(*points, strict=True), lw=1.4, ms=4, label=curve["candidate"], **style)
    if "beyond" in curve:
        rows, value = points[-1]
        at = curve["beyond"], max(value * (curve["beyond"] / rows) ** 2, cap)
        axis.plot(*zip(points[-1], at, strict=True), ":", lw=1, color=style["color"])
        axis.plot(*at, "x", ms=8, mew=2, color=style["color"], zorder=4)


def _axis(axis: Axes, label: str, sizes: list[int]) -> None:
    axis.set(xscale="log", yscale="log", xlabel="rows", ylabel=label)
    axis.set_xticks(sizes[::2], [f"{n:,}" for n in sizes[::2]])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.grid(alpha=0.3, lw=0.6)
    axis.tick_params(labelsize=8)

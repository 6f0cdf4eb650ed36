"""Time and memory against the number of rows."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt


def draw(scaling: dict[str, dict[str, Any]], folder: Path) -> list[Path]:
    """One picture a workload; a cross is where memory ran out."""
    drawn = []
    for name, curves in scaling.items():
        figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
        for candidate, points in curves.items():
            known = [p for p in points if p[1] is not None]
            ended = [p[0] for p in points if p[1] is None]
            for column, axis in enumerate(axes, start=1):
                x, y = [p[0] for p in known], [max(p[column], 0.1**3) for p in known]
                (line,) = axis.plot(x, y, "o-", ms=3, lw=1, label=candidate)
                if ended and y:
                    axis.plot(ended, y[-1:], "x", color=line.get_color())
        for axis, label in zip(axes, ("seconds", "MiB added by a call"), strict=True):
            axis.set(xscale="log", yscale="log", xlabel="rows", ylabel=label)
        axes[0].set_title(f"{name}, value and gradient", fontsize=9)
        axes[1].legend(fontsize=7)
        path = folder / f"benchmark-{name.lower()}.png"
        figure.savefig(path, dpi=110)
        plt.close(figure)
        drawn.append(path)
    return drawn

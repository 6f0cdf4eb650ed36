"""Time and memory of CLIP and SupCon from 10^3 rows on, and a model that tells of 10^6.

    python -m benchmarks.million [--most 262144] [--out million.json] [--figure docs/million.png]

Value and gradient in PyTorch, float32, 64 features, eight rows of a class, `memory=` of 4 MiB, in
which no tile is kept; one thread: seconds that a processor works, which a busy machine changes
little, and what a call adds to the peak of its process. Every size has a process of its own. The
model is a constant, a part that grows with the rows and one that grows with their square, which
memory has not; it is fitted to relative errors. How far it can be believed is what it says of the
largest size when fitted without it. Figures that the file holds already are not measured again.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import matplotlib as mpl
import numpy as np
import typer
from scipy.optimize import nnls

from benchmarks.machine import machine
from benchmarks.results import begun, save
from benchmarks.worker import held, status
from benchmarks.workloads import NOTHING_KEPT

mpl.use("Agg")
import matplotlib.pyplot as plt

FEATURES, PER_CLASS = 64, 8
LEAST, AT = 1024, 2**20
LOSSES = {"CLIP": "#0072B2", "SupCon": "#D55E00"}
POWERS = {"seconds": (0, 1, 2), "MiB": (0, 1)}
LEAST_SECONDS = 0.5
"""That calls of one size take together, so that small ones are taken often."""


def figures(loss: str, n: int) -> dict[str, float]:
    """Of one size, in this process: the fastest call, and MiB that the first one adds."""
    import torch

    import nearfar as nf

    torch.set_num_threads(1)
    statement = getattr(nf, loss)().with_options(memory=NOTHING_KEPT)
    rng = torch.Generator().manual_seed(0)

    def call(n: int) -> tuple[float, float]:
        sides = [torch.randn(n, FEATURES, generator=rng) for _ in range(2 if loss == "CLIP" else 1)]
        leaves = [torch.nn.functional.normalize(x, dim=1).requires_grad_() for x in sides]
        labels = [] if loss == "CLIP" else [torch.randperm(n, generator=rng) // PER_CLASS]
        before = held()
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        start = time.process_time()
        statement(*leaves, *labels).backward()
        seconds = time.process_time() - start
        # The gradients are what a caller asks for: what a call adds to them is counted.
        given = sum(x.grad.nbytes for x in leaves if x.grad is not None) / 2**20
        return seconds, status("VmHWM") - before - given

    call(LEAST // 8)
    seconds, memory = call(n)
    taken = [seconds]
    while sum(taken) < LEAST_SECONDS:
        taken.append(call(n)[0])
    return {"rows": n, "seconds": min(taken), "MiB": memory}


def fitted(points: list[dict[str, float]], key: str) -> np.ndarray:
    """Factors of the powers of n, none below 0."""
    n, y = (np.array([p[k] for p in points]) for k in ("rows", key))
    return nnls(_powers(n, key) / y[:, None], np.ones(len(y)))[0]


def model(factors: np.ndarray, key: str, n: Any) -> np.ndarray:
    return _powers(np.asarray(n), key) @ factors


def _powers(n: np.ndarray, key: str) -> np.ndarray:
    return np.stack([n.astype(float) ** k for k in POWERS[key]], -1)


def errors(points: list[dict[str, float]], key: str) -> tuple[float, float]:
    """The largest relative error of the model, and the error that it makes at the largest size
    when fitted without it."""
    n, y = (np.array([p[k] for p in points]) for k in ("rows", key))
    among = np.abs(model(fitted(points, key), key, n) / y - 1).max()
    last = model(fitted(points[:-1], key), key, n[-1]) / y[-1] - 1
    return float(among), float(last)


def draw(found: dict[str, list[dict[str, float]]], path: Path) -> None:
    figure, axes = plt.subplots(
        2, 2, figsize=(9, 5), sharex=True, layout="constrained", height_ratios=(3, 1)
    )
    units = {"seconds": "seconds of one core", "MiB": "MiB beyond inputs and gradients"}
    for (key, unit), (above, below) in zip(units.items(), axes.T, strict=True):
        for loss, colour in LOSSES.items():
            points = found[loss]
            factors, line = fitted(points, key), np.geomspace(LEAST, AT, 100)
            n, y = (np.array([p[k] for p in points]) for k in ("rows", key))
            above.plot(line, model(factors, key, line), color=colour, lw=1.2)
            above.plot(n, y, "o", color=colour, ms=5, label=loss)
            below.plot(n, 100 * (model(factors, key, n) / y - 1), "o-", color=colour, ms=4, lw=0.8)
        above.set(xscale="log", yscale="log", ylabel=unit)
        below.set(xlabel="rows", ylabel="error, %")
        below.axhline(0, color="0.5", lw=0.8)
        for axis in (above, below):
            axis.grid(alpha=0.3, lw=0.6)
    axes[0, 0].legend(frameon=False)
    axes[0, 0].set_title("Value and gradient, 64 features: points measured", fontsize=9)
    axes[0, 1].set_title("lines: the model, drawn to $2^{20}$ rows", fontsize=9)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(
    most: Annotated[int, typer.Option(help="Rows of the largest size measured.")] = 2**18,
    out: Annotated[Path, typer.Option(help="Where the figures go, as JSON.")] = Path(
        "million.json"
    ),
    figure: Annotated[Path | None, typer.Option(help="A picture of both models.")] = None,
) -> None:
    """Measure each size that `out` does not hold yet, and fit the model."""
    results = begun({"machine": machine(1), "figures": {loss: [] for loss in LOSSES}}, out)
    sizes = [2**k for k in range(LEAST.bit_length() - 1, most.bit_length())]
    for n in sizes:
        for loss in LOSSES:
            found = results["figures"][loss]
            if n in [p["rows"] for p in found]:
                continue
            script = (
                "import json; from benchmarks.million import figures; "
                f"print(json.dumps(figures({loss!r}, {n})))"
            )
            told = subprocess.run(
                [sys.executable, "-c", script], check=True, stdout=subprocess.PIPE, text=True
            )
            found.append(json.loads(told.stdout))
            print(loss, found[-1], flush=True)
            found.sort(key=lambda p: p["rows"])
            save(results, out)
    for loss, found in results["figures"].items():
        for key in POWERS:
            among, last = errors(found, key)
            print(
                f"{loss}, {key}: "
                + " + ".join(
                    f"{c:.3g} n^{k}" for c, k in zip(fitted(found, key), POWERS[key], strict=True)
                )
                + f"; within {among:.0%} of what was measured; of {found[-1]['rows']:,} rows, "
                f"fitted without them, {last:+.0%}; {AT:,} rows: "
                f"{model(fitted(found, key), key, AT):.4g}"
            )
    if figure:
        draw(results["figures"], figure)


if __name__ == "__main__":
    typer.run(main)

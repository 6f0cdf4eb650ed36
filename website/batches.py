"""A small batch for every family of losses, to draw and to show calls with."""

from typing import Any

import numpy as np


def batch(loss: Any) -> dict[str, np.ndarray]:
    """Inputs by name; rows of three groups, some near and some not."""
    rng = np.random.default_rng(5)
    centres = rng.normal(size=(4, 6)) * 1.6
    groups = np.repeat(np.arange(4), 3)
    rows = centres[groups] + rng.normal(size=(12, 6))
    near = rows + 0.7 * rng.normal(size=rows.shape)
    far = rows[::-1] + rng.normal(size=rows.shape)
    known = {
        "a": rows[:6], "b": near[:6], "x": rows, "y": near, "embeddings": rows,
        "labels": groups, "proxies": centres, "targets": np.linspace(0, 5, 12).round(1),
        "query": rows, "positive": near, "anchor": rows, "negative": far,
    }  # fmt: skip
    if getattr(loss, "several_centres", False):
        known["proxies"] = np.stack([centres, centres + rng.normal(size=centres.shape)], axis=1)
    if loss.stated("weights") == "given":
        known["targets"] = np.exp(-np.abs(groups[:, None] - groups[None, :]).astype(float))
    required = [name for name in loss.inputs if name not in loss.optional]
    missing = [name for name in required if name not in known]
    if missing:
        raise ValueError(
            f"{type(loss).__name__}: website/batches.py has no input named {', '.join(missing)}"
        )
    return {name: known[name] for name in required}


SHAPES = {
    "a": "(N, d)", "b": "(N, d)", "x": "(N, d)", "y": "(N, d)", "embeddings": "(n, d)",
    "labels": "(n,)", "targets": "(n,)", "query": "(N, d)", "positive": "(N, d)",
    "proxies": "(C, d)", "anchor": "(N, d)", "negative": "(N, d)",
}  # fmt: skip

"""The similarities of a batch as a picture, with each anchor's share of the gradient."""

from typing import Any

import numpy as np

from nearfar.explain.relations import Array, Relations
from nearfar.extras import imported

CELLS = 400
_NAMED = 24  # so many rows have room for their names
_NOT_COMPARED, _LEFT_OUT, _NEGATIVE, _POSITIVE = range(4)


def draw(facts: dict[str, Any], pull: Array, relations: Relations, memory: int, axes: Any) -> Any:
    """The figure of an explanation's parts; see `Explanation.plot`."""
    plt = imported("matplotlib.pyplot", "plot", "cli")
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    if axes is None:
        _, axes = plt.subplots(
            1, 2, figsize=(9, 6.2), width_ratios=(4, 1), sharey=True, layout="constrained"
        )
    image, share = axes
    rows, columns = cell_numbers(relations)
    means, kinds = cells(relations, rows, columns, memory)
    known = kinds != _NOT_COMPARED
    low, high = (float(f(means[known])) if known.any() else 0.0 for f in (np.min, np.max))
    scale = Normalize(low, high if high > low else low + 1)
    colours = np.full((*means.shape, 3), 0.88)
    for kind, name in ((_LEFT_OUT, "Greens"), (_NEGATIVE, "Oranges"), (_POSITIVE, "Blues")):
        of_kind = kinds == kind
        # From a tint on, so that a far pair is not taken for a white page.
        tints = plt.get_cmap(name)(0.12 + 0.8 * scale(means[of_kind]))
        colours[of_kind] = np.asarray(tints)[..., :3]
    extent = (0, max(1, len(relations.candidates.rows)), len(relations.anchors.rows), 0)
    image.imshow(colours, extent=extent, aspect="auto", interpolation="nearest")
    sort = "" if np.array_equal(relations.order, np.sort(relations.order)) else ", sorted"
    image.set_xlabel(f"candidates{sort}")
    image.set_ylabel(f"anchors{sort}")
    left_out = "green: left out, " if facts["left_out"] else ""
    legend = f"blue: positives, orange: negatives, {left_out}grey: not compared"
    image.set_title(legend, fontsize=10)
    what = "distance, negative" if "distance" in facts["loss"] else "similarity"
    bar = image.figure.colorbar(
        ScalarMappable(scale, "Greys"), ax=image, location="bottom", shrink=0.5, pad=0.02
    )
    bar.set_label(f"{what} (the darker the nearer)", fontsize=9)

    edges = np.arange(rows.max() + 2) * (len(rows) / (rows.max() + 1))
    sums = np.bincount(rows, weights=pull[relations.order])
    share.barh(edges[:-1], 100 * sums, height=np.diff(edges), align="edge", color="0.35")
    each = "anchor" if len(sums) == len(rows) else f"{len(rows) / len(sums):.0f} anchors"
    share.set_xlabel(f"gradient, %\nper {each}")
    share.set_xlim(0, None)
    if len(rows) <= _NAMED:
        ticks = np.arange(len(rows)) + 0.5
        image.set_yticks(ticks, [relations.anchors.name(k) for k in relations.order], fontsize=8)
    image.figure.suptitle(
        f"{facts['loss']['loss']}: {facts['value']:.4g} (chance {facts['chance']:.4g})"
    )
    return image.figure


def cell_numbers(relations: Relations) -> tuple[Array, Array]:
    """Which cell each ordered anchor, and each ordered candidate, belongs to."""
    return tuple(  # type: ignore[return-value]
        np.arange(n) * min(n, CELLS) // n
        for n in (len(relations.anchors.rows), len(relations.candidates.rows))
    )


def cells(relations: Relations, rows: Array, columns: Array, memory: int) -> tuple[Array, Array]:
    """Mean similarity of each cell's most telling pairs, and what they are."""
    if not len(columns):  # an empty reference
        blank = np.zeros((rows.max() + 1, 1))
        return blank, blank.astype(int) + _NOT_COMPARED
    shape = rows.max() + 1, columns.max() + 1
    sums = np.zeros((4, *shape))
    counts = np.zeros((4, *shape))
    across = relations.order if relations.same_rows else np.arange(len(columns))
    edges = np.flatnonzero(np.diff(columns, prepend=-1))
    start = 0
    for tile in relations.blocks(memory, relations.order):
        cell = rows[start : start + len(tile.rows)]
        start += len(tile.rows)
        left_out = sum(tile.left_out.values(), np.zeros_like(tile.negatives))
        of_kinds = {
            _LEFT_OUT: left_out,
            _NEGATIVE: tile.negatives,
            _POSITIVE: tile.positives,
        }
        for kind, mask in of_kinds.items():
            mask = mask[:, across]
            values = np.where(mask, tile.logits[:, across], 0.0)
            np.add.at(sums[kind], cell, np.add.reduceat(values, edges, axis=1))
            np.add.at(counts[kind], cell, np.add.reduceat(mask.astype(float), edges, axis=1))
    # Positives are few and would be lost among the others of their cell.
    more = np.where(counts[_LEFT_OUT] > counts[_NEGATIVE], _LEFT_OUT, _NEGATIVE)
    none = counts[_LEFT_OUT] + counts[_NEGATIVE] == 0
    kinds = np.where(counts[_POSITIVE] > 0, _POSITIVE, np.where(none, _NOT_COMPARED, more))
    picked, number = (np.take_along_axis(x, kinds[None], axis=0)[0] for x in (sums, counts))
    return relations.temperature * picked / np.maximum(number, 1), kinds

"""How near the held-out rows are to their own class: the measures and the table of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

from nearfar import metrics
from nearfar.cli.halves import Halves
from nearfar.cli.model import NEIGHBOURS


@dataclass(frozen=True)
class Space:
    """Both parts in one space, where ``metric`` tells near from far."""

    train: NDArray[np.float64]
    held_out: NDArray[np.float64]
    metric: str
    seconds: float  # it took to learn

    def plane(self) -> NDArray[np.float64]:
        """Project the held-out rows on the training rows' two principal components (n, 2).

        As ``metric`` sees them: under cosine, directions. The held-out rows choose nothing: a
        feature that hardly varied in training would let a single one of them take the whole plane.
        """
        train, held_out = self.train, self.held_out
        if self.metric == "cosine":
            train, held_out = normalize(train), normalize(held_out)
        pca = PCA(min(2, *train.shape)).fit(train)
        plane = pca.transform(held_out)
        return np.pad(plane, ((0, 0), (0, 2 - plane.shape[1])))  # one dimension: on a line


@dataclass(frozen=True)
class Scores:
    """One row of the table."""

    knn3: float
    recall1: float
    map_at_r: float
    alignment: float
    uniformity: float
    dimensions: int
    seconds: float


def score(space: Space, halves: Halves) -> Scores:
    """Measure the held-out part; only ``knn3`` looks up its neighbours in the training part."""
    rows, labels, metric = space.held_out, halves.held_out_y, space.metric
    return Scores(
        knn3=metrics.knn_accuracy(
            rows, labels, space.train, halves.train_y, k=NEIGHBOURS, metric=metric
        ),
        recall1=metrics.recall_at_k(rows, labels, k=1, metric=metric),
        map_at_r=metrics.map_at_r(rows, labels, metric=metric),
        alignment=metrics.alignment(rows, labels),
        uniformity=metrics.uniformity(rows),
        dimensions=rows.shape[1],
        seconds=round(space.seconds, 3),
    )


def print_table(
    console: Console, name: str, halves: Halves, rows: dict[str, Scores], metric: str
) -> None:
    """Print what was measured; ``metric`` is that of the learned space."""
    train, held_out = len(halves.train_y), len(halves.held_out_y)
    table = Table(
        title=f"{name}: {held_out} held-out rows, {len(halves.classes)} classes",
        caption=(
            f"3-NN: neighbours among the {train} training rows; all else within the held-out part. "
            f"Distances: Euclidean{'' if metric == 'euclidean' else f', learned {metric}'}. "
            "Alignment and uniformity on unit rows, lower is better."
        ),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        collapse_padding=True,
    )
    table.add_column("space", no_wrap=True)
    for heading in (
        "3-NN accuracy", "recall@1", "MAP@R", "alignment", "uniformity", "dimensions", "seconds",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    for heading, scores in rows.items():
        table.add_row(
            heading,
            *(f"{value:.3f}" for value in (scores.knn3, scores.recall1, scores.map_at_r)),
            f"{scores.alignment:.3f}",
            f"{scores.uniformity:.3f}",
            str(scores.dimensions),
            f"{scores.seconds:.1f}",
        )
    console.print(table)

"""Pairs of two kinds: how often the partner of a row is the nearest of the other side."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.cli.report.scores import Scores, measure
from nearfar.metrics import recall_at_k


@dataclass(frozen=True)
class PairScores(Scores):
    """Recall@1 both ways, in [0, 1]."""

    x_to_y: float = measure("R@1 X-to-Y", telling=True)
    y_to_x: float = measure("R@1 Y-to-X", telling=True)

    @property
    def mean(self) -> float:
        return (self.x_to_y + self.y_to_x) / 2


@dataclass(frozen=True)
class MeasuredPairs:
    """One row of the table; chance has no dimensions."""

    scores: PairScores
    dimensions: int | None = None
    seconds: float = 0.0
    probe: None = None

    def report(self) -> dict[str, Any]:
        """Give everything for metrics.json."""
        if self.dimensions is None:
            return asdict(self.scores)
        about = {"dimensions": self.dimensions, "seconds": round(self.seconds, 3)}
        return asdict(self.scores) | about


def recall(x: NDArray[np.float64], y: NDArray[np.float64], metric: str) -> PairScores:
    """Measure embeddings of matched rows (n, k), each side among the n rows of the other."""
    ids = np.arange(len(x))
    return PairScores(
        recall_at_k(x, ids, y, ids, k=1, metric=metric),
        recall_at_k(y, ids, x, ids, k=1, metric=metric),
    )


def chance(n: int) -> PairScores:
    """What guessing among n rows gives."""
    return PairScores(1 / n, 1 / n)

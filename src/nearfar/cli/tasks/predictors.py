"""What its nearest training rows say about a new row: the vote of 3 or the mean of 15."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Predictions = dict[str, NDArray[Any]]


class Predictor(ABC):
    """The training rows' labels or targets, and what is made of those of a row's neighbours."""

    kind: ClassVar[str]  # of the rows, as the losses call it
    neighbours: ClassVar[int]

    @abstractmethod
    def columns(self, nearest: NDArray[np.intp]) -> Predictions:
        """Turn positions of training rows (n, neighbours) into columns (n,) by their names."""

    @abstractmethod
    def reference_y(self) -> NDArray[Any]:
        """Give what the training rows' labels or targets are (n,), as a task has them."""

    @abstractmethod
    def gist(self, columns: Predictions) -> str:
        """Sum such columns up in a few words."""


@dataclass(frozen=True)
class Vote(Predictor):
    """The label most neighbours have, with their share; of tied labels the one that sorts first.

    As `nearfar.metrics.knn_accuracy` has it.
    """

    kind: ClassVar[str] = "labels"
    neighbours: ClassVar[int] = 3

    reference_labels: NDArray[np.intp]  # (n,) positions in classes
    classes: NDArray[Any]

    def winners(self, nearest: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Positions of the labels in ``classes``, and the shares of the neighbours (n,)."""
        labels = self.reference_labels[nearest]  # (n, neighbours)
        votes = (labels[:, :, None] == labels[:, None, :]).sum(axis=2)  # (n, neighbours)
        most = votes.max(axis=1)  # (n,)
        winners = np.where(votes == most[:, None], labels, len(self.classes)).min(axis=1)  # (n,)
        return winners, most / self.neighbours

    def columns(self, nearest: NDArray[np.intp]) -> Predictions:
        winners, share = self.winners(nearest)
        return {"label": self.classes[winners], "agreement": share.round(4)}

    def reference_y(self) -> NDArray[np.intp]:
        return self.reference_labels

    def gist(self, columns: Predictions) -> str:
        return f"mean agreement {columns['agreement'].mean():.3f}"


@dataclass(frozen=True)
class Mean(Predictor):
    """The mean of the neighbours' targets, as `nearfar.metrics.knn_r2` has it."""

    kind: ClassVar[str] = "targets"
    neighbours: ClassVar[int] = 15

    reference_targets: NDArray[np.float64]  # (n,)

    def columns(self, nearest: NDArray[np.intp]) -> Predictions:
        return {"target": self.reference_targets[nearest].mean(axis=1)}

    def reference_y(self) -> NDArray[np.float64]:
        return self.reference_targets

    def gist(self, columns: Predictions) -> str:
        target = columns["target"]
        return f"targets from {target.min():.6g} to {target.max():.6g}"


PREDICTORS: dict[str, type[Vote] | type[Mean]] = {Vote.kind: Vote, Mean.kind: Mean}


def nearest_rows(
    reference: NDArray[np.float64], rows: NDArray[np.float64], k: int, metric: str
) -> NDArray[np.intp]:
    """Find the positions of the k reference rows nearest to each row (n, k)."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=k, metric=metric).fit(reference)
    found: NDArray[np.intp] = search.kneighbors(rows, return_distance=False)
    return found

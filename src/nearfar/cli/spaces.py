"""The spaces that are compared: raw features, PCA, the learned projection."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize


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

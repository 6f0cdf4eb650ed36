"""What learning gave: a map, and both parts embedded by it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.cli.maps import Map
from nearfar.cli.spaces import Space


@dataclass(frozen=True)
class Learned:
    """A map, the loss it was learned by, and what happened, for metrics.json."""

    map: Map
    train: NDArray[np.float64]
    held_out: NDArray[np.float64]
    loss: Any
    seconds: float
    outcome: dict[str, Any]

    def space(self) -> Space:
        """Compare embeddings as the loss does."""
        compared = (getattr(self.loss, name, None) for name in ("similarity", "distance"))
        metric = "cosine" if "cosine" in compared else "euclidean"
        return Space(self.train, self.held_out, metric, self.seconds)

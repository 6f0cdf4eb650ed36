"""``model.npz``: a learned projection with the reference it finds neighbours in."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nearfar import __version__
from nearfar.cli.errors import BadInput
from nearfar.cli.files import read_npz

NEIGHBOURS = 3
_ARRAYS = (
    "mean", "scale", "components", "intercept", "reference", "reference_labels", "classes",
)  # fmt: skip
_FORMAT = "nearfar model 1"
_REMEDY = "make a model with nearfar fit"


@dataclass(frozen=True)
class Model:
    """A projection of standardised features, and the training rows embedded by it."""

    mean: NDArray[np.float64]  # (d,)
    scale: NDArray[np.float64]  # (d,)
    components: NDArray[np.float64]  # (k, d)
    intercept: NDArray[np.float64]  # (k,)
    reference: NDArray[np.float64]  # (n, k)
    reference_labels: NDArray[np.intp]  # (n,) positions in classes
    classes: NDArray[Any]
    metric: str  # the distance the loss compares embeddings by
    loss: dict[str, Any]
    columns: tuple[str, ...] | None = None
    label: str | None = None

    def embed(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Embed rows (n, d) as (n, k); their lengths are kept, whatever the metric."""
        if X.shape[1] != len(self.mean):
            raise BadInput(
                f"DATA has {X.shape[1]} features, the model was made for {len(self.mean)}; "
                "give the columns it was fitted on"
            )
        Z: NDArray[np.float64] = ((X - self.mean) / self.scale) @ self.components.T
        return Z + self.intercept

    def predict(self, X: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Label rows by a vote of their nearest neighbours in the reference, with the share won.

        Of tied labels the one that sorts first wins, as in `nearfar.metrics.knn_accuracy`.
        """
        from sklearn.neighbors import NearestNeighbors

        search = NearestNeighbors(n_neighbors=NEIGHBOURS, metric=self.metric).fit(self.reference)
        nearest = search.kneighbors(self.embed(X), return_distance=False)
        labels = self.reference_labels[nearest]  # (n, NEIGHBOURS)
        votes = (labels[:, :, None] == labels[:, None, :]).sum(axis=2)  # (n, NEIGHBOURS)
        most = votes.max(axis=1)  # (n,)
        winners = np.where(votes == most[:, None], labels, len(self.classes)).min(axis=1)  # (n,)
        return self.classes[winners], most / NEIGHBOURS

    def save(self, path: Path) -> None:
        """Write arrays and JSON, nothing that needs unpickling."""
        record = {
            "format": _FORMAT,
            "nearfar": __version__,
            "loss": self.loss,
            "metric": self.metric,
            "columns": self.columns,
            "label": self.label,
        }
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        np.savez(path, record=np.array(json.dumps(record)), **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read ``model.npz`` or the folder it is in."""
        if path.is_dir():
            path = path / "model.npz"
        arrays = read_npz(path, ("record", *_ARRAYS), _REMEDY)
        try:
            record = json.loads(str(arrays.pop("record")))
            found, columns = record["format"], record.get("columns")
        except (ValueError, TypeError, KeyError) as error:
            raise BadInput(f"{path} is no nearfar model; {_REMEDY}") from error
        if found != _FORMAT:
            raise BadInput(f"{path} is a '{found}', expected a '{_FORMAT}'; {_REMEDY}")
        return cls(
            **arrays,
            metric=record["metric"],
            loss=record["loss"],
            columns=None if columns is None else tuple(columns),
            label=record["label"],
        )

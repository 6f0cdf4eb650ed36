"""``model.npz``: a learned projection with the reference it finds neighbours in."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nearfar import __version__
from nearfar.cli.answers import ANSWERS, Answer, Columns, nearest_rows
from nearfar.cli.errors import BadInput, listed
from nearfar.cli.files import read_npz

_ARRAYS = ("mean", "scale", "components", "intercept", "reference")
_FORMAT = "nearfar model 2"
_REMEDY = "make a model with nearfar fit"


@dataclass(frozen=True)
class Model:
    """A projection of standardised features, and the training rows embedded by it."""

    mean: NDArray[np.float64]  # (d,)
    scale: NDArray[np.float64]  # (d,)
    components: NDArray[np.float64]  # (k, d)
    intercept: NDArray[np.float64]  # (k,)
    reference: NDArray[np.float64]  # (n, k)
    answer: Answer  # of the n rows of the reference
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

    def predict(self, X: NDArray[np.float64]) -> Columns:
        """Answer for rows by their nearest neighbours in the reference."""
        k = self.answer.neighbours
        nearest = nearest_rows(self.reference, self.embed(X), k, self.metric)
        return self.answer.columns(nearest)

    def save(self, path: Path) -> None:
        """Write arrays and JSON, nothing that needs unpickling."""
        record = {
            "format": _FORMAT,
            "nearfar": __version__,
            "kind": self.answer.kind,
            "loss": self.loss,
            "metric": self.metric,
            "columns": self.columns,
            "label": self.label,
        }
        arrays = {name: getattr(self, name) for name in _ARRAYS} | vars(self.answer)
        np.savez(path, record=np.array(json.dumps(record)), **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read ``model.npz`` or the folder it is in."""
        if path.is_dir():
            path = path / "model.npz"
        # The record first: other formats may have other arrays, and are told from damage by it.
        record = _record(read_npz(path, ["record"], _REMEDY)["record"], path)
        answer = ANSWERS[record["kind"]]
        own = [field.name for field in fields(answer)]
        arrays = read_npz(path, (*_ARRAYS, *own), _REMEDY)
        columns = record["columns"]
        return cls(
            answer=answer(**{name: arrays.pop(name) for name in own}),
            **arrays,
            metric=record["metric"],
            loss=record["loss"],
            columns=None if columns is None else tuple(columns),
            label=record["label"],
        )


def _record(text: NDArray[Any], path: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(str(text))
        found, kind = record["format"], record.get("kind")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput(f"{path} is no nearfar model; {_REMEDY}") from error
    if found != _FORMAT:
        raise BadInput(f"{path} is a '{found}', expected a '{_FORMAT}'; {_REMEDY}")
    if kind not in ANSWERS:
        raise BadInput(
            f"{path} is a model of '{kind}', expected {listed(list(ANSWERS))}; {_REMEDY}"
        )
    return record

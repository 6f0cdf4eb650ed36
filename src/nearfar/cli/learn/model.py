"""``model.npz``: a learned map with the reference it finds neighbours in."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nearfar import __version__
from nearfar.cli.errors import BadInput, listed
from nearfar.cli.files import read_npz
from nearfar.cli.learn.maps import MAPS, Map
from nearfar.cli.tasks.predictors import PREDICTORS, Columns, Predictor, nearest_rows

_FORMAT = "nearfar model 3"
_REMEDY = "make a model with nearfar fit"


@dataclass(frozen=True)
class Model:
    """A map, and the training rows embedded by it."""

    map: Map
    reference: NDArray[np.float64]  # (n, k)
    answer: Predictor  # of the n rows of the reference
    metric: str  # the distance the loss compares embeddings by
    loss: dict[str, Any]
    columns: tuple[str, ...] | None = None
    label: str | None = None

    def embed(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Embed rows (n, d) as (n, k); their lengths are kept, whatever the metric."""
        if X.shape[1] != self.map.features:
            raise BadInput(
                f"DATA has {X.shape[1]} features, the model was made for {self.map.features}; "
                "give the columns it was fitted on"
            )
        return self.map.embed(X)

    def predict(self, X: NDArray[Any]) -> Columns:
        """Predictor for rows by their nearest neighbours in the reference."""
        k = self.answer.neighbours
        nearest = nearest_rows(self.reference, self.embed(X), k, self.metric)
        return self.answer.columns(nearest)

    def save(self, path: Path) -> None:
        """Write arrays and JSON, nothing that needs unpickling."""
        record = {
            "format": _FORMAT,
            "nearfar": __version__,
            "kind": self.answer.kind,
            "map": {"kind": self.map.kind} | self.map.record(),
            "loss": self.loss,
            "metric": self.metric,
            "columns": self.columns,
            "label": self.label,
        }
        arrays = {"reference": self.reference} | vars(self.answer) | self.map.arrays()
        np.savez(path, record=np.array(json.dumps(record)), **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read ``model.npz`` or the folder it is in."""
        if path.is_dir():
            path = path / "model.npz"
        # The record first: other formats may have other arrays, and are told from damage by it.
        record = _record(read_npz(path, ["record"], _REMEDY)["record"], path)
        answer, learned = PREDICTORS[record["kind"]], record["map"]
        own = [field.name for field in fields(answer)]
        arrays = read_npz(path, ("reference", *own, *learned["arrays"]), _REMEDY)
        columns = record["columns"]
        try:
            found = MAPS[learned["kind"]].of(learned, {n: arrays[n] for n in learned["arrays"]})
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise BadInput(f"{path} is damaged ({error}); {_REMEDY}") from error
        return cls(
            map=found,
            reference=arrays["reference"],
            answer=answer(**{name: arrays[name] for name in own}),
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
    if kind not in PREDICTORS:
        raise BadInput(
            f"{path} is a model of '{kind}', expected {listed(list(PREDICTORS))}; {_REMEDY}"
        )
    learned = record.get("map", {}).get("kind")
    if learned not in MAPS:
        raise BadInput(f"{path} has a map '{learned}', expected {listed(list(MAPS))}; {_REMEDY}")
    return record

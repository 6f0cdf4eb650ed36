"""``model.npz``: a learned map with the reference it finds neighbours in."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nearfar import __version__
from nearfar.cli.data.columns import Columns
from nearfar.cli.data.reading import LabelledData, read_features, read_labelled
from nearfar.cli.data.tables import is_table
from nearfar.cli.errors import BadInput, listed
from nearfar.cli.files import read_npz
from nearfar.cli.learn.maps import MAPS, Map
from nearfar.cli.learn.split import filled
from nearfar.cli.options import ColumnOptions
from nearfar.cli.tasks.predictors import PREDICTORS, Predictions, Predictor, nearest_rows

FORMAT = "nearfar model 4"
_REMEDY = "make a model with nearfar fit"


@dataclass(frozen=True)
class Model:
    """A map, and the training rows embedded by it."""

    map: Map
    reference: NDArray[np.float64]  # (n, k)
    predictor: Predictor  # of the n rows of the reference
    metric: str  # the distance the loss compares embeddings by
    loss: dict[str, Any]
    fill: NDArray[np.float64] | None = None  # what holes are filled with (d,)
    columns: Columns | None = None
    left_out: tuple[str, ...] = ()  # columns that may stand beside them
    label: str | None = None

    def rows(self, source: str) -> NDArray[Any]:
        """Read rows to embed."""
        ignored = self.left_out if self.label is None else (*self.left_out, self.label)
        return read_features(
            source, self.columns, ignored, self.map.shape, holes=self.fill is not None
        )

    def labelled_rows(self, source: str, label: str | None) -> LabelledData:
        """Read rows to be scored; a table's labels are in the model's column, or in another."""
        named = label or self.label if is_table(Path(source)) else label
        return read_labelled(
            source,
            named,
            self.columns or ColumnOptions(),
            shape=self.map.shape,
            missing=None if self.fill is None else "median",
        )

    def embed(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Embed rows (n, d) as (n, k); their lengths are kept, whatever the metric."""
        if X.shape[1] != self.map.features:
            raise BadInput(
                f"DATA has {X.shape[1]} features, the model was made for {self.map.features}; "
                "give the columns it was fitted on"
            )
        return self.map.embed(X if self.fill is None else filled(X, self.fill))

    def predict(self, X: NDArray[Any]) -> Predictions:
        """Predict labels or targets of rows by their nearest neighbours in the reference."""
        k = self.predictor.neighbours
        nearest = nearest_rows(self.reference, self.embed(X), k, self.metric)
        return self.predictor.columns(nearest)

    def save(self, path: Path) -> None:
        """Write arrays and JSON, nothing that needs unpickling."""
        columns = self.columns
        record = {
            "format": FORMAT,
            "nearfar": __version__,
            "kind": self.predictor.kind,
            "map": {"kind": self.map.kind} | self.map.record(),
            "loss": self.loss,
            "metric": self.metric,
            "fills": self.fill is not None,
            "columns": None if columns is None else columns.names,
            "categories": {} if columns is None else columns.categories,
            "left_out": self.left_out,
            "label": self.label,
        }
        arrays = {"reference": self.reference} | vars(self.predictor) | self.map.arrays()
        if self.fill is not None:
            arrays["fill"] = self.fill
        np.savez(path, record=np.array(json.dumps(record)), **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read ``model.npz`` or the folder it is in."""
        if path.is_dir():
            path = path / "model.npz"
        # The record first: other formats may have other arrays, and are told from damage by it.
        record = _record(read_npz(path, ["record"], _REMEDY)["record"], path)
        predictor, learned = PREDICTORS[record["kind"]], record["map"]
        own = [field.name for field in fields(predictor)]
        fill = ["fill"] if record.get("fills") else []
        arrays = read_npz(path, ("reference", *fill, *own, *learned["arrays"]), _REMEDY)
        names, words = record["columns"], record["categories"]
        try:
            found = MAPS[learned["kind"]].of(learned, {n: arrays[n] for n in learned["arrays"]})
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise BadInput(f"{path} is damaged ({error}); {_REMEDY}") from error
        return cls(
            map=found,
            reference=arrays["reference"],
            predictor=predictor(**{name: arrays[name] for name in own}),
            metric=record["metric"],
            loss=record["loss"],
            fill=arrays.get("fill"),
            columns=None
            if names is None
            else Columns(tuple(names), {name: tuple(words[name]) for name in words}),
            left_out=tuple(record["left_out"]),
            label=record["label"],
        )


def _record(text: NDArray[Any], path: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(str(text))
        found, kind = record["format"], record.get("kind")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput(f"{path} is no nearfar model; {_REMEDY}") from error
    if found != FORMAT:
        raise BadInput(f"{path} is a '{found}', expected a '{FORMAT}'; {_REMEDY}")
    if kind == "pairs":
        raise BadInput(
            f"{path} holds the two maps of pairs, and this command takes one; apply them in NumPy, "
            "as README.md beside it says"
        )
    if kind not in PREDICTORS:
        raise BadInput(
            f"{path} is a model of '{kind}', expected {listed(list(PREDICTORS))}; {_REMEDY}"
        )
    learned = record.get("map", {}).get("kind")
    if learned not in MAPS:
        raise BadInput(f"{path} has a map '{learned}', expected {listed(list(MAPS))}; {_REMEDY}")
    return record

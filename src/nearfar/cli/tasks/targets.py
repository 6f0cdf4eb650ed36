"""Rows of numeric targets: a random split, neighbours that are averaged."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nearfar.cli.data.arrays import LARGEST, unusable
from nearfar.cli.data.reading import LabelledData
from nearfar.cli.errors import BadInput
from nearfar.cli.report.colouring import ByNumber
from nearfar.cli.report.scores import Probe, Scores, Space, measure
from nearfar.cli.tasks.base import Least, Task
from nearfar.cli.tasks.losses import option_for
from nearfar.cli.tasks.predictors import Mean, Predictor, nearest_rows
from nearfar.html import table

_MOST_TOLD = 10  # rows


@dataclass(frozen=True)
class TargetScores(Scores):
    """How well the neighbours' mean predicts the held-out targets."""

    knn_r2: float = measure(f"{Mean.neighbours}-NN R2", telling=True)
    spearman: float = measure("Spearman", telling=True)


@dataclass(frozen=True)
class Targets(Task):
    """The target of every row."""

    what: ClassVar[str] = "target"

    y: NDArray[np.float64]
    name: str

    @classmethod
    def of(cls, data: LabelledData) -> Self:
        y = _as_numbers(data)
        bad = unusable(y)
        if bad.any():
            row = int(bad.argmax())
            raise BadInput(
                f"{data.place(row)} is {y[row]}, expected a number below {LARGEST:g}; "
                "replace it or drop the row"
            )
        if (y == y[0]).all():
            raise BadInput(f"{data.name}: every row has the target {y[0]:g}; give ones that differ")
        return cls(y, data.label or "target")

    @classmethod
    def beside(cls, known: Predictor, data: LabelledData) -> Self:
        return cls.of(data)

    def strata(self) -> None:
        return None

    def least(self) -> tuple[Least, Least]:
        """With as many training rows as neighbours all predictions would be the same."""
        k = Mean.neighbours
        return (
            Least(k + 1, f"{k + 1}, one more than the {k} neighbours of a prediction"),
            Least(2, "the 2 that a correlation is of"),
        )

    def trouble(self, y: NDArray[np.float64]) -> str | None:
        if (y == y[0]).all():
            return f"the target {y[0]:g} only; add rows or choose another --seed"
        return None

    def summary(self) -> str:
        return f"targets from {self.y.min():.6g} to {self.y.max():.6g}"

    def settings(self) -> dict[str, Any]:
        return {"target_min": float(self.y.min()), "target_max": float(self.y.max())}

    def score(self, space: Space, train_y: NDArray[Any], held_out_y: NDArray[Any]) -> TargetScores:
        predicted = self.predicted(space, train_y)[1]
        places = _places(predicted)
        ordered = places.any()  # else no correlation is defined, and nothing is ordered
        return TargetScores(
            knn_r2=float(r2_score(held_out_y, predicted)),
            spearman=float(spearmanr(held_out_y, places).statistic) if ordered else 0.0,
        )

    def headline(self, space: Space, train_y: NDArray[Any], held_out_y: NDArray[Any]) -> float:
        return float(r2_score(held_out_y, self.predicted(space, train_y)[1]))

    def predicted(
        self, space: Space, train_y: NDArray[Any]
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        nearest = nearest_rows(space.train, space.held_out, Mean.neighbours, space.metric)
        return nearest, self.predictor(train_y).columns(nearest)["target"]

    def told(self, y: NDArray[np.float64]) -> list[str]:
        return [f"{target:.6g}" for target in y]

    def mistakes(
        self, truth: NDArray[np.float64], predicted: NDArray[np.float64], rows: list[str]
    ) -> tuple[str, list[Any]]:
        from nearfar.cli.report import interactive  # Bokeh takes a second to import

        off = np.abs(predicted - truth)
        worst = np.argsort(-off)[:_MOST_TOLD]
        told = [(rows[k], *self.told(np.array([truth[k], predicted[k]]))) for k in worst]
        figure = interactive.predicted(truth, predicted, rows)
        return "Predictions", [figure, table(told, ("farthest off", "true", "predicted"))]

    def probe(self, space: Space, train_y: NDArray[Any], held_out_y: NDArray[Any]) -> Probe:
        model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 4, 15)))
        model.fit(space.train, train_y)
        score = float(model.score(space.held_out, held_out_y))
        return Probe("probe R2", f"ridge regression on {len(train_y)} training rows", score)

    def few(self, train_y: NDArray[Any], labels: int | None, seed: int) -> NDArray[np.intp]:
        order = np.random.default_rng(seed).permutation(len(train_y))
        return np.sort(order[:labels])

    def caption(self, train_rows: int) -> str:
        return (
            f"Predictions: the mean target of the {Mean.neighbours} nearest among the {train_rows} "
            "training rows. Spearman: rank correlation of predictions and held-out targets."
        )

    def colouring(self, held_out_y: NDArray[np.float64]) -> ByNumber:
        return ByNumber(held_out_y, self.name)

    def predictor(self, train_y: NDArray[np.float64]) -> Mean:
        return Mean(train_y)


def _places(x: NDArray[np.float64]) -> NDArray[np.intp]:
    """Where each entry stands in ascending order, equal ones together, for rank correlations.

    Means of other rows that are one number may differ by what their sums were rounded.
    """
    order = np.argsort(x)
    steps = np.diff(x[order], prepend=x[order[0]]) > 1e-12 * np.abs(x).max()
    places = np.empty(len(x), dtype=np.intp)
    places[order] = np.cumsum(steps)
    return places


def _as_numbers(data: LabelledData) -> NDArray[np.float64]:
    if data.y.dtype.kind != "U":
        return data.y.astype(np.float64)
    y = np.empty(len(data.y))
    for row, text in enumerate(data.y):
        try:
            y[row] = float(text)
        except ValueError as error:
            raise BadInput(
                f"{data.place(row)}: text '{text}' where {option_for('targets')} needs a number; "
                f"encode it, or learn from classes by {option_for('labels')}"
            ) from error
    return y

"""Rows of classes: every class in both parts, neighbours that vote."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nearfar import metrics
from nearfar.cli.data.reading import LabelledData
from nearfar.cli.errors import BadInput, listed
from nearfar.cli.report.colouring import ByClass
from nearfar.cli.report.scores import Probe, Scores, Space, measure
from nearfar.cli.tasks.base import Least, Task
from nearfar.cli.tasks.losses import option_for
from nearfar.cli.tasks.predictors import Predictor, Vote, nearest_rows
from nearfar.html import table

_MOST_TOLD = 10  # confusions
_FEW_ROWS = 3  # to a class on average: numbers are then amounts rather than names


@dataclass(frozen=True)
class ClassScores(Scores):
    """How near the held-out rows are to their own class."""

    knn3: float = measure("3-NN accuracy", telling=True)
    balanced: float = measure("balanced")
    recall1: float = measure("recall@1")
    map_at_r: float = measure("MAP@R", telling=True)
    alignment: float = measure("alignment", better="lower")
    uniformity: float = measure("uniformity", better="lower")


@dataclass(frozen=True)
class Classes(Task):
    """The class of every row, as a position in ``classes``."""

    what: ClassVar[str] = "label"

    y: NDArray[np.intp]
    classes: NDArray[Any]

    @classmethod
    def of(cls, data: LabelledData) -> Self:
        classes, codes, counts = np.unique(data.y, return_inverse=True, return_counts=True)
        if len(classes) < 2:
            raise BadInput(
                f"{data.name}: every row has the label '{classes[0]}'; give two classes or more"
            )
        single = classes[counts < 2]
        if single.size:
            amounts = data.y.dtype.kind != "U" and len(codes) < _FEW_ROWS * len(classes)
            remedy = f", or learn from numbers as targets by {option_for('targets')}"
            raise BadInput(
                f"{data.name}: one row only of class {listed(single.tolist())}, and both parts "
                f"need one; add rows of it or drop it by --min-rows 2{remedy if amounts else ''}"
            )
        return cls(codes, classes)

    @classmethod
    def beside(cls, known: Predictor, data: LabelledData) -> Self:
        """Classes that the predictor does not know come after its own."""
        assert isinstance(known, Vote)
        places = {name: k for k, name in enumerate(known.classes.tolist())}
        of_words = known.classes.dtype.kind == "U"
        y = (data.y.astype(str) if of_words else data.y).tolist()
        codes = np.array([places.setdefault(name, len(places)) for name in y], np.intp)
        return cls(codes, np.array(list(places)))

    def unseen(self, known: Predictor) -> list[Any]:
        """Classes that the predictor does not know."""
        assert isinstance(known, Vote)
        return list(self.classes[len(known.classes) :].tolist())

    def strata(self) -> NDArray[np.intp]:
        return self.y

    def least(self) -> tuple[Least, Least]:
        k, neighbours = len(self.classes), Vote.neighbours
        train = max(k, neighbours)
        return (
            Least(train, f"{train} ({k} classes, {neighbours} neighbours)"),
            Least(k, f"its {k} classes"),
        )

    def trouble(self, y: NDArray[np.intp]) -> str | None:
        if np.bincount(y).max() < 2:
            return "no two rows of one class; add rows to each class"
        return None

    def summary(self) -> str:
        return f"{len(self.classes)} classes"

    def settings(self) -> dict[str, Any]:
        return {"classes": len(self.classes)}

    def score(self, space: Space, train_y: NDArray[Any], held_out_y: NDArray[Any]) -> ClassScores:
        """Measure; what the neighbours vote for they look up in the training part."""
        rows, metric = space.held_out, space.metric
        right = self._right(space, train_y, held_out_y)
        counts = np.bincount(held_out_y)
        recalls = np.bincount(held_out_y, right)[counts > 0] / counts[counts > 0]
        return ClassScores(
            knn3=float(right.mean()),
            balanced=float(recalls.mean()),
            recall1=metrics.recall_at_k(rows, held_out_y, k=1, metric=metric),
            map_at_r=metrics.map_at_r(rows, held_out_y, metric=metric),
            alignment=metrics.alignment(rows, held_out_y),
            uniformity=metrics.uniformity(rows),
        )

    def headline(self, space: Space, train_y: NDArray[Any], held_out_y: NDArray[Any]) -> float:
        return float(self._right(space, train_y, held_out_y).mean())

    def _right(
        self, space: Space, train_y: NDArray[Any], held_out_y: NDArray[Any]
    ) -> NDArray[np.bool_]:
        """Tell whose neighbours vote for its own class (n,)."""
        right: NDArray[np.bool_] = self.predicted(space, train_y)[1] == held_out_y
        return right

    def predicted(
        self, space: Space, train_y: NDArray[Any]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        nearest = nearest_rows(space.train, space.held_out, Vote.neighbours, space.metric)
        return nearest, self.predictor(train_y).winners(nearest)[0]

    def told(self, y: NDArray[np.intp]) -> list[str]:
        return [str(name) for name in self.classes[y].tolist()]

    def mistakes(
        self, truth: NDArray[np.intp], predicted: NDArray[np.intp], rows: list[str]
    ) -> tuple[str, list[Any]]:
        from nearfar.cli.report import interactive  # Bokeh takes a second to import

        k = len(self.classes)
        counts = np.bincount(truth * k + predicted, minlength=k * k).reshape(k, k)
        names = self.told(np.arange(k))
        wrong = counts - np.diag(np.diag(counts))
        most = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_TOLD]
        pairs = [divmod(int(at), k) for at in most if wrong.flat[at]]
        told = [(names[a], names[b], int(wrong[a, b]), int(counts[a].sum())) for a, b in pairs]
        headings = ("class", "taken for", "times", "of")
        figure = interactive.confusions(counts, names)
        parts = [figure] if figure is not None else []
        return "Confusions", [*parts, table(told, headings) if told else "<p>None.</p>"]

    def probe(self, space: Space, train_y: NDArray[Any], held_out_y: NDArray[Any]) -> Probe:
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        model.fit(space.train, train_y)
        score = float(model.score(space.held_out, held_out_y))
        return Probe("probe", f"logistic regression on {len(train_y)} training rows", score)

    def few(self, train_y: NDArray[Any], labels: int | None, seed: int) -> NDArray[np.intp]:
        """Choose so many rows of every class, or all it has."""
        order = np.random.default_rng(seed).permutation(len(train_y))
        rows = (order[train_y[order] == code][:labels] for code in range(len(self.classes)))
        return np.sort(np.concatenate(list(rows)))

    def caption(self, train_rows: int) -> str:
        return (
            f"3-NN: neighbours among the {train_rows} training rows; balanced: the mean over the "
            "classes; all else within the held-out part. Alignment and uniformity on unit rows, "
            "lower is better."
        )

    def colouring(self, held_out_y: NDArray[np.intp]) -> ByClass:
        return ByClass(held_out_y, self.classes)

    def predictor(self, train_y: NDArray[np.intp]) -> Vote:
        return Vote(train_y, self.classes)


def with_enough_rows(data: LabelledData, least: int) -> LabelledData:
    """Leave out classes of fewer rows."""
    classes, codes, counts = np.unique(data.y, return_inverse=True, return_counts=True)
    small = counts < least
    if small.all():
        raise BadInput(
            f"--min-rows {least}: no class of {data.name} has so many rows, the largest has "
            f"{counts.max()}; lower it"
        )
    if not small.any():
        return data
    names = listed(classes[small].tolist(), most=3)
    return data.keep(
        ~small[codes],
        f"left out {small.sum()} of {len(classes)} classes ({counts[small].sum()} rows) with fewer "
        f"than {least} rows: {names}",
    )

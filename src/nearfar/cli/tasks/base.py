"""What a task has to say: the split, the scores, the colours and the predictor of its rows."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from nearfar.cli.data.reading import LabelledData
from nearfar.cli.report.colouring import Colouring
from nearfar.cli.report.scores import Probe, Scores, Space
from nearfar.cli.tasks.predictors import Predictor


class Least(NamedTuple):
    """So many rows a part must have, and what they are."""

    rows: int
    what: str


class Task(ABC):
    """The labels or targets of a whole data set.

    What it gives to the loss, ``y`` (n,), comes back to its methods cut into parts; all rows are
    of one kind, and the loss decides which.
    """

    y: NDArray[Any]
    what: ClassVar[str]  # y is of a row

    @classmethod
    @abstractmethod
    def of(cls, data: LabelledData) -> Self:
        """Read and check what ``data.y`` holds."""

    @classmethod
    @abstractmethod
    def beside(cls, known: Predictor, data: LabelledData) -> Self:
        """Read what ``data.y`` holds as a predictor's reference has it, for scores alone."""

    @abstractmethod
    def strata(self) -> NDArray[Any] | None:
        """Give the groups (n,) to be held out by the same share, if any."""

    @abstractmethod
    def least(self) -> tuple[Least, Least]:
        """Tell how small the training part and the held-out part may be."""

    @abstractmethod
    def trouble(self, y: NDArray[Any]) -> str | None:
        """Tell what is wrong with a part, and the remedy."""

    @abstractmethod
    def summary(self) -> str:
        """Describe the data set in a few words for headings."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Describe the data set for metrics.json."""

    @abstractmethod
    def score(self, space: Space, train_y: NDArray[Any], held_out_y: NDArray[Any]) -> Scores:
        """Measure the held-out part of a space."""

    @abstractmethod
    def headline(self, space: Space, train_y: NDArray[Any], held_out_y: NDArray[Any]) -> float:
        """Measure what `score` measures first, alone."""

    @abstractmethod
    def probe(self, space: Space, train_y: NDArray[Any], held_out_y: NDArray[Any]) -> Probe:
        """Measure what a linear model, fitted on the training part, does on the held-out part."""

    @abstractmethod
    def few(self, train_y: NDArray[Any], labels: int | None, seed: int) -> NDArray[np.intp]:
        """Choose the training rows a probe may see: so many labels, or all."""

    @abstractmethod
    def caption(self, train_rows: int) -> str:
        """Explain the scores."""

    @abstractmethod
    def colouring(self, held_out_y: NDArray[Any]) -> Colouring:
        """Choose the points' colours."""

    @abstractmethod
    def told(self, y: NDArray[Any]) -> list[str]:
        """Spell labels or targets for people."""

    @abstractmethod
    def predicted(
        self, space: Space, train_y: NDArray[Any]
    ) -> tuple[NDArray[np.intp], NDArray[Any]]:
        """The nearest training rows of each held-out row (n, neighbours), and what they predict."""

    @abstractmethod
    def mistakes(
        self, truth: NDArray[Any], predicted: NDArray[Any], rows: list[str]
    ) -> tuple[str, list[Any]]:
        """Heading, and the figures and tables of HTML that show how wrong predictions are."""

    @abstractmethod
    def predictor(self, train_y: NDArray[Any]) -> Predictor:
        """Make what `nearfar predict` predicts by."""

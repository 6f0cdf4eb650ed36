"""The spaces that are compared (raw features, PCA, the learned one) and what is measured there."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple, Protocol

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


def measure(heading: str, better: str = "higher", telling: bool = False) -> Any:
    """Make a field of `Scores`: its heading in the table, and whether it is told in a sentence."""
    return field(metadata={"heading": heading, "better": better, "telling": telling})


@dataclass(frozen=True)
class Scores:
    """Measures of one space; every task has its own, and the first says most."""

    def headline(self) -> tuple[str, float]:
        """Heading and value of the first measure."""
        first = fields(self)[0]
        return first.metadata["heading"], getattr(self, first.name)

    def telling(self) -> list[tuple[str, float]]:
        """Headings and values of the measures that say most."""
        chosen = [f for f in fields(self) if f.metadata["telling"]]
        return [(f.metadata["heading"], getattr(self, f.name)) for f in chosen]

    def above(self, other: "Scores") -> list[str]:
        """By how much each measure is above another space's, where higher is better."""
        return [
            f"{getattr(self, f.name) - getattr(other, f.name):+.3f}"
            if f.metadata["better"] == "higher"
            else ""
            for f in fields(self)
        ]


class Probe(NamedTuple):
    """What a linear model makes of a space: its heading in the table, its name, its score."""

    heading: str
    model: str
    score: float


class Row(Protocol):
    """What the tables of numbers have in a row."""

    @property
    def scores(self) -> Scores: ...

    @property
    def probe(self) -> Probe | None: ...

    @property
    def dimensions(self) -> int | None: ...


@dataclass(frozen=True)
class Measured:
    """A space with its scores: one row of the table."""

    space: Space
    scores: Scores
    probe: Probe | None

    @property
    def dimensions(self) -> int:
        return int(self.space.held_out.shape[1])

    def report(self) -> dict[str, float]:
        """Give everything for metrics.json."""
        probe = {} if self.probe is None else {"probe": self.probe.score}
        about = {"dimensions": self.dimensions, "seconds": round(self.space.seconds, 3)}
        return asdict(self.scores) | probe | about

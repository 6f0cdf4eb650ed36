"""The learned maps from rows to embeddings: a projection of standardised features, an encoder."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from nearfar.cli.errors import BadInput
from nearfar.cli.report.scores import Space
from nearfar.similarity import Cosine

if TYPE_CHECKING:
    from nearfar.torch.trainer.encoders import Encoder

Arrays = dict[str, NDArray[Any]]


class Map(ABC):
    """A learned map, which can be written as arrays and a record for JSON."""

    kind: ClassVar[str]
    name: ClassVar[str]  # to people

    shape: tuple[int, ...]  # of a row before it was flattened

    @property
    def features(self) -> int:
        """Targets in a row."""
        return prod(self.shape)

    @abstractmethod
    def embed(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Embed rows (n, d) as (n, k)."""

    @abstractmethod
    def arrays(self) -> Arrays: ...

    @abstractmethod
    def record(self) -> dict[str, Any]:
        """Describe what is not in the arrays; ``"arrays"`` lists their names."""

    @classmethod
    @abstractmethod
    def of(cls, record: dict[str, Any], arrays: Arrays) -> Self:
        """Make the map again from what `record` and `arrays` gave."""


@dataclass(frozen=True)
class Linear(Map):
    """A projection of standardised features."""

    kind: ClassVar[str] = "linear"
    name: ClassVar[str] = "projection"

    mean: NDArray[np.float64]  # (d,)
    scale: NDArray[np.float64]  # (d,)
    components: NDArray[np.float64]  # (k, d)
    intercept: NDArray[np.float64]  # (k,)
    shape: tuple[int, ...]

    def embed(self, X: NDArray[Any]) -> NDArray[np.float64]:
        Z: NDArray[np.float64] = ((X - self.mean) / self.scale) @ self.components.T
        return Z + self.intercept

    def arrays(self) -> Arrays:
        names = ("mean", "scale", "components", "intercept")
        return {name: getattr(self, name) for name in names}

    def record(self) -> dict[str, Any]:
        return {"arrays": list(self.arrays()), "shape": self.shape}

    @classmethod
    def of(cls, record: dict[str, Any], arrays: Arrays) -> Self:
        return cls(**arrays, shape=tuple(record["shape"]))


@dataclass(frozen=True)
class Encoded(Map):
    """A neural network, in PyTorch."""

    kind: ClassVar[str] = "encoder"
    name: ClassVar[str] = "encoder"

    encoder: "Encoder"

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        shape: tuple[int, ...] = self.encoder.architecture.shape
        return shape

    def embed(self, X: NDArray[Any]) -> NDArray[np.float64]:
        from nearfar.torch.trainer.training import embed

        Z: NDArray[np.float64] = embed(self.encoder, X.reshape(len(X), *self.shape))
        return Z

    def arrays(self) -> Arrays:
        weights: Arrays = self.encoder.weights()
        return weights

    def record(self) -> dict[str, Any]:
        architecture = self.encoder.architecture.to_dict()
        return {"arrays": list(self.arrays()), "architecture": architecture}

    @classmethod
    def of(cls, record: dict[str, Any], arrays: Arrays) -> Self:
        require_torch()
        from nearfar.torch.trainer.encoders import Architecture

        encoder = Architecture.from_dict(record["architecture"]).build()
        encoder.load_weights(arrays)
        return cls(encoder)


@dataclass(frozen=True)
class Learned:
    """A map, the loss it was learned by, and what happened, for metrics.json."""

    map: Map
    train: NDArray[np.float64]
    held_out: NDArray[np.float64]
    loss: Any
    seconds: float
    outcome: dict[str, Any]
    history: list[dict[str, Any]]  # of the learning, step by step

    def space(self) -> Space:
        """Compare embeddings as the loss does."""
        return Space(self.train, self.held_out, metric_of(self.loss), self.seconds)


def metric_of(loss: Any) -> str:
    """Tell how a loss compares embeddings: by "cosine" or by "euclidean" distances."""
    return "cosine" if isinstance(loss.comparison, Cosine) else "euclidean"


MAPS: dict[str, type[Linear] | type[Encoded]] = {Linear.kind: Linear, Encoded.kind: Encoded}


def require_torch() -> None:
    """Refuse where PyTorch is not installed."""
    if find_spec("torch") is None:
        raise BadInput(
            "encoders need PyTorch, which is not installed: pip install 'nearfar[torch]'"
        )

"""Small encoders for images and feature tables, built from a statement of a few numbers."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Arrays = dict[str, NDArray[Any]]

KINDS = ("mlp", "cnn")
_WIDTH = 256  # of the hidden layers of an MLP and of a head
_CHANNELS = (32, 64, 128)  # of the convolutions, each stage at half the size of the one before


@dataclass(frozen=True)
class Architecture:
    """What an encoder is built from.

    Parameters
    ----------
    kind
        ``"mlp"``: two hidden layers of 256, for rows of any shape. ``"cnn"``: three stages of two
        3 x 3 convolutions with 32, 64 and 128 channels, for images.
    shape
        Of a row: (d,), (height, width) or (height, width, channels).
    components
        Dimensions of an embedding.

    Raises
    ------
    ValueError
        If the kind is unknown, or a CNN is asked for rows that are no images of 8 x 8 or more.
    """

    kind: str
    shape: tuple[int, ...]
    components: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"expected an encoder out of {KINDS}; received '{self.kind}'")
        if self.kind == "cnn" and (len(self.shape) not in (2, 3) or min(self.shape[:2]) < 8):
            raise ValueError(
                "expected images of 8 x 8 or more for a cnn, of shape (height, width) or (height, "
                f"width, channels); received rows of shape {self.shape}; choose mlp"
            )

    @property
    def channels(self) -> int:
        return self.shape[2] if len(self.shape) == 3 else 1

    def build(self) -> "Encoder":
        """Make the encoder, its weights drawn by PyTorch's generator."""
        return Encoder(self)

    def to_dict(self) -> dict[str, Any]:
        """Describe it in plain values for JSON."""
        return asdict(self) | {"shape": list(self.shape)}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Architecture":
        return cls(record["kind"], tuple(record["shape"]), record["components"])


class Encoder(nn.Module):  # type: ignore[misc]
    """Rows ``(n, *shape)`` of any number type to embeddings ``(n, components)``.

    Rows are standardised first, by what `standardise_by` measured: every feature by itself, images
    by their channels.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        shape = architecture.shape
        measured = (architecture.channels, 1, 1) if self.of_images else shape
        self.register_buffer("mean", torch.zeros(measured))
        self.register_buffer("scale", torch.ones(measured))
        self.net = _cnn(architecture) if self.of_images else _mlp(architecture)

    @property
    def of_images(self) -> bool:
        return self.architecture.kind == "cnn"

    def weights(self) -> Arrays:
        """Give everything `load_weights` takes, buffers too, as arrays."""
        return {name: value.detach().cpu().numpy() for name, value in self.state_dict().items()}

    def load_weights(self, arrays: Arrays) -> None:
        """Take over weights by their names.

        Raises
        ------
        RuntimeError
            If names or shapes are those of another architecture.
        """
        self.load_state_dict({name: torch.from_numpy(a.copy()) for name, a in arrays.items()})

    def standardise_by(self, rows: NDArray[Any]) -> None:
        """Take mean and deviation of the training rows ``(n, *shape)``; constants keep scale 1."""
        shape = self.architecture.shape
        over: tuple[int, ...] = (0,)
        if self.of_images:
            rows, over = rows.reshape(len(rows), *shape[:2], -1), (0, 1, 2)
        scale = rows.std(axis=over, dtype=np.float64)
        for buffer, values in (
            (self.mean, rows.mean(axis=over, dtype=np.float64)),
            (self.scale, np.where(scale > 0, scale, 1)),
        ):
            buffer.copy_(torch.as_tensor(values).reshape(buffer.shape))

    def standardised(self, rows: torch.Tensor) -> torch.Tensor:
        """Bring rows into the form that layers and augmentations take: images ``(n, c, h, w)``."""
        if self.of_images:
            rows = rows.reshape(len(rows), *self.architecture.shape[:2], -1).movedim(-1, 1)
        return (rows.to(self.mean.dtype) - self.mean) / self.scale

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        embeddings: torch.Tensor = self.net(self.standardised(rows))
        return embeddings


def head(components: int) -> nn.Module:
    """Make SimCLR's projection head: the loss sees its output, users see its input.

    Source: Chen et al. 2020, arXiv 2002.05709, section 4.2.
    """
    return nn.Sequential(
        nn.Linear(components, _WIDTH),
        nn.BatchNorm1d(_WIDTH),
        nn.ReLU(),
        nn.Linear(_WIDTH, components),
    )


def _mlp(architecture: Architecture) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    width = int(np.prod(architecture.shape))
    for _ in range(2):
        layers += [nn.Linear(width, _WIDTH), nn.BatchNorm1d(_WIDTH), nn.ReLU()]
        width = _WIDTH
    return nn.Sequential(*layers, nn.Linear(width, architecture.components))


def _cnn(architecture: Architecture) -> nn.Module:
    layers: list[nn.Module] = []
    before = architecture.channels
    for channels in _CHANNELS:
        for _ in range(2):
            layers += [
                nn.Conv2d(before, channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            ]
            before = channels
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, architecture.components)
    )

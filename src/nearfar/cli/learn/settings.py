"""What the options choose about an encoder; nothing here imports PyTorch."""

import math
from dataclasses import dataclass
from typing import Any

from nearfar.cli.errors import BadInput


@dataclass(frozen=True)
class EncoderSettings:
    """What the user chose about the encoder; None is for the default that fits."""

    encoder: str
    epochs: int = 30
    batch_size: int = 256
    lr: float = 1e-3
    weight_decay: float = 1e-4
    patience: int = 10
    augmentation: float | None = None
    flip: bool = False
    learn_temperature: bool = False
    probe_labels: int | None = None
    device: str = "cpu"
    resume: bool = False

    def __post_init__(self) -> None:
        for name in ("lr", "weight_decay", "augmentation"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise BadInput(
                    f"--{name.replace('_', '-')} must be a finite number from 0 on, "
                    f"received {value}"
                )
        if self.flip and self.encoder != "cnn":
            raise BadInput("--flip mirrors images, and needs --encoder cnn; leave it out")


def encoder_settings(
    encoder: str | None, framework: str | None, max_iter: int | None, **options: Any
) -> EncoderSettings | None:
    """Settings of an encoder, if there is to be one; options of the other kind are refused."""
    given = {name: value for name, value in options.items() if value is not None}
    if encoder is None:
        alone = ([] if framework is None else ["framework"]) + list(given)
        if alone:
            option = alone[0].replace("_", "-")
            raise BadInput(f"--{option} is an encoder's: add --encoder mlp or cnn, or leave it out")
        return None
    if encoder not in ("mlp", "cnn"):
        raise BadInput(f"--encoder '{encoder}' is neither 'mlp' nor 'cnn'; choose one")
    if framework not in (None, "torch"):
        raise BadInput(f"--framework '{framework}' has no encoders here; choose 'torch'")
    if max_iter is not None:
        raise BadInput("--max-iter is a projection's: with --encoder give --epochs")
    return EncoderSettings(encoder, **given)

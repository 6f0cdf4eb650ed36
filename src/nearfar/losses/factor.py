"""Losses whose factor may grow with the temperature."""

from dataclasses import dataclass
from typing import Any

from nearfar.losses.base import Loss, choice


@dataclass(frozen=True, kw_only=True)
class ScaledLoss(Loss, abstract=True):
    """A loss with a temperature and `scale_by`.

    With ``scale_by="temperature"`` it takes no temperature at a call: a learned temperature would
    lower the loss by lowering its factor.
    """

    temperature: float
    scale_by: str = choice("constant", "temperature")

    @property
    def _factor(self) -> float:
        return self.scale * self.temperature if self.scale_by == "temperature" else self.scale

    def _check_replaced(self, replaced: dict[str, Any]) -> None:
        if self.scale_by == "temperature" and replaced.get("temperature") is not None:
            raise ValueError(
                f"{type(self).__name__}: expected no temperature at the call with scale_by="
                '"temperature", whose factor is stated by the temperature of the loss; received '
                "one: make another loss, dataclasses.replace(loss, temperature=...), or state "
                'scale_by="constant"'
            )

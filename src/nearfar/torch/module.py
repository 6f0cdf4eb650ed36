"""A loss as a module, whose temperature and bias may be parameters."""

import math
from typing import Any

import torch

from nearfar.losses import Loss as Statement

LEAST = 0.01
"""Learned temperatures stay at or above this: CLIP's logit scale of at most 100."""


class Loss(torch.nn.Module):  # type: ignore[misc]
    """A nearfar loss for models that are made of modules.

    ``Loss(nf.SupCon())(embeddings, labels)`` is ``nf.SupCon()(embeddings, labels)``.

    Parameters
    ----------
    loss
        Any nearfar loss.
    learn_temperature
        Make the temperature a parameter, stored as its logarithm under ``log_temperature`` and, in
        training, held at 0.01 or above before each call; a loss with a bias (SigLIP) learns that
        too. Both start at the loss's own values.

    Raises
    ------
    TypeError
        If `loss` is no nearfar loss.
    ValueError
        If a temperature is to be learned that the loss does not have, that starts below 0.01, or
        that is a factor of the loss (scale_by="temperature").
    """

    def __init__(self, loss: Statement, learn_temperature: bool = False) -> None:
        super().__init__()
        if not isinstance(loss, Statement):
            raise TypeError(
                f"expected loss to be a nearfar loss; received {type(loss).__name__}; pass for "
                "instance nearfar.SupCon()"
            )
        self.loss = loss
        self.learned = loss.parameters if learn_temperature else ()
        if learn_temperature and "temperature" not in loss.parameters:
            raise ValueError(
                f"expected a loss with a temperature to learn; received {type(loss).__name__}; "
                "leave learn_temperature out"
            )
        if learn_temperature and loss.learnable != loss.parameters:
            raise ValueError(
                'expected scale_by="constant" to learn a temperature; received a loss whose factor '
                "is its temperature, and would be learned to be small; leave learn_temperature out"
            )
        for name in self.learned:
            value = float(getattr(loss, name))
            if name == "temperature":
                if value < LEAST:
                    raise ValueError(
                        f"expected a learned temperature to start at {LEAST} or above; received "
                        f"{value}; raise it, or keep it fixed"
                    )
                self.log_temperature = torch.nn.Parameter(torch.tensor(math.log(value)))
            else:
                self.register_parameter(name, torch.nn.Parameter(torch.tensor(value)))

    @property
    def temperature(self) -> Any:
        """The temperature in use: a number, a tensor where it is learned, None without one."""
        return self.log_temperature.exp() if self.learned else self.loss.stated("temperature")

    def forward(self, *inputs: Any, **named: Any) -> torch.Tensor:
        value: torch.Tensor = self.loss(*inputs, **self._values() | named)
        return value

    def _values(self) -> dict[str, torch.Tensor]:
        """What is learned, as the loss is called with it."""
        if not self.learned:
            return {}
        if self.training:
            with torch.no_grad():
                self.log_temperature.clamp_(min=math.log(LEAST))
        values = {"temperature": self.temperature}
        return values | {
            name: getattr(self, name) for name in self.learned if name != "temperature"
        }

    def extra_repr(self) -> str:
        learned = f", learning {' and '.join(self.learned)}" if self.learned else ""
        return f"{self.loss}{learned}"

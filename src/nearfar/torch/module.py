"""A loss as a module, whose temperature and bias may be parameters."""

import math
from typing import Any

import torch

from nearfar.losses import Loss as Statement
from nearfar.losses.learned import LEAST, proxy_shape, starts, statement


class Loss(torch.nn.Module):  # type: ignore[misc]
    """A nearfar loss for models that are made of modules.

    ``Loss(nf.SupCon())(embeddings, labels)`` is ``nf.SupCon()(embeddings, labels)``. TorchScript
    takes a model that holds one, whose script cannot call it: losses are compiled by
    ``torch.compile``.

    Parameters
    ----------
    loss
        Any nearfar loss.
    learn_temperature
        Make the temperature a parameter, stored as its logarithm under ``log_temperature`` and, in
        training, held at 0.01 or above before each call; a loss with a bias (SigLIP) learns that
        too. Both start at the loss's own values.
    proxies
        For a loss of proxies, the shape of those that the module holds as a parameter,
        ``proxies``: (C, d), or (C, K, d) for SoftTriple; drawn from a normal distribution, since
        only their directions count. Then the module is called with (embeddings, labels).

    Raises
    ------
    TypeError
        If `loss` is no nearfar loss.
    ValueError
        For proxies of a loss that takes none, or of a shape that it does not take.
        If a temperature is to be learned that the loss does not have, that starts below 0.01, or
        that is a factor of the loss (scale_by="temperature").
    """

    __jit_unused_properties__ = ("temperature",)

    def __init__(
        self,
        loss: Statement,
        learn_temperature: bool = False,
        proxies: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self.loss = statement(loss)
        if proxies is not None:
            self.proxies = torch.nn.Parameter(torch.randn(proxy_shape(loss, proxies)))
        self.holds_proxies = proxies is not None
        values = starts(loss) if learn_temperature else {}
        self.learned = tuple(values)
        for name, value in values.items():
            if name == "temperature":
                self.log_temperature = torch.nn.Parameter(torch.tensor(math.log(value)))
            else:
                self.register_parameter(name, torch.nn.Parameter(torch.tensor(value)))

    @property
    def temperature(self) -> Any:
        """The temperature in use: a number, a tensor where it is learned, None without one."""
        return self.log_temperature.exp() if self.learned else self.loss.stated("temperature")

    @torch.jit.unused  # type: ignore[untyped-decorator]
    def forward(self, *inputs: Any, **named: Any) -> torch.Tensor:
        value: torch.Tensor = self.loss(*inputs, **self._values() | named)
        return value

    def _values(self) -> dict[str, torch.Tensor]:
        """What is learned, as the loss is called with it."""
        held = {"proxies": self.proxies} if self.holds_proxies else {}
        if not self.learned:
            return held
        if self.training:
            with torch.no_grad():
                self.log_temperature.clamp_(min=math.log(LEAST))
        values = {"temperature": self.temperature}
        return (
            held
            | values
            | {name: getattr(self, name) for name in self.learned if name != "temperature"}
        )

    def extra_repr(self) -> str:
        learned = f", learning {' and '.join(self.learned)}" if self.learned else ""
        held = f", proxies={tuple(self.proxies.shape)}" if self.holds_proxies else ""
        return f"{self.loss}{learned}{held}"

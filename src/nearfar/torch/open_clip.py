"""A loss of two towers in the call form of open_clip's training step."""

import math
from typing import Any

import torch

from nearfar.frameworks.torch import NAMESPACE
from nearfar.losses import CLIP, TwoSides
from nearfar.losses.learned import statement
from nearfar.torch.module import Loss


class OpenCLIPLoss(torch.nn.Module):  # type: ignore[misc]
    """CLIP or SigLIP for trainers that call ``loss(**model_output, output_dict=True)``.

    The model owns the logit scale and bias: a call takes ``logit_scale``, the factor
    1 / temperature (the exponential of open_clip's parameter), and ``logit_bias``, and both get
    their exact gradients. The temperature of the loss itself is not used.

    open_clip normalises in its model and takes plain products in its loss, as ``similarity="dot"``
    does. With "cosine" rows are normalised here too: features of unit length have the same value
    and the same gradients in the model, whose own normalising drops what lies along a feature.

    Parameters
    ----------
    loss
        `nearfar.CLIP`, `nearfar.SigLIP` or another loss of two sides with a temperature; or
        `nearfar.torch.distributed.Loss` of one, for the batch of all ranks.

    Raises
    ------
    TypeError
        If `loss` is no nearfar loss.
    ValueError
        For a loss of other inputs or without a temperature that a call can give, and for one that
        learns a temperature of its own; at the call as the loss, for a logit scale that is not
        above 0, and for a bias where the loss has none.

    >>> import torch, nearfar as nf, nearfar.torch
    >>> criterion = nearfar.torch.OpenCLIPLoss(nf.SigLIP())
    >>> image, text = torch.eye(3), torch.eye(3)
    >>> scale, bias = torch.tensor(10.0), torch.tensor(-10.0)
    >>> sorted(criterion(image, text, scale, bias, output_dict=True))
    ['contrastive_loss']
    """

    def __init__(self, loss: Any) -> None:
        super().__init__()
        self.loss = loss if isinstance(loss, Loss) else Loss(statement(loss))
        stated = self.loss.loss
        if not isinstance(stated, TwoSides) or "temperature" not in stated.learnable:
            raise ValueError(
                "expected a loss of two sides whose temperature a call can give; received "
                f"{stated}; pass for instance nearfar.CLIP() or nearfar.SigLIP()"
            )
        if self.loss.learned:
            raise ValueError(
                "expected a loss that learns no temperature, since the model's logit_scale is it; "
                "received one that does; leave learn_temperature out"
            )

    @torch.jit.unused  # type: ignore[untyped-decorator]
    def forward(
        self,
        image_features: torch.Tensor,
        text_features: torch.Tensor,
        logit_scale: Any,
        logit_bias: Any = None,
        output_dict: bool = False,
    ) -> torch.Tensor | dict[str, torch.Tensor]:
        """The value; with `output_dict` under the name that open_clip adds up and logs.

        Parameters
        ----------
        image_features, text_features
            The two sides (N, d).
        logit_scale
            Above 0: a number, or a tensor of one.
        logit_bias
            Added to every logit: a number, a tensor of one, or None: the loss's own. It changes
            nothing in a softmax: with CLIP its gradient is 0.
        output_dict
            Return ``{"contrastive_loss": value}``.
        """
        stated = self.loss.loss
        named = {"temperature": 1 / _above_zero(_one("logit_scale", logit_scale, image_features))}
        if logit_bias is not None:
            bias = _one("logit_bias", logit_bias, image_features)
            if "bias" in stated.parameters:
                named["bias"] = bias
            elif not isinstance(stated, CLIP):
                raise ValueError(
                    f"expected no logit_bias with {type(stated).__name__}, which has none; "
                    "received one; use nearfar.SigLIP(), or a model without a bias"
                )
        value: torch.Tensor = self.loss(image_features, text_features, **named)
        if logit_bias is not None and "bias" not in named:
            # DistributedDataParallel waits for the gradient of every parameter.
            value = value + 0 * bias
        return {"contrastive_loss": value} if output_dict else value


def _one(name: str, value: Any, features: torch.Tensor) -> Any:
    """A number as it is; a tensor of one without axes, as exact as the loss will be."""
    if not isinstance(value, torch.Tensor):
        return value
    if value.numel() != 1:
        raise ValueError(
            f"expected {name} to be one number; received shape {tuple(value.shape)}; losses have "
            "one temperature and one bias"
        )
    exact = torch.promote_types(features.dtype, torch.float32)
    return value.reshape(()).to(torch.promote_types(value.dtype, exact))


def _above_zero(scale: Any) -> Any:
    known = NAMESPACE.peek(scale) if isinstance(scale, torch.Tensor) else scale
    if known is not None and not 0 < known < math.inf:
        raise ValueError(
            "expected logit_scale above 0, the factor of the similarities; received "
            f"{float(known)}; give the exponential of a parameter"
        )
    return scale

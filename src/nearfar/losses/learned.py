"""Where a loss's learned parameters start, for adapters that keep them."""

from typing import Any

from nearfar.losses.base import Loss

LEAST = 0.01
"""Learned temperatures stay at or above this: CLIP's logit scale of at most 100."""


def statement(loss: Any) -> Loss:
    """`loss`, which an adapter was given, if it is a loss.

    Raises
    ------
    TypeError
        If it is none.
    """
    if not isinstance(loss, Loss):
        raise TypeError(
            f"expected loss to be a nearfar loss; received {type(loss).__name__}; pass for "
            "instance nearfar.SupCon()"
        )
    return loss


def proxy_shape(loss: Loss, shape: Any) -> tuple[int, ...]:
    """The shape of proxies that an adapter holds for a loss.

    Raises
    ------
    ValueError
        If the loss takes no proxies, or none of that shape.
    """
    if "proxies" not in loss.inputs:
        raise ValueError(
            f"expected a loss that takes proxies; received {type(loss).__name__}, which is called "
            f"with ({', '.join(loss.inputs)}); leave proxies out, or take for instance ProxyAnchor"
        )
    axes = 3 if getattr(loss, "several_centres", False) else 2
    known = isinstance(shape, tuple | list) and len(shape) == axes
    if not known or not all(isinstance(size, int) and size > 0 for size in shape):
        what = "(C, K, d)" if axes == 3 else "(C, d)"
        raise ValueError(
            f"expected proxies to be a shape {what}, classes first and features last; received "
            f"{shape!r}"
        )
    return tuple(shape)


def starts(loss: Loss) -> dict[str, float]:
    """The parameters that are learned with a temperature, and the values they start at.

    Raises
    ------
    ValueError
        If the loss has no temperature, one that is a factor of the loss, or one below `LEAST`.
    """
    if "temperature" not in loss.parameters:
        raise ValueError(
            f"expected a loss with a temperature to learn; received {type(loss).__name__}; "
            "leave learn_temperature out"
        )
    if loss.learnable != loss.parameters:
        raise ValueError(
            'expected scale_by="constant" and no hardness to learn a temperature; received a loss '
            "whose factor or weights are its temperature's; leave learn_temperature out"
        )
    values = {name: float(getattr(loss, name)) for name in loss.parameters}
    if values["temperature"] < LEAST:
        raise ValueError(
            f"expected a learned temperature to start at {LEAST} or above; received "
            f"{values['temperature']}; raise it, or keep it fixed"
        )
    return values

"""Fused kernels: whether one computes a call.

>>> import numpy as np
>>> import nearfar as nf
>>> nf.kernels.fits(nf.NTXent(), np.eye(3), np.eye(3))
(False, 'there are no fused kernels for numpy on this device')
"""

from typing import Any

from nearfar.losses import Loss

__all__ = ["fits"]


def fits(loss: Loss, *inputs: Any, **named: Any) -> tuple[bool, str]:
    """Whether a fused kernel computes ``loss(*inputs, **named)``, without computing it.

    Parameters
    ----------
    loss
        Any loss; ``with_options(kernel="tiles")`` never fits.
    *inputs, **named
        As for a call of the loss.

    Returns
    -------
    fits
        True where a call takes a kernel, as ``with_options(kernel="fused")`` demands.
    reason
        The kernel's name, or why none fits.

    Raises
    ------
    TypeError, ValueError
        As a call of the loss.
    """
    if loss.options.kernel == "fused":  # the question is not to be answered by an error
        loss = loss.with_options(**{**loss.options._asdict(), "kernel": None})
    return loss._kernel(inputs, named)

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
        True where a call takes a kernel. On a device on which the kernels have not been seen to run
        only one with ``with_options(kernel="fused")`` does.
    reason
        The kernel's name, or why none fits.

    Raises
    ------
    TypeError, ValueError
        As a call of the loss.
    """
    return loss._kernel(inputs, named)

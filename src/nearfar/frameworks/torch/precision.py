"""The precision of the products in a call."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from nearfar.frameworks.protocol.types import Array


def full_precision(inputs: tuple[Array, ...]) -> AbstractContextManager[Any]:
    """Autocast would send the tiles' products to half precision; casts are made at the edge."""
    device = inputs[0].device.type
    # Devices without autocast ("meta") raise where it is asked for, or switched off.
    if not (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)):
        return nullcontext()  # which a small batch notices
    off: AbstractContextManager[Any] = torch.autocast(device, enabled=False)
    return off

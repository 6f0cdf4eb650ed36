"""What an accelerator offers a call."""

import sys
from functools import cache
from importlib.util import find_spec

import torch

TILE = 8192
"""Rows of a tile: one launch does what 64 would, and a tile of float32 is 256 MiB."""

WINDOW = 2048
"""Rows whose positives are looked for at once: launches for as many again take less time than
passes over a tile of twice the rows, by the rates that cards state."""

# A call takes so small a part of an accelerator's memory: a model has the rest.
_SHARE = 32

# Of a device that does not tell.
_UNKNOWN = 64 * 2**30


def triton_is_late() -> bool:
    """Whether importing Triton would end the process: it and TensorFlow bring an LLVM each, and
    Triton has to come first."""
    late = "tensorflow" in sys.modules and "triton" not in sys.modules
    return late and find_spec("triton") is not None


@cache
def memory(device: torch.device) -> int:
    """Bytes for tiles."""
    return _total(device) // _SHARE


def _total(device: torch.device) -> int:
    if device.type in ("cuda", "xpu"):
        return int(getattr(torch, device.type).get_device_properties(device).total_memory)
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory())
    return _UNKNOWN

"""One wait for the device a call, where several would each stop the host.

Some decisions cost too much to be taken for granted either way: whether pairs of rows are too near
for products, whether logits spread too far for plain exponentials. On an accelerator a call hopes
that none of it is so, asks once in the end, and begins again if it was wrong. While a graph is
captured nobody can ask: the device then takes what is right for every input.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch

from nearfar.frameworks.protocol.types import Array
from nearfar.frameworks.torch.namespace import Torch, namespace_for
from nearfar.frameworks.torch.pure import Pure

T = TypeVar("T")


class Hopeful(Torch):
    """Decides every flag as false, and remembers it."""

    def __init__(self) -> None:
        self._flags: list[Array] = []

    def decide(self, flag: Array) -> Any:
        self._flags.append(flag)
        return False

    def was_right(self) -> bool:
        """Whether none was true; this waits, if there was any."""
        return not self._flags or not bool(torch.stack(self._flags).any())


class Recorded(Torch):
    """Reads nothing; of a flag `cond` takes what is right whatever it is."""

    def decide(self, flag: Array) -> Any:
        return flag

    def waited_for(self, x: Array) -> int | None:
        return None


RECORDED = Recorded()


def evaluated(arrays: tuple[Array, ...], run: Callable[[Pure], T]) -> T:
    """``run(ns)`` in the namespace that these arrays call for."""
    ns = namespace_for(arrays)
    if not ns.in_place or not ns.accelerated(arrays[0]):
        return run(ns)
    if _capturing(arrays[0].device):
        return run(RECORDED)
    hopeful = Hopeful()
    found = run(hopeful)
    return found if hopeful.was_right() else run(ns)


def _capturing(device: torch.device) -> bool:
    """Whether a CUDA graph records what is launched, and nothing may wait."""
    return device.type == "cuda" and bool(torch.cuda.is_current_stream_capturing())

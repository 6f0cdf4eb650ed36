"""Launching: the right device, and as little of the host's time as a launch can take."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

_PROGRAMS: dict[tuple[Any, ...], Any] = {}


class Launcher:
    """Launches kernels for tensors on one device.

    Triton finds the compiled program by looking at every argument, which takes longer than many a
    kernel. What decides here is less: the constants, and of the caller's tensors what `tag` says;
    sizes are not specialised, and the kernels' own arrays are always alike.
    """

    def __init__(self, device: torch.device, tags: tuple[Any, ...]) -> None:
        self._key = (device, *tags)

    def __call__(
        self,
        kernel: Any,
        grid: tuple[int, int, int],
        arguments: tuple[Any, ...],
        constants: tuple[Any, ...],
        warps: int,
        stages: int,
        *more: Any,
    ) -> None:
        """`more`: what else programs differ by, as the dtype of a result."""
        key = (kernel, constants, warps, stages, self._key, more)
        program = _PROGRAMS.get(key)
        if program is not None:
            program[grid](*arguments, *constants)
            return
        program = kernel[grid](
            *arguments, *constants, num_warps=warps, num_stages=stages, enable_fp_fusion=True
        )
        if program is not None:  # the interpreter has none
            _PROGRAMS[key] = program


def tag(x: torch.Tensor) -> tuple[Any, ...]:
    """What Triton specialises programs by of a tensor and its strides."""
    strides = tuple((s == 1, s % 16 == 0) for s in x.stride())
    return x.dtype, x.data_ptr() % 16 == 0, strides


def on(device: torch.device) -> AbstractContextManager[Any]:
    """Triton launches on the current device, whatever the tensors say."""
    if device.type != "cuda" or device.index == torch.cuda.current_device():
        return nullcontext()
    current: AbstractContextManager[Any] = torch.cuda.device(device)
    return current

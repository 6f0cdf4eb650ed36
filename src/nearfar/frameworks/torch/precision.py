"""The precision of the products in a call, whatever the program around it has chosen.

Autocast would send the tiles' products to half precision; casts are made at the edge. And
`torch.set_float32_matmul_precision("high")`, TF32 on a GPU or bfloat16 on some processors, would
leave 3 to 10 bits of a product of float32. Only products whose factors have no more bits than TF32
keeps are given to it.
"""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch

from nearfar.frameworks.protocol.types import Array

# What a backend calls products of float32 in float32; "none": as by default, which is the same.
_FULL = ("ieee", "none", "highest")


def full_precision(inputs: tuple[Array, ...]) -> AbstractContextManager[Any]:
    """Products in the dtype of their factors.

    A setting of the whole process is changed for the call, and back when the last call is over that
    overlaps with others: products of other threads are in full precision so long. A program that
    PyTorch compiles keeps its own setting where it follows pure operations.
    """
    device = inputs[0].device.type
    # Devices without autocast ("meta") raise where it is asked for, or switched off.
    autocast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    if not autocast:  # which a small batch notices
        return nullcontext() if torch.compiler.is_compiling() else _products(device)
    off: AbstractContextManager[Any] = torch.autocast(device, enabled=False)
    if torch.compiler.is_compiling():
        return off
    both = ExitStack()
    both.enter_context(off)
    both.enter_context(_products(device))
    return both


def in_full_precision(inputs: tuple[Array, ...]) -> bool:
    """Whether the program leaves products in the dtype of their factors, but for autocast."""
    return _products(inputs[0].device.type).are_full()


def short_factors(device: torch.device) -> AbstractContextManager[Any]:
    """Products of float32 by matrix units, inside a call, of factors that lose nothing by it."""
    return _CUDA.by_matrix_units() if device.type == "cuda" else nullcontext()


class _Products:
    """One backend's products in full precision from the first who enters to the last who leaves."""

    def __init__(self, backend: str) -> None:
        self._backend = backend
        self._lock = threading.Lock()
        self._inside = 0
        self._before = "ieee"

    def __enter__(self) -> None:
        with self._lock:
            now = self._get()
            if not self._inside:
                self._before = now
            if now not in _FULL:
                self._set("ieee")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._before not in _FULL:
                self._set(self._before)

    def are_full(self) -> bool:
        return self._get() in _FULL

    @contextmanager
    def by_matrix_units(self) -> Iterator[None]:
        """As TF32, for who is inside alone: the products of others would lose bits by it. Who comes
        in meanwhile ends it, which is slower and no less exact."""
        with self._lock:
            alone, full = self._inside <= 1, self._get()
            if alone:
                self._set("tf32")
        try:
            yield
        finally:
            if alone:
                with self._lock:
                    self._set(full)

    if hasattr(torch._C, "_get_fp32_precision_getter"):

        def _get(self) -> str:
            # As `torch.backends.cuda.matmul.fp32_precision`, in a thirtieth of the time.
            return str(torch._C._get_fp32_precision_getter(self._backend, "matmul"))

        def _set(self, precision: str) -> None:
            torch._C._set_fp32_precision_setter(self._backend, "matmul", precision)

    else:  # before PyTorch 2.9 there was one setting for all

        def _get(self) -> str:
            return str(torch.get_float32_matmul_precision())

        def _set(self, precision: str) -> None:
            names = {"ieee": "highest", "tf32": "high"}
            torch.set_float32_matmul_precision(names.get(precision, precision))


_CUDA, _ONEDNN = _Products("cuda"), _Products("mkldnn")


def _products(device: str) -> _Products:
    return _CUDA if device == "cuda" else _ONEDNN

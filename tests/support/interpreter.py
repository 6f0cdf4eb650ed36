"""Triton's interpreter with a matrix product as the hardware makes it; import before any kernel.

As it is, bfloat16 operands are multiplied as the whole numbers of their bits, and every precision
of float32 products is exact.
"""

from typing import Any

import numpy as np
import triton.language as tl
import triton.runtime.interpreter as interpreter


def _wide(x: Any) -> np.ndarray:
    """A half-precision operand as float32."""
    if x.dtype.scalar == tl.bfloat16:
        return (x.data.astype(np.uint32) << 16).view(np.float32)
    return x.data.astype(np.float32)


def _tf32(x: np.ndarray) -> np.ndarray:
    """What the matrix units see of a float32: 10 bits after the point, the others cut off."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32) & np.uint32(0xFFFFE000)
    return bits.view(np.float32)


def _create_dot(self: Any, a: Any, b: Any, d: Any, precision: Any, _: Any) -> Any:
    x, y, kind = _wide(a), _wide(b), str(precision)
    if a.dtype.scalar != tl.float32 or kind.endswith("IEEE"):
        found = x @ y
    elif kind.endswith("TF32"):
        found = _tf32(x) @ _tf32(y)
    else:
        p, q = _tf32(x), _tf32(y)
        found = _tf32(x - p) @ q + p @ _tf32(y - q) + p @ q
    return interpreter.TensorHandle((found + d.data).astype(d.data.dtype), d.dtype.scalar)


interpreter.InterpreterBuilder.create_dot = _create_dot


def _create_splat(self: Any, kind: Any, x: Any) -> Any:
    """A scalar for every place; of a Boolean it made whole numbers, which no mask may be."""
    return interpreter.TensorHandle(
        np.full(kind.shape, x.data.item(), x.data.dtype), x.dtype.scalar
    )


interpreter.InterpreterBuilder.create_splat = _create_splat


_convert = interpreter._convert_float


def _convert_float(x: Any, of: Any, to: Any, rounding: Any) -> Any:
    """float32 to bfloat16 to the nearest, ties to even; it cut the bits off."""
    if of != tl.float32 or to != tl.bfloat16 or np.isnan(x).any():
        return _convert(x, of, to, rounding)
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


interpreter._convert_float = _convert_float

"""Where arrays come in and go out: kinds, dtypes, shapes, and what the host may see of them."""

from math import prod
from typing import Any, ClassVar

import numpy as np

from nearfar.frameworks.protocol.required import Required
from nearfar.frameworks.protocol.types import Array, DType


class Conversion(Required):
    in_place: ClassVar[bool] = False
    """Whether operations ending in `_` write into their argument."""

    on_host: ClassVar[bool] = False
    """Whether its arrays are NumPy's: lists are taken for arrays, and every dtype is at hand."""

    checks_values: ClassVar[bool] = False
    """Whether NaN and infinity are refused as a matter of course. Elsewhere looking would wait for
    the device, and mixed-precision scalers expect to see infinities."""

    def is_floating(self, x: Array) -> bool:
        return bool(self.xp.isdtype(x.dtype, "real floating"))

    def is_dense(self, x: Array) -> bool:
        """Whether `x` holds every entry of rows of one length."""
        return True

    def accelerated(self, x: Array) -> bool:
        """Whether `x` lies on an accelerator, from where values are slow to read."""
        return False

    def device_kind(self, x: Array) -> str:
        """ "cpu", "cuda": what kind of device `x` lies on, as far as kernels ask."""
        return "cpu"

    def place(self, x: Array) -> Any:
        """The device of `x`, for frameworks that take no arrays of two devices together and move
        none by themselves; otherwise None."""
        return None

    def beside(self, x: Array, like: Array) -> Array:
        """An array of this framework on the device of `like`."""
        return x

    def stays(self, x: Any, like: Array) -> bool:
        """Whether labels `x` of the host are left there, though `like` is elsewhere: they are read
        and sorted for nothing there, and what comes of them is sent. NumPy's too, by `placed`."""
        return False

    def placed(self, x: np.ndarray) -> Array:
        """Whole numbers as an array of this framework on the host; see `stays`."""
        raise NotImplementedError

    def asarray(self, values: Any, like: Array, dtype: DType | None = None) -> Array:
        """Host values as an array beside `like` (its device), in `dtype` or in that of `like`."""
        return self.xp.asarray(values, dtype=like.dtype if dtype is None else dtype)

    def number(self, n: Any, like: Array) -> Any:
        """A size as a factor of arrays like `like`."""
        return n if isinstance(n, int) else self.asarray(n, like)

    def waited_for(self, x: Array) -> int | None:
        """The whole number in an array without axes, for which the host waits; None where it cannot
        or must not."""
        seen = self.peek(x)
        return None if seen is None else int(seen)

    def compute_dtype(self, *arrays: Array) -> DType:
        """float64 if one of the arrays is, otherwise float32."""
        wide = any(x.dtype == self.xp.float64 for x in arrays)
        return self.xp.float64 if wide else self.xp.float32

    def cast(self, x: Array, dtype: DType) -> Array:
        return self.xp.astype(x, dtype, copy=False)

    def double(self, x: Array) -> Array:
        """In float64, where framework and device have it."""
        return self.cast(x, self.xp.float64)

    def shape(self, x: Array) -> tuple[Any, ...]:
        """The shape; a framework that traces without sizes gives arrays for unknown ones."""
        return tuple(x.shape)

    def matrix(self, x: Array, axes: int = 1) -> Array:
        """The first axes as rows, the others as features: (n, d)."""
        shape = self.shape(x)
        if axes == 1 and len(shape) == 2:
            return x
        return self.xp.reshape(x, (prod(shape[:axes]), prod(shape[axes:])))

    def itemsize(self, x: Array) -> int:
        return int(x.dtype.itemsize)

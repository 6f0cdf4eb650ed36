"""A device that computes nothing: its tensors have no values, but every launch and wait is counted.

PyTorch's "meta" device stands for any accelerator. What nearfar asks of a device it answers as a
GPU would: its tensors are not on the CPU, and reading one would wait.
"""

from collections import Counter
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

_FREE = {
    "aten::empty", "aten::empty_strided", "aten::empty_like", "aten::new_empty", "aten::detach",
    "aten::new_empty_strided", "aten::alias", "aten::lift_fresh", "aten::_unsafe_view",
    "aten::_reshape_alias", "aten::resize_", "aten::set_",
}  # fmt: skip
"""Operations that launch nothing, beside views."""


class Launches(TorchDispatchMode):
    """Counts what a GPU would be asked to do inside the block."""

    def __init__(self, number: int = 0) -> None:
        """`number`: what every whole number is that the host reads; flags are false."""
        super().__init__()
        self._number = number
        self.launches: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        """Values that the host reads, and copies between the host and the device."""

        self._uploads = _Uploads(self.waits)

    def __enter__(self) -> "Launches":
        self._uploads.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        self._uploads.__exit__(*raised)

    @property
    def total(self) -> int:
        return self.launches.total()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> Any:
        name = func._schema.name
        tensors = [x for x in torch.utils._pytree.tree_leaves((args, kwargs)) if _is_tensor(x)]
        meta = any(x.device.type == "meta" for x in tensors)
        if name in ("aten::_local_scalar_dense", "aten::is_nonzero") and meta:
            self.waits[name] += 1
            return False if args[0].dtype == torch.bool else self._number
        device = (kwargs or {}).get("device")
        waits = not (kwargs or {}).get("non_blocking")  # from pinned memory, as labels are sent
        if waits and name in ("aten::_to_copy", "aten::copy_") and _crosses(args, device):
            self.waits[name] += 1
        found = func(*args, **(kwargs or {}))
        if name not in _FREE and not func.is_view and (meta or _on_meta(found)):
            self.launches[name] += 1
        return found


class _Uploads(TorchFunctionMode):
    """Numbers of the host made into arrays of the device, which no dispatcher sees."""

    def __init__(self, waits: Counter[str]) -> None:
        super().__init__()
        self._waits = waits

    def __torch_function__(self, func, types, args=(), kwargs=None) -> Any:
        found = func(*args, **(kwargs or {}))
        made = func in (torch.as_tensor, torch.tensor, torch.asarray) and _on_meta(found)
        if made and not _is_tensor(args[0]):
            self._waits["upload"] += 1
        return found


def _is_tensor(x: Any) -> bool:
    return isinstance(x, torch.Tensor)


def _on_meta(found: Any) -> bool:
    return _is_tensor(found) and found.device.type == "meta"


def _crosses(args: tuple[Any, ...], device: Any) -> bool:
    kinds = {x.device.type for x in args if _is_tensor(x)}
    kinds |= set() if device is None else {torch.device(device).type}
    return len(kinds) > 1

"""What a rank gives to a call: tensors by name, and which rows stand on one rank together."""

from typing import Any

import numpy as np
import torch

from nearfar.losses import Loss as Statement

DTYPES = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
    torch.int16, torch.int8, torch.uint8, torch.bool,
)  # fmt: skip
_BITS = {
    torch.float64: torch.int64,
    torch.float32: torch.int32,
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
}

_SEVERAL = ("ids", "log_q", "guide")
"""Facts that may be one array or several, "guide.0" and "guide.1"."""
_APART = ("reference", "queue")


def names(loss: Statement) -> list[str]:
    """Of all tensors that a call may be made of, in one order."""
    found = []
    for name in (*loss.inputs, *loss.keywords):
        found.append(name)
        found += [f"{name}.{k}" for k in range(_parts(loss, name))]
    return found


def _parts(loss: Statement, name: str) -> int:
    """How many arrays a fact is at most, where it is several."""
    if name not in _SEVERAL:
        return 0
    return 2 if name == "ids" else len(loss.embeddings)


def taken(loss: Statement, given: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Embeddings, then facts, as tensors that other ranks can be sent."""
    found: dict[str, torch.Tensor] = {}
    order = sorted(given, key=lambda name: name not in loss.embeddings)
    for whole in order:
        for name, x in _apart(loss, whole, given[whole]).items():
            if name in loss.embeddings and not isinstance(x, torch.Tensor):
                raise TypeError(
                    f"expected {name} to be a tensor; received {type(x).__name__}; every rank "
                    "gives the tensor of its own rows"
                )
            like = next(iter(found.values()), None)
            x = x if like is None else _beside(name, x, like)
            if x.ndim == 0 or x.dtype not in DTYPES:
                raise TypeError(
                    f"expected {name} with one row for each of this rank's and a real dtype; "
                    f"received shape {tuple(x.shape)} of {x.dtype}; give a tensor of numbers"
                )
            found[name] = x
    if "log_q" in found and _in_two(loss, found):
        batch = len(found["embeddings"])
        log_q = found.pop("log_q")
        found |= {"log_q.0": log_q[:batch], "log_q.1": log_q[batch:]}
    return found


def called(loss: Statement, every: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Tensors of `taken`, of all ranks' rows, as the loss is called with them."""
    found: dict[str, Any] = {name: x for name, x in every.items() if "." not in name}
    for name in _SEVERAL:
        parts = tuple(x for key, x in every.items() if key.startswith(f"{name}."))
        if parts:
            found[name] = torch.cat(parts) if name == "log_q" and _in_two(loss, every) else parts
    return found


def fingerprint(name: str, x: Any) -> str:
    """In words what an array of all ranks is: shape, dtype, and a sum of its bits.

    A sum of whole numbers, which no order of summing changes.
    """
    if not isinstance(x, torch.Tensor) or x.dtype not in _BITS:
        raise TypeError(
            f"expected {name} to be a tensor of floats, the same on all ranks; received "
            f"{x.dtype if isinstance(x, torch.Tensor) else type(x).__name__}"
        )
    bits = x.detach().contiguous().view(_BITS[x.dtype]).sum(dtype=torch.int64)
    return f"shape {tuple(x.shape)} and {x.dtype}, whose bits add up to {bits.item()}"


def check_aligned(loss: Statement, rows: dict[str, torch.Tensor], sizes: list[list[int]]) -> None:
    """Rows that belong together stand on one rank: equal totals would hide a shift.

    A reference, a queue and negatives for all have a number of rows of their own.
    """
    sets: dict[str, list[str]] = {}
    for name, owner in _owners(loss, rows).items():
        sets.setdefault(owner, []).append(name)
    for rank, each in enumerate(sizes):
        count = dict(zip(rows, each, strict=True))
        for some in sets.values():
            if len({count[name] for name in some}) > 1:
                told = ", ".join(f"{name} {count[name]}" for name in some)
                raise ValueError(
                    f"expected as many rows of {' and '.join(some)} on every rank; received on "
                    f"rank {rank}: {told}; give each rank whole rows of the batch"
                )


def _owners(loss: Statement, rows: dict[str, torch.Tensor]) -> dict[str, str]:
    """Of each name the embeddings whose rows it has; the first ones stand for a batch."""
    embeddings = [name for name in loss.embeddings if name in rows]
    first = embeddings[0]
    apart = {name for name in _APART if name in rows}
    if "negatives" in rows and rows["negatives"].ndim == rows[first].ndim:
        apart.add("negatives")
    if "ids.1" in rows and loss.stated("same", "positive") == "positive":
        # Whose partners are told by the ids alone.
        apart.add(embeddings[1])
    candidates = embeddings if first != "query" else embeddings[1:]
    if "reference" in rows and not _in_two(loss, rows):
        candidates = ["reference"]
    owners = {name: name for name in embeddings}
    for fact, sets in (("ids", embeddings), ("guide", embeddings), ("log_q", candidates)):
        owners |= {fact: sets[0]} | {f"{fact}.{k}": name for k, name in enumerate(sets)}
    owners |= {"reference_labels": "reference", "reference_targets": "reference"}
    found = {name: owners.get(name, first) for name in rows}
    return {name: owner if owner in apart else first for name, owner in found.items()}


def _in_two(loss: Statement, rows: dict[str, Any]) -> bool:
    """Whether log_q is of the batch and of a reference, one after the other."""
    return "reference" in rows and bool(loss.stated("candidates") == "both")


def _apart(loss: Statement, name: str, x: Any) -> dict[str, Any]:
    """An input by name, or its parts."""
    most = _parts(loss, name)
    alone = (str, bytes, int, float, np.generic)
    several = isinstance(x, tuple if name == "ids" else tuple | list)
    if not most or not several or any(isinstance(part, alone) for part in x):
        return {name: x}
    if not 0 < len(x) <= most:
        raise ValueError(
            f"expected {name} as an array, or as at most {most} of them; received {len(x)}"
        )
    return {f"{name}.{k}": part for k, part in enumerate(x)} if len(x) > 1 else {name: x[0]}


def _beside(name: str, x: Any, like: torch.Tensor) -> torch.Tensor:
    try:
        # Through NumPy, which reads decimals as float64.
        x = np.asarray(x) if isinstance(x, tuple | list) else x
        return torch.as_tensor(x, device=like.device)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"expected {name} to be numbers, which can be sent to other ranks; received "
            f"{type(x).__name__}: {error}; number the classes, alike on all ranks"
        ) from error

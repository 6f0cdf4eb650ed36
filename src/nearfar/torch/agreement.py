"""What ranks tell each other of a call before any rows travel.

A collective that differs between ranks, in its length or by being called at all, hangs or aborts
them. So the first one has one length whatever is called with what; and what it says, the same on
every rank, decides for all ranks whether they go on.
"""

from collections.abc import Iterable
from typing import Any
from zlib import crc32

import torch

from nearfar.losses import Loss as Statement
from nearfar.torch import given
from nearfar.torch.collectives import Ranks
from nearfar.torch.given import DTYPES

MOST = 19
"""Tensors that a call may be made of, at most."""

_VALUE, _GRADIENT, _REFUSED = range(3)
_ABSENT = (-1,) * 4
_LENGTH = 2 + MOST * len(_ABSENT)


def agree(
    ranks: Ranks, loss: Statement, rows: dict[str, torch.Tensor], call: str, wanted: bool
) -> tuple[list[list[int]], bool]:
    """How many rows of each input every rank has, and whether any of them wants a gradient.

    `call` is in words what has to be the same on all ranks. A rank without rows has shapes and
    dtypes all the same.
    """
    notice = [_GRADIENT if wanted else _VALUE, crc32(call.encode())]
    names = given.names(loss)
    for name in names:
        notice += _described(rows[name]) if name in rows else _ABSENT
    table = _exchange(ranks, notice, next(iter(rows.values())).device)
    refused = [rank for rank, (state, *_) in enumerate(table) if state == _REFUSED]
    if refused:
        raise RuntimeError(
            f"expected inputs that all {ranks.count} ranks accept; rank {refused[0]} has refused "
            "its own: look for its error"
        )
    others = [rank for rank, (_, told, *_) in enumerate(table) if told != table[0][1]]
    if others:
        raise ValueError(
            f"expected one loss with the same options, gradient=, parameters and proxies on all "
            f"ranks; received others on rank {others[0]} than on rank 0; here: {call}"
        )
    described = [row[2:] for row in table]
    for name in names:
        _check_alike(name, [tuple(x[1:4]) for x in described])
        described = [x[4:] for x in described]
    sizes = [[row[2 + 4 * names.index(name)] for name in rows] for row in table]
    return sizes, any(state == _GRADIENT for state, *_ in table)


def refuse(ranks: Ranks, inputs: Iterable[Any]) -> None:
    """Tell the other ranks, which wait in `agree`, that this one raises."""
    devices = [x.device for x in inputs if isinstance(x, torch.Tensor)]
    _exchange(ranks, [_REFUSED], (devices or [torch.device("cpu")])[0])


def _exchange(ranks: Ranks, notice: list[int], device: torch.device) -> list[list[int]]:
    return ranks.table(notice + [0] * (_LENGTH - len(notice)), device)


def _described(x: torch.Tensor) -> tuple[int, int, int, int]:
    return x.shape[0], x.shape[1:].numel(), x.ndim, DTYPES.index(x.dtype)


def _check_alike(name: str, kinds: list[tuple[int, ...]]) -> None:
    if len(set(kinds)) == 1:
        return
    told = "; ".join(
        f"rank {rank}: " + (_in_words(*kind) if kind != _ABSENT[1:] else "none")
        for rank, kind in enumerate(kinds)
    )
    raise ValueError(
        f"expected {name} of one shape and dtype on all ranks, the number of rows aside; received "
        f"{told}; an empty part is torch.empty((0, d), dtype=...)"
    )


def _in_words(width: int, axes: int, dtype: int) -> str:
    return f"{width} features in {axes} axes of {DTYPES[dtype]}"

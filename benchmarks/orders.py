"""What a loss cannot do without whose sums run along an order of each anchor's candidates.

An anchor's denominators are sums from one end of the order, and each row is pulled by the inverses
of those that it is part of, a sum from the other end. Nobody knows a faster way than to sort, to
take the numbers in that order, to sum twice and to put back; rows of one target share a place. A
row's targets, themselves in order, fall and rise from an anchor on: that is only merged, and by
NumPy in both frameworks, since PyTorch sorts ten times as long.
"""

from collections.abc import Callable

import numpy as np

STRIP = 64
"""Anchors at once, whose numbers stay in the caches."""
CHUNK = 32
"""Numbers that one product with a triangle of ones sums up, sooner than one after the other."""


def _distances(places: int) -> np.ndarray:
    """Of some anchors in the middle. As whole numbers, in the same order, they compare faster."""
    targets = np.sort(np.random.default_rng(1).standard_normal(places, dtype=np.float32))
    middle = targets[max(0, places - STRIP) // 2 :][:STRIP]
    return np.abs(middle[:, None] - targets).view(np.int32)


def in_torch(places: int) -> Callable[[], None]:
    """The work of a strip."""
    import torch

    distances = _distances(places)
    sums, taken, back = torch.ones(3, *distances.shape)

    def strip() -> None:
        order = torch.from_numpy(np.argsort(distances, axis=1, kind="stable"))
        torch.gather(sums, 1, order, out=taken)
        torch.cumsum(taken, 1, out=back)
        torch.log(back, out=taken)
        torch.reciprocal(back, out=taken)
        torch.cumsum(taken, 1, out=back)
        taken.scatter_(1, order, back)

    return strip


def in_numpy(places: int) -> Callable[[], None]:
    distances = _distances(places)
    rows, width = distances.shape
    sums, taken, back = np.ones((3, rows, width + -width % CHUNK), np.float32)
    starts = np.arange(rows)[:, None] * sums.shape[1]

    def strip() -> None:
        order = np.argsort(distances, axis=1, kind="stable")
        order += starts
        places = sums.reshape(-1).take(order, out=taken[:, :width], mode="clip")
        running_sum(taken, back)
        np.log(back, out=taken)
        np.divide(1, back, out=taken)
        running_sum(taken, back)
        places.reshape(-1)[order] = back[:, :width]

    return strip


def running_sum(x: np.ndarray, out: np.ndarray) -> None:
    """Along the rows, whose length is a multiple of `CHUNK`; consumes `x`."""
    chunks = x.reshape(-1, CHUNK)
    before = (chunks @ np.ones(CHUNK, x.dtype)).reshape(len(x), -1)[:, :-1]
    x[:, CHUNK::CHUNK] += np.add.accumulate(before, axis=1)
    np.matmul(chunks, np.triu(np.ones((CHUNK, CHUNK), x.dtype)), out=out.reshape(-1, CHUNK))

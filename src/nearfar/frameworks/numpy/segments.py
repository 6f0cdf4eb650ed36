"""Order, running sums and runs along the rows of NumPy matrices, and the largest of columns.

`np.add.accumulate` waits for each sum before the next and holds the interpreter's lock: two threads
are no faster with it than one.
"""

import numpy as np

# Columns that one product with a triangle of ones sums up; measured best, and within 5 % from 16
# to 64.
_CHUNK = 32

# Up to this share of ties they are found and looked at one by one.
_FEW = 0.125


def merge(x: np.ndarray) -> np.ndarray:
    """Where the entries of each row stand in ascending order; at most one is below 0.

    Rows that fall and then rise are two runs to timsort, which it only merges.
    """
    if x.dtype.kind == "f":
        # The bits of such numbers are in the same order, and whole numbers compare faster.
        x = x.view(f"i{x.dtype.itemsize}")
    tied = np.count_nonzero(x[:, 1:] == x[:, :-1]) > _FEW * x.size
    if tied and (x.dtype.itemsize <= 4 or x.max() < 2**31):
        x = _without_ties(x)
    return np.argsort(x, axis=1, kind="stable")


def _without_ties(x: np.ndarray) -> np.ndarray:
    """Told apart by how far they are from the least, ties fall where a row falls: a tie ends it."""
    steps = np.arange(x.shape[1], dtype=np.int32) - np.argmin(x, axis=1)[:, None].astype(np.int32)
    keys = x.astype(np.int64)
    keys <<= 32
    keys |= np.abs(steps, out=steps)
    return keys


def running_sum(x: np.ndarray, reverse: bool) -> np.ndarray:
    """Sums of each finite entry and all before it; after it, in reverse."""
    x = x[:, ::-1] if reverse else x
    rows, width = x.shape
    if width <= _CHUNK:
        sums = np.add.accumulate(x, axis=1)
    else:
        padded = np.empty((rows, width + -width % _CHUNK), x.dtype)
        padded[:, :width], padded[:, width:] = x, 0
        triangle = np.triu(np.ones((_CHUNK, _CHUNK), x.dtype))
        chunks = (padded.reshape(-1, _CHUNK) @ triangle).reshape(rows, -1, _CHUNK)
        chunks[:, 1:] += np.add.accumulate(chunks[:, :-1, -1], axis=1)[:, :, None]
        sums = chunks.reshape(rows, -1)[:, :width]
    return sums[:, ::-1] if reverse else sums


def largest_of_columns(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and value of the first largest entry of each column; row 0 where one is NaN.

    Looked for among all: `np.argmax` along columns takes four times as long.
    """
    values = x.max(axis=0)
    rows, columns = np.divmod(np.flatnonzero(x == values)[::-1], x.shape[1])
    found = np.zeros(x.shape[1], np.int64)
    found[columns] = rows  # the first comes last
    return found, values


def segment_fill(x: np.ndarray, starts: np.ndarray, last: bool) -> np.ndarray:
    """Every entry replaced by the first, or the last, of its run.

    The first entry of each row starts a run.
    """
    found = fill_short_segments(x, starts, last)
    if found is not None:
        return found
    if last:
        starts = np.append(starts[:, 1:], starts[:, :1], axis=1)[:, ::-1]
        x = x[:, ::-1]
    # Entries look 1, 2, 4, ... places back for the start of their run.
    out, known, step = x.copy(), starts.copy(), 1
    while not known.all():
        out[:, step:] = np.where(known[:, step:], out[:, step:], out[:, :-step])
        known[:, step:] = known[:, step:] | known[:, :-step]
        step *= 2
    return out[:, ::-1] if last else out


def fill_short_segments(x: np.ndarray, starts: np.ndarray, last: bool) -> np.ndarray | None:
    """As `segment_fill`; None where many entries are in runs of more than two.

    Those of two views are in runs of two, but for coincidences.
    """
    if _few(starts):
        return _fill_few_segments(x, starts, last)
    first_two = starts.copy()
    here, there = (slice(None, -1), slice(1, None)) if last else (slice(1, None), slice(None, -1))
    first_two[:, here] |= starts[:, there]
    first_two[:, -1] |= last
    if not _few(first_two):
        return None
    out = x.copy(order="C")
    out[:, here] = np.where(starts[:, 1:], x[:, here], x[:, there])
    return _fill_few_segments(out, first_two, last)


def _few(starts: np.ndarray) -> bool:
    return bool(starts.size - np.count_nonzero(starts) <= _FEW * starts.size)


def _fill_few_segments(x: np.ndarray, starts: np.ndarray, last: bool) -> np.ndarray:
    inside = np.flatnonzero(~starts)
    out = x.copy(order="C")
    flat = out.reshape(-1)
    # Entries that continue one run follow each other; it begins before the first of them.
    first = np.diff(inside, prepend=-2) != 1
    run = np.cumsum(first) - 1
    if last:
        end = inside[np.append(first[1:], True)] if inside.size else inside
        flat[inside - 1] = flat[end[run]]
    else:
        flat[inside] = flat[inside[first][run] - 1]
    return out

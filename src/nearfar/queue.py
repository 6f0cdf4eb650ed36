"""A dictionary of recent embeddings as negatives, first in first out.

He et al. 2020, MoCo, arXiv 1911.05722, section 3.2. Serves every framework; the queue itself is
plain Python, so push outside of compiled functions and pass `embeddings` in.

>>> import numpy as np
>>> from nearfar import InfoNCE
>>> from nearfar.queue import EmbeddingQueue
>>> queue = EmbeddingQueue(4, 2, like=np.zeros((1, 2)))
>>> for step in range(3):
...     queue.push(np.full((2, 2), float(step)))
>>> queue.embeddings[:, 0]
array([2., 2., 1., 1.])
"""

from typing import Any

import numpy as np

from nearfar.frameworks import Array, namespace_of
from nearfar.losses import arguments, inputs

__all__ = ["EmbeddingQueue"]


class EmbeddingQueue:
    """The last `size` embeddings that were pushed.

    A queue that is not full shows only what it holds. An array that was handed out never changes:
    pushing makes a new one, so a loss may be differentiated after the push.

    Parameters
    ----------
    size
        Most rows it holds.
    dim
        Features of a row.
    like
        An array whose framework, dtype and device the queue takes on.

    Raises
    ------
    TypeError, ValueError
        For sizes that are no whole numbers above 0, and a `like` that is no floating array.
    """

    def __init__(self, size: int, dim: int, *, like: Any) -> None:
        arguments.whole("size", size)
        arguments.whole("dim", dim)
        self.size, self.dim = int(size), int(dim)
        self._ns = namespace_of([("like", like)])
        if not self._ns.is_array(like) or not self._ns.is_floating(like):
            raise TypeError(
                "expected like to be an array of a floating dtype, which the queue takes on; "
                f"received {getattr(like, 'dtype', type(like).__name__)}; pass some embeddings"
            )
        self._none: Array = self._ns.beside(self._ns.zeros((0, self.dim), like), like)
        self._rows = self._none
        self._next = 0

    def __len__(self) -> int:
        return int(self._rows.shape[0])

    @property
    def embeddings(self) -> Array:
        """The rows it holds, (len, dim), without gradient; in no particular order."""
        return self._rows

    def push(self, x: Any) -> None:
        """Take in rows (n, dim), the last ones if there are more than `size`.

        They are stored without gradient, in the queue's dtype and on its device; the oldest rows
        make room.

        Raises
        ------
        TypeError, ValueError
            For arrays of another framework, another shape, and in NumPy for NaN and infinity.
        """
        ns = self._ns
        namespace_of([("x", x), ("the queue", self._rows)])
        x = inputs.embeddings(ns, "x", x, None)
        if len(x.shape) != 2 or x.shape[1] != self.dim:
            raise ValueError(
                f"expected x of shape (n, {self.dim}), rows of the queue; received {tuple(x.shape)}"
            )
        x = ns.beside(ns.cast(ns.stop_gradient(x), self._none.dtype), self._none)[-self.size :]
        free = self.size - len(self)
        if free:
            self._rows = self._joined(self._rows, x[:free])
            x = x[free:]
        if not x.shape[0]:
            return
        # Around the end of the ring: what does not fit behind `next` goes to the front.
        room = self.size - self._next
        front, behind = x[room:], x[:room]
        stop = self._next + behind.shape[0]
        kept = self._rows[front.shape[0] : self._next], self._rows[stop:]
        self._rows = self._joined(front, kept[0], behind, kept[1])
        self._next = front.shape[0] if front.shape[0] else stop % self.size

    def state_dict(self) -> dict[str, Any]:
        """All it takes to go on: the rows, and where the next one goes."""
        return {"size": self.size, "dim": self.dim, "next": self._next, "embeddings": self._rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on as the queue that gave this state; arrays may come as NumPy's, from a file.

        (NumPy's files have no bfloat16: save such a queue with its framework, or as float32.)

        Raises
        ------
        TypeError, ValueError
            For a state of another size, or one that lacks or holds something else; the queue stays
            as it was.
        """
        missing = {"size", "dim", "next", "embeddings"} - set(state)
        if missing:
            raise ValueError(
                f"expected the state of an EmbeddingQueue; received one without "
                f"{', '.join(sorted(missing))}; pass what state_dict() gave"
            )
        size, dim, following = (_whole(key, state[key]) for key in ("size", "dim", "next"))
        if (size, dim) != (self.size, self.dim):
            raise ValueError(
                f"expected the state of a queue of {self.size} x {self.dim}; received {size} x "
                f"{dim}; make the queue with that size"
            )
        rows = self._known(state["embeddings"])
        held = tuple(rows.shape)
        if len(held) != 2 or held[1] != dim or held[0] > size or not 0 <= following < size:
            raise ValueError(
                f"expected at most {size} rows of {dim} and the place of the next one; received "
                f"{held} and {following}; was the state changed?"
            )
        if held[0] < size and following:
            raise ValueError(
                f"expected the place of the next one to be 0 in a queue that is not full; received "
                f"{following} with {held[0]} of {size} rows; was the state changed?"
            )
        self._rows, self._next = rows, following

    def _joined(self, *parts: Array) -> Array:
        """A new array, whatever its parts share memory with."""
        return self._ns.beside(self._ns.xp.concat(list(parts), axis=0), self._none)

    def _known(self, rows: Any) -> Array:
        """Rows of a state, as an array of the queue's own."""
        ns = self._ns
        if not ns.is_array(rows):
            rows = np.array(rows)
        floating = rows.dtype.kind == "f" if isinstance(rows, np.ndarray) else ns.is_floating(rows)
        if not floating:
            raise TypeError(
                f"expected embeddings of a floating dtype in the state; received {rows.dtype}; "
                "pass what state_dict() gave"
            )
        if isinstance(rows, np.ndarray):
            if not np.isfinite(rows).all():
                raise ValueError(
                    "expected embeddings to be finite in the state; received NaN or infinity; was "
                    "the state changed?"
                )
            rows = ns.asarray(rows, self._none)
        rows = ns.cast(ns.stop_gradient(rows), self._none.dtype)
        if len(rows.shape) != 2 or rows.shape[1] != self.dim:
            return rows  # to be refused by its shape
        return self._joined(ns.beside(rows, self._none), self._none)


def _whole(key: str, value: Any) -> int:
    """A whole number, which a file may have made an array of."""
    known = np.asarray(value)
    if known.shape != () or known.dtype.kind not in "iu":
        raise TypeError(f"expected {key} in the state to be a whole number; received {value!r}")
    return int(known)

"""A dictionary of recent embeddings as negatives, or a labelled memory, first in first out.

He et al. 2020, MoCo, arXiv 1911.05722, section 3.2; with labels Wang et al. 2020, Cross-Batch
Memory, arXiv 1912.06798. Serves every framework; the queue itself is plain Python, so push outside
of compiled functions and pass `embeddings` (and `labels`) in.

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

from nearfar.frameworks import Array, Namespace, namespace_of
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
    labels
        Whether every row comes with a label, or with targets: ``loss(z, y, queue.embeddings,
        queue.labels)``.

    Raises
    ------
    TypeError, ValueError
        For sizes that are no whole numbers above 0, and a `like` that is no floating array.
    """

    def __init__(self, size: int, dim: int, *, like: Any, labels: bool = False) -> None:
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
        arguments.one_of("EmbeddingQueue", "labels", labels, (True, False))
        self._labels: Array | None = self._no_labels() if labels else None
        self._next = 0

    def __len__(self) -> int:
        return int(self._rows.shape[0])

    @property
    def embeddings(self) -> Array:
        """The rows it holds, (len, dim), without gradient; in no particular order."""
        return self._rows

    @property
    def labels(self) -> Array:
        """Those of the rows, in the order of `embeddings`: (len,), or more axes if they have more.

        Raises
        ------
        ValueError
            For a queue without labels.
        """
        if self._labels is None:
            raise ValueError(
                "expected a queue with labels; received one that holds embeddings alone; make it "
                "with EmbeddingQueue(..., labels=True)"
            )
        return self._labels

    def push(self, x: Any, labels: Any = None) -> None:
        """Take in rows (n, dim), the last ones if there are more than `size`.

        They are stored without gradient, in the queue's dtype and on its device; the oldest rows
        make room. Labels are of the dtype that came first.

        Raises
        ------
        TypeError, ValueError
            For arrays of another framework, another shape, and in NumPy for NaN and infinity; for
            labels where the queue has none, and none where it has some.
        """
        ns = self._ns
        namespace_of([("x", x), ("the queue", self._rows)])
        x = inputs.embeddings(ns, "x", x, None)
        if len(x.shape) != 2 or x.shape[1] != self.dim:
            raise ValueError(
                f"expected x of shape (n, {self.dim}), rows of the queue; received {tuple(x.shape)}"
            )
        rows = ns.beside(ns.cast(ns.stop_gradient(x), self._none.dtype), self._none)
        if self._labels is None:
            if labels is not None:
                raise ValueError(
                    "expected no labels, which this queue does not hold; received some; make it "
                    "with EmbeddingQueue(..., labels=True)"
                )
            held = self._pushed((self._rows,), (rows,))
        else:
            given = self._read(labels, int(x.shape[0]))
            kept = self._labels
            if not len(self):
                kept = given[:0]
            held = self._pushed((self._rows, kept), (rows, given))
        (self._rows, *rest), self._next = held
        self._labels = rest[0] if rest else None

    def _pushed(self, held: tuple[Array, ...], new: tuple[Array, ...]) -> tuple[list[Array], int]:
        """What is held after new rows have come, and where the next one goes."""
        new = tuple(x[-self.size :] for x in new)
        following = self._next
        free = self.size - len(self)
        if free:
            held = tuple(self._joined(x, y[:free]) for x, y in zip(held, new, strict=True))
            new = tuple(y[free:] for y in new)
        if not new[0].shape[0]:
            return list(held), following
        # Around the end of the ring: what does not fit behind `following` goes to the front.
        room, count = self.size - following, int(new[0].shape[0])
        front, stop = max(0, count - room), following + min(count, room)
        found = [
            self._joined(y[room:], x[front:following], y[:room], x[stop:])
            for x, y in zip(held, new, strict=True)
        ]
        return found, front or stop % self.size

    def _no_labels(self) -> Array:
        zeros = self._ns.zeros((0,), self._none)
        return self._ns.beside(self._ns.cast(zeros, self._ns.xp.int64), self._none)

    def _read(self, labels: Any, n: int) -> Array:
        """Labels of n rows, in the dtype of those that are held."""
        if labels is None:
            raise ValueError(
                f"expected labels of the {n} rows; received none; push(x, labels), or make the "
                "queue with labels=False"
            )
        found, held = self._array(labels), self._labels
        assert held is not None
        rest = tuple(held.shape[1:]) if len(self) else tuple(found.shape[1:])
        if tuple(found.shape) != (n, *rest):
            raise ValueError(
                f"expected labels of shape {(n, *rest)}, one for each row of x; received "
                f"{tuple(found.shape)}"
            )
        if not len(self):
            return found
        kind = _kind(self._ns, held)
        if _kind(self._ns, found) != kind:
            raise TypeError(
                f"expected labels that are {kind}, as those that are held; received dtype "
                f"{found.dtype}; convert them"
            )
        return found if kind == "text" else self._ns.cast(found, held.dtype)

    def _array(self, labels: Any) -> Array:
        """Labels as an array beside the rows, without gradient."""
        ns = self._ns
        if ns.is_array(labels):
            return ns.beside(ns.stop_gradient(labels), self._none)
        host = inputs.host_array("labels", labels)
        if ns.on_host:
            return host
        if host.dtype.kind not in "biuf":
            raise TypeError(
                f"expected labels of numbers, which {ns.name} holds; received dtype {host.dtype}; "
                "number the classes"
            )
        dtype = getattr(ns.xp, host.dtype.name) if host.dtype.kind == "f" else ns.xp.int64
        return ns.beside(ns.asarray(host, self._none, dtype), self._none)

    def state_dict(self) -> dict[str, Any]:
        """All it takes to go on: the rows, their labels, and where the next one goes."""
        state = {"size": self.size, "dim": self.dim, "next": self._next, "embeddings": self._rows}
        return state if self._labels is None else state | {"labels": self._labels}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on as the queue that gave this state; arrays may come as NumPy's, from a file.

        (NumPy's files have no bfloat16: save such a queue with its framework, or as float32.)

        Raises
        ------
        TypeError, ValueError
            For a state of another size, or one that lacks or holds something else; the queue stays
            as it was.
        """
        wanted = {"size", "dim", "next", "embeddings"}
        if self._labels is not None:
            wanted.add("labels")
        elif "labels" in state:
            raise ValueError(
                "expected the state of a queue without labels; received one with them; make the "
                "queue with labels=True"
            )
        missing = wanted - set(state)
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
        if self._labels is not None:
            labels = self._array(state["labels"])
            if not labels.shape or labels.shape[0] != held[0]:
                raise ValueError(
                    f"expected labels of the {held[0]} rows in the state; received shape "
                    f"{tuple(labels.shape)}; was the state changed?"
                )
            self._labels = self._joined(labels)
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


def _kind(ns: Namespace, labels: Array) -> str:
    if isinstance(labels, np.ndarray) and labels.dtype.kind not in "biuf":
        return "text"
    return "real numbers" if ns.is_floating(labels) else "whole numbers"


def _whole(key: str, value: Any) -> int:
    """A whole number, which a file may have made an array of."""
    known = np.asarray(value)
    if known.shape != () or known.dtype.kind not in "iu":
        raise TypeError(f"expected {key} in the state to be a whole number; received {value!r}")
    return int(known)

"""Batches that have positives: samplers and datasets for any loader that takes indices."""

from collections.abc import Callable, Iterator
from multiprocessing.context import get_spawning_popen
from multiprocessing.sharedctypes import RawValue
from typing import Any

import numpy as np

from nearfar.frameworks import missing, to_host
from nearfar.losses import arguments

__all__ = ["ClassBalancedSampler", "Triples", "TwoViews"]


class ClassBalancedSampler:
    """Batches of row numbers: so many classes, so many rows of each.

    An epoch takes each class about as often as any other, its rows in a new order each time, and
    ends when all rows that can be used could have been seen. It is the same for the same seed;
    ``DataLoader(dataset, batch_sampler=sampler)`` takes it as it is.

    Parameters
    ----------
    labels
        The class of every row, (n,): numbers or text that sort, an array of any framework or a
        list.
    classes, per_class
        How many classes a batch has, and how many rows of each. Classes with fewer rows are left
        out: a row twice in a batch would be its own positive.
    seed
        A whole number from 0 on.

    Raises
    ------
    ValueError
        If fewer than `classes` classes have `per_class` rows, and for missing labels (NaN, None).
    TypeError
        For labels of several kinds, which do not sort.

    >>> sampler = ClassBalancedSampler(["a", "b", "a", "b", "c"], classes=2, per_class=2)
    >>> [sorted(batch) for batch in sampler]
    [[0, 1, 2, 3]]
    """

    def __init__(self, labels: Any, classes: int, per_class: int, seed: int = 0) -> None:
        arguments.whole("classes", classes)
        arguments.whole("per_class", per_class)
        known = to_host(labels)
        if known.ndim != 1:
            raise ValueError(f"expected labels of shape (n,); received {known.shape}")
        codes, counts = _classes(known)
        self._rows = [np.flatnonzero(codes == k) for k in np.flatnonzero(counts >= per_class)]
        if len(self._rows) < classes:
            raise ValueError(
                f"expected {classes} classes with {per_class} rows or more; received labels with "
                f"{len(self._rows)}; lower classes or per_class"
            )
        self.classes, self.per_class, self.seed = classes, per_class, seed
        self._epoch = self._done = 0

    def __len__(self) -> int:
        """Batches of an epoch."""
        usable = sum(map(len, self._rows))
        return max(1, usable // (self.classes * self.per_class))

    def __iter__(self) -> Iterator[list[int]]:
        """The rest of the current epoch; the next call gives the next one."""
        batches = self._batches(self._epoch)
        for _ in range(self._done):
            next(batches)
        for batch in batches:
            self._done += 1
            if self._done == len(self):
                self._epoch, self._done = self._epoch + 1, 0
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Where it stands: the batches handed out so far do not come again."""
        return {"epoch": self._epoch, "done": self._done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where the sampler stood that gave this state."""
        epoch, done = int(state["epoch"]), int(state["done"])
        if epoch < 0 or not 0 <= done < len(self):
            raise ValueError(
                f"expected a state of a sampler with {len(self)} batches an epoch; received "
                f"epoch {epoch} and {done} batches done; are the labels the same?"
            )
        self._epoch, self._done = epoch, done

    def _batches(self, epoch: int) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, epoch])
        waiting: list[int] = []
        decks: dict[int, list[int]] = {}
        for _ in range(len(self)):
            if len(waiting) < self.classes:
                # Those still waiting come first, and nobody twice in a batch.
                rest = [k for k in rng.permutation(len(self._rows)).tolist() if k not in waiting]
                waiting += rest
            chosen, waiting = waiting[: self.classes], waiting[self.classes :]
            batch = []
            for k in chosen:
                deck = decks.get(k, [])
                if len(deck) < self.per_class:
                    deck = rng.permutation(self._rows[k]).tolist()
                batch += deck[: self.per_class]
                decks[k] = deck[self.per_class :]
            yield batch


class TwoViews:
    """A transform that gives two views: ``transform(x)`` and ``second(x)``, by default both alike.

    >>> TwoViews(lambda x: x + 1, second=lambda x: x + 2)(0)
    (1, 2)
    """

    def __init__(
        self, transform: Callable[[Any], Any], second: Callable[[Any], Any] | None = None
    ) -> None:
        self.transform = transform
        self.second = transform if second is None else second

    def __call__(self, x: Any) -> tuple[Any, Any]:
        return self.transform(x), self.second(x)


class Triples:
    """A dataset of (anchor, positive, negative), made from one of (x, label).

    Row i is row i of `dataset`, another row of its class and a row of another class, chosen anew
    in every epoch (see `set_epoch`, which reaches the worker processes of a loader too) and the
    same for the same seed.

    Parameters
    ----------
    dataset
        Anything with ``len`` and ``dataset[i] == (x, label)``.
    labels
        The labels, where reading them off the dataset takes long; all rows are read otherwise.
    seed
        A whole number from 0 on.

    Raises
    ------
    ValueError
        If there are fewer than two classes, or none has two rows, and for missing labels (NaN,
        None). Rows of classes with one row are left out as anchors.
    TypeError
        For labels of several kinds, which do not sort.
    """

    def __init__(self, dataset: Any, labels: Any = None, seed: int = 0) -> None:
        if labels is None:
            labels = [dataset[i][1] for i in range(len(dataset))]
        known = to_host(labels)
        if known.shape != (len(dataset),):
            raise ValueError(
                f"expected labels of shape ({len(dataset)},), one per row; received {known.shape}"
            )
        self._codes, counts = _classes(known)
        self._anchors = np.flatnonzero(counts[self._codes] > 1)
        if len(counts) < 2 or not len(self._anchors):
            raise ValueError(
                "expected two classes or more, one of them with two rows; received "
                f"{len(counts)} classes of at most {counts.max(initial=0)} rows"
            )
        self.dataset, self.seed = dataset, seed
        # Workers that outlive an epoch look here for the next one.
        self._epoch = RawValue("q", 0)

    def __getstate__(self) -> dict[str, Any]:
        # Shared memory goes to a process that is being started, and into no file or copy.
        shared = get_spawning_popen() is not None
        return self.__dict__ | ({} if shared else {"_epoch": self.epoch})

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if isinstance(self._epoch, int):
            self._epoch = RawValue("q", self._epoch)

    @property
    def epoch(self) -> int:
        return int(self._epoch.value)

    def __len__(self) -> int:
        return len(self._anchors)

    def set_epoch(self, epoch: int) -> None:
        """Choose other positives and negatives from now on, in a loader's workers too.

        Raises
        ------
        TypeError, ValueError
            For an epoch that is no whole number from 0 on.
        """
        if isinstance(epoch, bool) or not isinstance(epoch, int | np.integer):
            raise TypeError(f"expected epoch to be a whole number from 0 on; received {epoch!r}")
        if epoch < 0:
            raise ValueError(f"expected epoch to be a whole number from 0 on; received {epoch!r}")
        self._epoch.value = int(epoch)

    def __getitem__(self, i: int) -> tuple[Any, Any, Any]:
        if not -len(self) <= i < len(self):
            raise IndexError(f"expected a row below {len(self)}; received {i}")
        rng = np.random.default_rng([self.seed, self.epoch, i % len(self)])
        anchor = int(self._anchors[i])
        alike = self._codes == self._codes[anchor]
        others = np.flatnonzero(~alike)
        alike[anchor] = False
        positive, negative = (int(rng.choice(rows)) for rows in (np.flatnonzero(alike), others))
        x, y, z = (self.dataset[k][0] for k in (anchor, positive, negative))
        return x, y, z


def _classes(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The class of each row as a number, and how many rows each class has."""
    absent = missing(labels)
    if absent.any():
        raise ValueError(
            "expected labels without NaN, None or other missing ones; received one in row "
            f"{int(absent.argmax())}; leave such rows out"
        )
    try:
        _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    except TypeError as error:
        raise TypeError(
            f"expected labels of one kind, which sort; received several: {error}; make them all "
            "text or all numbers"
        ) from None
    return codes, counts

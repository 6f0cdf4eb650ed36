"""What a framework must write itself; for everything else `Namespace` has an answer."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from nearfar.frameworks.protocol.types import Array, Scratch


class Required(ABC):
    """The whole list: two names and nine operations, which the array-API standard lacks.

    A framework that writes in place (`in_place`) also writes `scratch`, `store` and the operations
    that end in an underscore; one with gradients of its own writes a `Glue`.
    """

    name: ClassVar[str]
    """What messages call the framework."""
    xp: Any
    """Its module of array-API names."""

    @abstractmethod
    def is_array(self, x: Any) -> bool:
        """Tell whether `x` belongs to this framework."""

    @abstractmethod
    def peek(self, x: Array) -> np.ndarray | None:
        """The values of `x` where reading them costs no synchronisation, otherwise None."""

    @abstractmethod
    def to_numpy(self, x: Array) -> np.ndarray:
        """The values of `x`, waiting for them if need be."""

    @abstractmethod
    def gather(
        self, x: Array, order: Array, scratch: Scratch | None = None, key: str = ""
    ) -> Array:
        """The entries of each row in this order, in the buffer named `key` if one is lent."""

    @abstractmethod
    def scatter(
        self, x: Array, order: Array, width: Any, scratch: Scratch | None = None, key: str = ""
    ) -> Array:
        """Undo `gather`: rows of `width` entries, 0 where the order does not lead."""

    @abstractmethod
    def add_at_(self, x: Array, places: Array, values: Array) -> Array:
        """Add a row of `values` at each of the places (m,), which may repeat."""

    @abstractmethod
    def running_sum(self, x: Array, reverse: bool) -> Array:
        """Sums of each entry and all before it; after it, in reverse. All are finite."""

    @abstractmethod
    def running_log_sum(self, x: Array, reverse: bool) -> Array:
        """Logarithms of the running sums of exp(x), without overflow."""

    @abstractmethod
    def segment_fill(self, x: Array, starts: Array, last: bool) -> Array:
        """Every entry replaced by the first, or the last, of its run.

        Rows fall, or rise for `last`; `starts` is true where a run begins.
        """

"""Batches at given parameters; what several conventions need is computed once."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from nearfar.check.batches import Floats
from nearfar.check.identity.space.stack import Marks, Stack


class View:
    """A stack at K values of a temperature or a margin: arrays (K, B, ...)."""

    def __init__(self, stack: Stack, parameter: Floats | float = 1.0) -> None:
        self.stack = stack
        self.parameter = np.atleast_1d(np.asarray(parameter, float))
        self._kept: dict[Any, Any] = {}

    def keep(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def logits(self, metric: str, normalised: str, sign: int, power: int) -> Floats:
        """Similarity over temperature**power, (K, B, n, m)."""
        key = ("logits", metric, normalised, sign, power)
        return np.asarray(
            self.keep(
                key,
                lambda: sign * self.stack.similarity(metric, normalised) / self.spread() ** power,
            )
        )

    def spread(self, axes: int = 3) -> Floats:
        """The parameter, (K, 1, 1, ...)."""
        return self.parameter.reshape(-1, *[1] * axes)


class Shape(Protocol):
    """A loss but for what divides its sum and for a factor."""

    @property
    def parameter(self) -> str | None:
        """What it has to be given: "temperature", "margin" or nothing."""

    @property
    def cost(self) -> float:
        """How far from what is published; the simpler of two equal statements is named."""

    def each(self, view: View) -> Floats:
        """Each anchor's value, (K, B, n), 0 for rows that are none; or the batch's, (K, B, 1)."""

    def divisors(self, view: View) -> dict[str, Floats]:
        """What the sum of them may be divided by, (K, B) or (B,)."""


def log_sum(x: Floats, marks: Marks | None = None, axis: int = -1) -> Floats:
    """log sum exp of what is marked; -inf where nothing is."""
    if marks is not None:
        x = np.where(marks, x, -np.inf)
    top = x.max(axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.exp(x - top).sum(axis=axis)) + top.squeeze(axis))


def add_logs(x: Floats, y: Floats | float) -> Floats:
    """log(exp x + exp y), where both may be -inf."""
    return np.asarray(np.logaddexp(x, y))


def soft(x: Floats) -> Floats:
    """log(1 + exp x)"""
    return np.asarray(np.logaddexp(0.0, x))

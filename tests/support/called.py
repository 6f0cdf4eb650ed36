"""Calls whose inputs go by name, held to loops: value and gradients, in any framework and mode."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any

import numpy as np
from oracles.differences import gradient

import nearfar as nf

CLOSE = {"float64": 1e-11, "float32": 2e-5}
"""Of values and gradients, in units of their largest entry, or of 1."""
DIFFERENCES = 1e-7
"""As close as central differences come."""
UPSTREAM = 3.0


class Named:
    """A loss as a function of arrays in an order."""

    def __init__(self, loss: nf.Loss, names: tuple[str, ...]) -> None:
        self.loss, self.names = loss, names

    def __call__(self, *arrays: Any) -> Any:
        return self.loss(**self._bound(arrays))

    def value_and_grad(self, *arrays: Any, **how: Any) -> Any:
        return self.loss.value_and_grad(**self._bound(arrays), **how)

    def _bound(self, arrays: tuple[Any, ...]) -> dict[str, Any]:
        """An input that is a pair has the names "ids.0" and "ids.1"."""
        found: dict[str, Any] = {}
        for name, x in zip(self.names, arrays, strict=True):
            stem, _, number = name.partition(".")
            found[stem] = (*found.get(stem, ()), x) if number else x
        return found


@dataclass(frozen=True)
class Called:
    """A loss and what it is called with; its oracle."""

    loss: nf.Loss
    oracle: Callable[..., Any] = field(repr=False)
    embeddings: Mapping[str, np.ndarray] = field(repr=False)
    facts: Mapping[str, Any] = field(repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.embeddings, *self.facts)

    @property
    def function(self) -> Named:
        return Named(self.loss, self.names)

    def stating(self, **changes: Any) -> "Called":
        return replace(self, loss=replace(self.loss, **changes))

    def exact(self, *embeddings: Any) -> Any:
        """By loops over lists."""
        stated = {f.name: getattr(self.loss, f.name) for f in fields(self.loss)}
        given = embeddings or [x.tolist() for x in self.embeddings.values()]
        facts = [np.asarray(x).tolist() for x in self.facts.values()]
        bound = Named(self.oracle, self.names)._bound((*given, *facts))
        return self.oracle(**bound, **stated)


@cache
def _slopes(case: "Frozen", upstream: tuple[float, ...]) -> list[np.ndarray]:
    called = case.called

    def value(*embeddings: Any) -> float:
        return float(np.dot(np.ravel(called.exact(*embeddings)), upstream))

    return gradient(value, called.embeddings.values())


class Frozen:
    """Equal where the statement and every number are."""

    def __init__(self, called: Called) -> None:
        self.called = called
        arrays = {**called.embeddings, **called.facts}
        self._key = (
            repr(called.loss),
            *((k, np.asarray(x).shape, np.asarray(x).tolist()) for k, x in arrays.items()),
        )

    def __hash__(self) -> int:
        return hash(repr(self._key))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frozen) and self._key == other._key


def assert_close(got: np.ndarray, want: Any, allowed: float, about: str) -> None:
    want = np.asarray(want, dtype=np.float64)
    assert got.shape == want.shape, f"{about}: shape {got.shape}, expected {want.shape}"
    size = max(1.0, np.abs(want).max(initial=0.0))
    error = np.abs(got - want).max(initial=0.0)
    assert error <= allowed * size, f"{about}: {got} where {want} is expected"


def hold(backend: Any, called: Called, dtype: str = "float64", mode: str = "eager") -> None:
    """Value and gradients, under an upstream factor, or a vector of them, are the oracle's."""
    each = called.loss.reduction == "none"
    inputs = [backend.asarray(x, dtype) for x in called.embeddings.values()]
    facts = [backend.labels(x) for x in called.facts.values()]
    exact = called.exact()
    if each and not backend.differentiable:
        value = called.function(*inputs, *facts)
        assert backend.owns(value)
        assert_close(backend.read(value), exact, CLOSE[dtype], "value")
        return
    upstream = np.linspace(-1.0, 2.0, len(exact)) if each else UPSTREAM
    value, found = backend.differentiate(
        called.function, inputs, *facts, upstream=upstream, mode=mode
    )
    assert backend.dtype(value) == dtype
    assert backend.owns(value)
    about = f"{called.loss} in {backend.name}, {mode}"
    assert_close(backend.read(value), exact, CLOSE[dtype], f"value of {about}")
    slopes = _slopes(Frozen(called), tuple(np.ravel(upstream).tolist()))
    assert len(found) == len(slopes)
    for name, got, want in zip(called.embeddings, found, slopes, strict=True):
        assert backend.dtype(got) == dtype
        assert backend.owns(got)
        close = max(CLOSE[dtype], DIFFERENCES)
        assert_close(backend.read(got), want, close, f"gradient by {name} of {about}")

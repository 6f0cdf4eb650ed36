"""Checks of arguments; each message says what was expected, what came and what to do."""

from collections.abc import Mapping
from difflib import get_close_matches
from math import inf, isfinite
from typing import Any

import numpy as np

from nearfar.frameworks import Array, Namespace


def one_of(owner: str, name: str, value: Any, values: tuple[Any, ...]) -> None:
    if not any(type(value) is type(v) and value == v for v in values):
        listed = ", ".join(repr(v) for v in values)
        raise ValueError(f"{owner}: expected {name} to be one of {listed}; received {value!r}")


def some_of(owner: str, name: str, value: Any, values: tuple[str, ...]) -> tuple[str, ...]:
    """A tuple of some of these values, each once."""
    found = tuple(value) if isinstance(value, tuple | list) else ()
    if not found or len(set(found)) < len(found) or not set(found) <= set(values):
        listed = ", ".join(repr(v) for v in values)
        raise ValueError(
            f"{owner}: expected {name} to be a tuple out of {listed}, each once; received {value!r}"
        )
    return found


def real(name: str, value: Any, allowed: Mapping[str, Any]) -> float:
    """A number in the range that a field's declaration describes."""
    expected = allowed["number"]
    known = isinstance(value, int | float | np.integer | np.floating)
    if not known or isinstance(value, bool):
        raise TypeError(f"expected {name} to be {expected}; received {value!r}")
    if not (isfinite(value) and _inside(value, allowed)):
        raise ValueError(f"expected {name} to be {expected}; received {value!r}")
    return float(value)


def _inside(value: Any, allowed: Mapping[str, Any]) -> bool:
    return bool(
        value > allowed.get("above", -inf)
        and value >= allowed.get("from", -inf)
        and value < allowed.get("below", inf)
        and value <= allowed.get("to", inf)
    )


def whole(name: str, value: Any, *, optional: bool = False) -> Any:
    """A whole number above 0, or None where it is optional."""
    if optional and value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"expected {name} to be a whole number above 0; received {value!r}")
    if value < 1:
        raise ValueError(f"expected {name} to be a whole number above 0; received {value!r}")
    return int(value)


def argument_numbers(name: str, value: Any, count: int) -> tuple[int, ...]:
    numbers = tuple(value) if isinstance(value, tuple | list) else (value,)
    if not all(isinstance(k, int) and 0 <= k < count for k in numbers):
        raise ValueError(
            f"expected {name} to hold numbers of embedding arguments, 0 to {count - 1}; "
            f"received {value!r}"
        )
    return numbers


def bind(
    owner: str,
    names: tuple[str, ...],
    optional: tuple[str, ...],
    inputs: tuple[Any, ...],
    named: Mapping[str, Any],
    keywords: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Inputs by name, in call order, then those that come by name only; optional ones that are
    absent or None are left out."""
    unknown = sorted(set(named) - set(names) - set(keywords))
    placed = names[: len(inputs)]
    twice = sorted(set(named) & set(placed))
    # Of one length: torch.compile of PyTorch 2.8 refuses any other, strict or not.
    given = dict(zip(placed, inputs[: len(names)], strict=True)) | dict(named)
    missing = [n for n in names if n not in given and n not in optional]
    if unknown or twice or missing or len(inputs) > len(names):
        call = [f"{n}=None" if n in optional else n for n in names]
        raise TypeError(
            f"{owner} is called with ({', '.join(call)}); received {len(inputs)} inputs"
            + (f" and {', '.join(sorted(named))}" if named else "")
        )
    optional = (*optional, *keywords)
    return {
        n: given[n]
        for n in (*names, *keywords)
        if n in given and not (n in optional and given[n] is None)
    }


def parameter(ns: Namespace, name: str, value: Any, allowed: Mapping[str, Any]) -> float | None:
    """A number as a float, None for an array."""
    if not ns.is_array(value):
        return real(name, value, allowed)
    expected = f"{allowed['number']}, or an array of one (shape ()) beside the embeddings"
    if tuple(value.shape) != ():
        raise ValueError(f"expected {name} to be {expected}; received shape {tuple(value.shape)}")
    if not ns.is_floating(value):
        raise TypeError(f"expected {name} of a floating dtype; received {value.dtype}")
    known = ns.peek(value)
    if known is not None and not _inside(known, allowed):
        raise ValueError(f"expected {name} to be {expected}; received {float(known)}")
    return None


def same_shape(arrays: Mapping[str, Array], first: str, second: str) -> None:
    a, b = tuple(arrays[first].shape), tuple(arrays[second].shape)
    if a != b:
        raise ValueError(
            f"expected {first} and {second} of one shape, row i of one with row i of the other; "
            f"received {a} and {b}"
        )


def two_rows(owner: str, x: Array) -> None:
    n = x.shape[0]
    if isinstance(n, int) and n < 2:
        raise ValueError(
            f"{owner}: expected at least two rows, whose features vary; received {n}; give larger "
            "batches"
        )


def nearest(name: str, known: list[str]) -> str | None:
    """The known name that was probably meant."""
    by_lower = {k.lower(): k for k in known}
    close = get_close_matches(name.lower(), by_lower, 1)
    inside = sorted((k for k in by_lower if k in name.lower() or name.lower() in k), key=len)
    found = close or inside[-1:]
    return by_lower[found[0]] if found else None

"""Samples of a grid in which every two values meet: what a whole grid finds, a sample mostly does.

A fault shows at one value of one axis, or where two values meet; one that needs three at once is
rare, and a test of its own. So grids of more than two axes are sampled here, nowhere by hand.
"""

from collections.abc import Callable, Iterable
from itertools import combinations, product
from typing import Any

import pytest


def covering(
    *axes: Iterable[Any], meets: Callable[..., bool] = lambda *_: True
) -> list[tuple[Any, ...]]:
    """Few rows of the product in which every two values of two axes come together.

    Parameters
    ----------
    meets
        Whether a row can be at all; pairs that no such row has are left out.
    """
    values = [list(axis) for axis in axes]
    numbers = [range(len(axis)) for axis in values]
    rows = [row for row in product(*numbers) if meets(*_of(values, row))]
    pairs = {row: frozenset(combinations(enumerate(row), 2)) for row in rows}
    missing = set().union(*pairs.values())
    found = []
    while missing:
        # The first of the best, in the order of the axes: the same in every process.
        best = max(rows, key=lambda row: len(pairs[row] & missing))
        missing -= pairs[best]
        found.append(best)
    return [_of(values, row) for row in sorted(found)]


def _of(values: list[list[Any]], row: tuple[int, ...]) -> tuple[Any, ...]:
    return tuple(axis[k] for axis, k in zip(values, row, strict=True))


def sampled(
    names: str,
    *axes: Iterable[Any],
    meets: Callable[..., bool] = lambda *_: True,
    ids: Callable[[Any], str | None] = lambda value: _name(value),
    **options: Any,
) -> pytest.MarkDecorator:
    """`pytest.mark.parametrize` over such a sample."""
    return pytest.mark.parametrize(names, covering(*axes, meets=meets), ids=ids, **options)


def _name(value: Any) -> str | None:
    """Of a framework its name, of fields what they are; pytest's own for others."""
    if isinstance(value, dict):
        return "-".join(map(str, value.values()))
    return getattr(value, "name", None)

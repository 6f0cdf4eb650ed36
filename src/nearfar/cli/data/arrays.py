"""What arrays of features and labels must be."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.cli.errors import BadInput

LARGEST = 1e100  # the squares of what is below it can be added up
FILL = "fit with --missing median fills it, --missing drop drops the row"


def unusable(X: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell where features are NaN, infinite or too large to be standardised."""
    return ~(np.abs(X) < LARGEST)


def checked_features(
    X: NDArray[Any], source: str, holes: bool = False, name: str = "X", fill: str = FILL
) -> NDArray[Any]:
    """Check and flatten features: (n, d) in float64, or as they are where they are images.

    NaN passes where ``holes`` are allowed for; ``fill`` is the remedy where they are not.
    """
    if X.dtype.kind not in "biuf":
        raise BadInput(f"{source}: {name} must hold numbers, received dtype {X.dtype}; convert it")
    if X.ndim < 2 or X.size == 0:
        raise BadInput(
            f"{source}: {name} must be (rows, features) and not empty, received {X.shape}; "
            "reshape it"
        )
    images = X.dtype == np.uint8 and X.ndim > 2
    X = X.reshape(len(X), -1)  # (n, d)
    if images:
        return X
    X = X.astype(np.float64)
    bad = unusable(X)
    if holes:
        bad &= ~np.isnan(X)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        remedy = fill if np.isnan(X[row, column]) else "replace it or drop the row"
        raise BadInput(
            f"{source}: {name}[{row}, {column}] is {X[row, column]}, expected a number below "
            f"{LARGEST:g}; {remedy}"
        )
    return X


def checked_labels(y: NDArray[Any], n: int, source: str, holes: bool = False) -> NDArray[Any]:
    """Check labels or targets (n,), numbers or strings; NaN passes where ``holes`` may be."""
    if y.shape != (n,):
        remedy = "pass y.ravel()" if y.shape == (n, 1) else "give one label a row"
        raise BadInput(f"{source}: y must have shape ({n},), received {y.shape}; {remedy}")
    if y.dtype.kind not in "biufU":
        raise BadInput(f"{source}: y must hold numbers or strings, received {y.dtype}; convert it")
    if y.dtype.kind == "f":
        bad = np.isinf(y) if holes else ~np.isfinite(y)
        if bad.any():
            row = int(bad.argmax())
            remedy = "replace it or drop the row"
            if np.isnan(y[row]):
                remedy += ", as fit with --missing does"
            raise BadInput(f"{source}: y[{row}] is {y[row]}; {remedy}")
    return y

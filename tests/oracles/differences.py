"""Gradients by central differences of a plain function of nested lists."""

import numpy as np


def gradient(function, arrays, step=1e-5) -> list[np.ndarray]:
    """d function(*arrays) / d each array, in float64; wrong by about step^2 relative."""
    arrays = [np.array(x, dtype=np.float64) for x in arrays]
    gradients = []
    for x in arrays:
        slope = np.empty_like(x)
        for at in np.ndindex(x.shape):
            centre = x[at]
            sides = []
            for moved in (centre + step, centre - step):
                x[at] = moved
                sides.append(function(*(y.tolist() for y in arrays)))
            x[at] = centre
            slope[at] = (sides[0] - sides[1]) / (2 * step)
        gradients.append(slope)
    return gradients


def along(function, step=1e-6):
    """Slope of `function(step)` at 0, by central differences."""
    return (function(step) - function(-step)) / (2 * step)

"""In NumPy: value and gradient in closed form, each an array of n x n at a time."""

import numpy as np

Value, Gradients = np.floating, tuple[np.ndarray, ...]


def _unit(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    norms = np.sqrt((x * x).sum(1, keepdims=True))
    return x / norms, norms


def _back(unit: np.ndarray, norms: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Through the division by norms."""
    return (slopes - unit * (slopes * unit).sum(1, keepdims=True)) / norms


def _softmax(logits: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """And the logarithms of the sums."""
    most = logits.max(axis, keepdims=True)
    e = np.exp(logits - most)
    sums = e.sum(axis, keepdims=True)
    return e / sums, (np.log(sums) + most).squeeze(axis)


def ntxent(a: np.ndarray, b: np.ndarray, temperature: float) -> tuple[Value, Gradients]:
    z, norms = _unit(np.concatenate([a, b]))
    n = len(z)
    every, partner = np.arange(n), (np.arange(n) + n // 2) % n
    logits = z @ z.T / temperature
    positives = logits[every, partner].copy()
    np.fill_diagonal(logits, -np.inf)
    weights, logs = _softmax(logits, 1)
    weights[every, partner] -= 1
    gradient = _back(z, norms, (weights + weights.T) @ z / (n * temperature))
    return (logs - positives).mean(), (gradient[: n // 2], gradient[n // 2 :])


def supcon(x: np.ndarray, labels: np.ndarray, temperature: float) -> tuple[Value, Gradients]:
    z, norms = _unit(x)
    logits = z @ z.T / temperature
    positives = labels[:, None] == labels
    np.fill_diagonal(positives, False)
    count = positives.sum(1)
    among = (count > 0).sum()
    share = positives / np.maximum(count, 1)[:, None].astype(x.dtype)
    means = (share * logits).sum(1)
    np.fill_diagonal(logits, -np.inf)
    weights, logs = _softmax(logits, 1)
    weights = (weights - share) * (count > 0)[:, None]
    gradient = _back(z, norms, (weights + weights.T) @ z / (among * temperature))
    return ((logs - means) * (count > 0)).sum() / among, (gradient,)


def clip(x: np.ndarray, y: np.ndarray, temperature: float) -> tuple[Value, Gradients]:
    return _two_sides(x, y, temperature, (1, 0))


def infonce(x: np.ndarray, y: np.ndarray, temperature: float) -> tuple[Value, Gradients]:
    return _two_sides(x, y, temperature, (1,))


def _two_sides(
    x: np.ndarray, y: np.ndarray, temperature: float, axes: tuple[int, ...]
) -> tuple[Value, Gradients]:
    (p, of_x), (q, of_y) = _unit(x), _unit(y)
    logits = p @ q.T / temperature
    positives = np.diagonal(logits).copy()
    found = [_softmax(logits, axis) for axis in axes]
    weights = sum((w for w, _ in found[1:]), found[0][0])
    weights[np.diag_indices(len(x))] -= len(axes)
    weights /= len(axes) * len(x) * temperature
    value = sum(((logs - positives).mean() for _, logs in found), np.zeros((), x.dtype))
    return value / len(axes), (_back(p, of_x, weights @ q), _back(q, of_y, weights.T @ p))

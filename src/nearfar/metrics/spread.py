"""How far positives lie apart, how evenly rows are spread, how many dimensions they use."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from nearfar import distances
from nearfar.extras import imported
from nearfar.frameworks import Block, to_host
from nearfar.metrics.arrays import Floats, codes_of, rows_of, tiles, unit
from nearfar.metrics.device import Device, device_of


def alignment(embeddings: Any, other: Any, *, alpha: float = 2.0) -> float:
    """How near positive pairs are: mean ||u - v||^alpha over the positive pairs of unit rows.

    ``alignment(embeddings, labels)``: labels ``(n,)``; every pair of distinct rows with the same
    label is positive, and every pair weighs the same.
    ``alignment(a, b)``: two views ``(n, d)``; row i of a and row i of b are a positive pair.

    The rows are divided by their norms; a zero row stays zero. With labels and alpha = 2 the sum
    over pairs is taken from class means, sum_{i<j} ||u_i - u_j||^2 = m sum_i ||u_i - mean||^2 for a
    class of m rows; other exponents walk the pairs in tiles.

    Parameters
    ----------
    embeddings : (n, d)
        The rows, or the first view.
    other : (n,) or (n, d)
        Labels, or the second view.
    alpha : float > 0
        Exponent of the distance.

    Returns
    -------
    float in [0, 2^alpha], 0 where positive pairs coincide; lower is nearer.

    Raises
    ------
    ValueError, TypeError
        For shapes that do not fit, NaN or infinity, alpha <= 0, and where there is no positive
        pair.

    Source: Wang and Isola, "Understanding Contrastive Representation Learning through Alignment
    and Uniformity on the Hypersphere", arXiv 2005.10242, eq. 4.

    >>> alignment([[1.0, 0.0], [0.0, 3.0], [5.0, 0.0]], [0, 0, 1])
    2.0
    >>> alignment([[1.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [0.0, -1.0]])
    2.0
    """
    x = rows_of(embeddings, "embeddings")
    _positive(alpha, "alpha")
    if np.ndim(to_host(other)) != 1:
        b = rows_of(other, "other")
        if b.shape != x.shape:
            raise ValueError(
                f"other must be labels of shape ({len(x)},) or a second view of shape {x.shape}, "
                f"received shape {b.shape}"
            )
        return float((np.linalg.norm(unit(x) - unit(b), axis=1) ** alpha).mean())

    (codes,) = codes_of({"labels": (other, len(x))})
    units = unit(x)[np.argsort(codes, kind="stable")]
    sizes = np.bincount(codes)
    n_pairs = int((sizes * (sizes - 1) // 2).sum())
    if n_pairs == 0:
        raise ValueError(
            "alignment needs a positive pair, received labels that all differ: "
            "give some label to two rows"
        )
    device = device_of(embeddings)
    total = 0.0
    for members in np.split(units, np.cumsum(sizes)[:-1]):
        if alpha == 2:
            total += len(members) * float(np.square(members - members.mean(axis=0)).sum())
        elif device is not None:
            total += _sum_of_pairs(members, alpha, device)
        else:
            total += sum(float((block**alpha).sum()) for block in _pair_distances(members))
    return total / n_pairs


def uniformity(embeddings: Any, *, t: float = 2.0) -> float:
    """How evenly rows cover the sphere: log of mean exp(-t ||u - v||^2) over pairs of unit rows.

    The mean is over all pairs of distinct rows. The rows are divided by their norms; a zero row
    stays zero.

    Parameters
    ----------
    embeddings : (n, d)
        At least two rows.
    t : float > 0
        Sharpness of the Gaussian.

    Returns
    -------
    float in [-4 t, 0], 0 where all rows coincide; lower is more even.

    Raises
    ------
    ValueError, TypeError
        For fewer than two rows, a shape other than (n, d), NaN or infinity, t <= 0.

    Source: Wang and Isola, arXiv 2005.10242, eq. 5.

    >>> uniformity([[1.0, 0.0], [-5.0, 0.0]])
    -8.0
    """
    x = rows_of(embeddings, "embeddings")
    _positive(t, "t")
    n = len(x)
    if n < 2:
        raise ValueError("uniformity needs at least 2 embeddings, received 1")
    device = device_of(embeddings)
    found = _exponents(unit(x), t) if device is None else _exponents_on(device, unit(x), t)
    # A running log-sum-exp: the largest exponent so far, and the sum relative to it.
    largest, total = -math.inf, 0.0
    for of_tile, relative in found:
        if of_tile == -math.inf:  # the last row alone: no pair left
            continue
        peak = max(largest, of_tile)
        total = total * math.exp(largest - peak) + relative * math.exp(of_tile - peak)
        largest = peak
    return min(0.0, largest + math.log(total / (n * (n - 1) / 2)))


def effective_rank(embeddings: Any) -> float:
    """How many dimensions the embeddings use: exp of the entropy of their singular values.

    With singular values s and p = s / sum s, erank = exp(-sum p log p), 0 log 0 = 0. The rows are
    taken as they are, neither centred nor normalised, as in the paper; subtract the mean first to
    leave a common offset out.

    Parameters
    ----------
    embeddings : (n, d)

    Returns
    -------
    float in [1, min(n, d)]; a scale factor does not change it.

    Raises
    ------
    ValueError, TypeError
        For a shape other than (n, d), NaN or infinity, and for rows that are all zero.

    Source: Roy and Vetterli, "The effective rank: a measure of effective dimensionality",
    EUSIPCO 2007, definition 1.

    >>> round(effective_rank([[3.0, 0.0], [0.0, 3.0], [0.0, 0.0]]), 12)
    2.0
    """
    x = rows_of(embeddings, "embeddings")
    peak = np.abs(x).max()
    if peak == 0:
        raise ValueError(
            "embeddings must have a nonzero entry: all-zero rows have no rank to share"
        )
    device = device_of(embeddings)
    if device is None:
        values = np.linalg.svd(x / peak, compute_uv=False)
    else:
        values = device.down(device.ns.xp.linalg.svdvals(device.up(x / peak)))
    p = values[values > 0] / values.sum()
    return math.exp(-float((p * np.log(p)).sum()))


def _exponents(units: Floats, t: float) -> Iterator[tuple[float, float]]:
    """Of the pairs of each tile the largest -t ||u - v||^2, and the sum of exp relative to it."""
    squares = np.square(units).sum(axis=1)
    for tile in tiles(len(units), len(units)):
        exponents = units[tile] @ units[tile.start :].T  # (b, n - start)
        exponents *= 2
        exponents -= squares[tile, None]
        exponents -= squares[tile.start :]
        np.minimum(exponents, 0, out=exponents)
        exponents *= t
        exponents[np.tril_indices(len(exponents), m=exponents.shape[1])] = -math.inf
        peak = float(exponents.max())
        if peak > -math.inf:
            np.exp(np.subtract(exponents, peak, out=exponents), out=exponents)
        yield peak, float(exponents.sum())


def _exponents_on(device: Device, units: Floats, t: float) -> Iterator[tuple[float, float]]:
    """`_exponents`, in tiles of one width, which compilers see once."""
    ns, n = device.ns, len(units)
    squares = np.square(units).sum(axis=1)
    x, rows, columns = (device.up(a) for a in (units, squares[:, None], squares[None, :]))
    for tile in device.tiles(n, n):
        block, all_rows = Block(tile.start, tile.stop - tile.start), Block(0, n)
        with ns.scratch() as scratch:
            exponents = ns.product(ns.rows(x, block), x, scratch, "exponents")
            exponents = ns.sub_(ns.mul_(exponents, 2), columns)
            exponents = ns.sub_(exponents, ns.rows(rows, block))
            exponents = ns.mul_(ns.fill_(exponents, exponents > 0, 0.0), t)
            i, j = ns.numbers(block, all_rows, exponents)
            exponents = ns.fill_(exponents, j <= i, -math.inf)
            peak = float(ns.to_numpy(ns.xp.max(exponents)))
            if peak > -math.inf:
                exponents = ns.exp_beside_one_(ns.sub_(exponents, peak))
            yield peak, float(ns.to_numpy(ns.xp.sum(exponents)))


def _sum_of_pairs(x: Floats, alpha: float, device: Device) -> float:
    """sum_{i<j} ||x_i - x_j||^alpha, in tiles on the device."""
    ns, n, total = device.ns, len(x), 0.0
    rows = device.up(x)
    for tile in device.tiles(n, n):
        block = Block(tile.start, tile.stop - tile.start)
        powers = distances.pairwise(ns.rows(rows, block), rows) ** alpha
        i, j = ns.numbers(block, Block(0, n), powers)
        total += float(ns.to_numpy(ns.xp.sum(ns.fill_(powers, j <= i, 0.0))))
    return total


def _pair_distances(x: Floats) -> Iterator[Floats]:
    """The Euclidean distances of all pairs of distinct rows, each pair once, in blocks."""
    scipy = imported("scipy.spatial.distance", "nearfar.metrics", "sklearn")
    for tile in tiles(len(x), len(x)):
        yield scipy.pdist(x[tile])
        if tile.stop < len(x):
            yield scipy.cdist(x[tile], x[tile.stop :])


def _positive(value: float, name: str) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be a finite number above 0, received {value!r}")

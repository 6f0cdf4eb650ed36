"""How good an embedding is: nearest neighbours, retrieval, spread. NumPy in, a Python float out.

Every function takes embeddings ``(n, d)`` (arrays or lists; integers and float32 are welcome) and
computes in float64, in tiles of bounded memory: no n x n array is ever made.

The retrieval measures (`knn_accuracy`, `knn_r2`, `recall_at_k`, `r_precision`, `map_at_r`) share
their call: each row of ``embeddings`` is a query, looked up among the rows of ``reference``, or,
without a reference, among all *other* rows of ``embeddings``: a query never finds itself, but it
does find its duplicates.

- Order: nearer first; rows at the same distance in the order in which they stand. Euclidean
  distances are those of the differences a - b, so near rows keep their digits and no result
  depends on the size of a tile.
- ``metric``: ``"euclidean"``, ``"sqeuclidean"`` (the same order), ``"cosine"`` (a zero row has
  cosine 0 with every row), ``"cityblock"``, ``"chebyshev"`` or ``"hamming"``.
- Labels: ``(n,)``, any dtype that sorts.

Needs SciPy and scikit-learn when called: ``pip install 'nearfar[cli]'``.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "alignment",
    "effective_rank",
    "knn_accuracy",
    "knn_r2",
    "map_at_r",
    "r_precision",
    "recall_at_k",
    "uniformity",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

METRICS = ("euclidean", "sqeuclidean", "cosine", "cityblock", "chebyshev", "hamming")

# Entries of the largest array of distances held at a time. The work on a tile needs at most eight
# arrays of this size: 64 MiB.
TILE = 2**20


def knn_accuracy(
    embeddings: ArrayLike,
    labels: ArrayLike,
    reference: ArrayLike | None = None,
    reference_labels: ArrayLike | None = None,
    *,
    k: int = 3,
    metric: str = "euclidean",
) -> float:
    """Share of queries whose k nearest neighbours vote for the right label.

    Majority of the k labels, each neighbour one vote; where labels tie, the one that sorts first
    wins, as in scikit-learn's ``KNeighborsClassifier``.

    Parameters
    ----------
    embeddings, labels : (n, d), (n,)
        The queries.
    reference, reference_labels : (m, d), (m,), optional
        Where neighbours are sought; without them, among the other queries (leave-one-out).
    k : int
        Number of neighbours, at most m, or n - 1 without a reference.
    metric : str
        See the module's docstring.

    Returns
    -------
    float in [0, 1]; chance level is the share of the largest class.

    Raises
    ------
    ValueError, TypeError
        For shapes that do not fit, NaN or infinity, a k or metric that does not exist.

    Source: Cover and Hart, "Nearest neighbor pattern classification", 1967.

    >>> knn_accuracy([[0.0], [1.0], [2.0], [9.0], [10.0]], ["a", "a", "a", "b", "b"], k=1)
    1.0
    >>> knn_accuracy([[0.0], [9.0]], ["a", "b"], [[1.0], [2.0]], ["a", "a"], k=2)
    0.5
    """
    queries, rows = _search_rows(embeddings, reference)
    codes, row_codes = _search_codes(labels, reference_labels, queries, rows)
    n_classes = 1 + max(codes.max(), row_codes.max())
    counts = np.full(len(queries), _checked_k(k, queries, rows))
    right = 0
    for tile, nearest in _nearest(queries, rows, counts, metric):
        votes = row_codes[nearest]  # (b, k)
        slots = votes + n_classes * np.arange(len(votes))[:, None]
        tally = np.bincount(slots.ravel(), minlength=len(votes) * n_classes)
        winners = tally.reshape(len(votes), n_classes).argmax(axis=1)  # (b,)
        right += int(np.count_nonzero(winners == codes[tile]))
    return right / len(queries)


def knn_r2(
    embeddings: ArrayLike,
    targets: ArrayLike,
    reference: ArrayLike | None = None,
    reference_targets: ArrayLike | None = None,
    *,
    k: int = 15,
    metric: str = "euclidean",
) -> float:
    """R2 of predicting a query's target by the mean target of its k nearest neighbours.

    R2 = 1 - sum (y - prediction)^2 / sum (y - mean y)^2 over the queries; several targets are
    averaged with equal weights, and a constant target counts 1 where it is predicted exactly, else
    0 (scikit-learn's ``r2_score``).

    Parameters
    ----------
    embeddings, targets : (n, d), (n,) or (n, t)
        The queries, at least two.
    reference, reference_targets : (m, d), (m,) or (m, t), optional
        Where neighbours are sought; without them, among the other queries (leave-one-out).
    k : int
        Number of neighbours, at most m, or n - 1 without a reference.
    metric : str
        See the module's docstring.

    Returns
    -------
    float, at most 1; 0 is as good as the mean of the queries' targets.

    Raises
    ------
    ValueError, TypeError
        For shapes that do not fit, NaN or infinity, fewer than two queries, a k or metric that
        does not exist.

    Source: Cover, "Estimation by the nearest neighbor rule", 1968.

    >>> knn_r2([[0.0], [0.1], [5.0], [5.1]], [1.0, 1.0, 3.0, 3.0], k=1)
    1.0
    """
    from sklearn.metrics import r2_score

    queries, rows = _search_rows(embeddings, reference)
    y = _targets(targets, "targets", len(queries))
    y_rows = y
    _both_or_none(reference, reference_targets, "reference_targets")
    if rows is not None:
        y_rows = _targets(reference_targets, "reference_targets", len(rows))
        if y.shape[1:] != y_rows.shape[1:]:
            raise ValueError(
                f"targets and reference_targets must have the same columns, "
                f"received shapes {y.shape} and {y_rows.shape}"
            )
    if len(queries) < 2:
        raise ValueError(
            "knn_r2 needs at least 2 embeddings, received 1: R2 compares their targets"
        )
    counts = np.full(len(queries), _checked_k(k, queries, rows))
    predictions = np.empty_like(y)
    for tile, nearest in _nearest(queries, rows, counts, metric):
        predictions[tile] = y_rows[nearest].mean(axis=1)
    return float(r2_score(y, predictions))


def recall_at_k(
    embeddings: ArrayLike,
    labels: ArrayLike,
    reference: ArrayLike | None = None,
    reference_labels: ArrayLike | None = None,
    *,
    k: int = 1,
    metric: str = "euclidean",
) -> float:
    """Share of queries with at least one row of their label among their k nearest.

    Queries that have no row of their label to find are left out of the mean.

    Parameters
    ----------
    embeddings, labels : (n, d), (n,)
        The queries.
    reference, reference_labels : (m, d), (m,), optional
        Where neighbours are sought; without them, among the other queries (leave-one-out).
    k : int
        Number of neighbours, at most m, or n - 1 without a reference.
    metric : str
        See the module's docstring.

    Returns
    -------
    float in [0, 1].

    Raises
    ------
    ValueError, TypeError
        As `knn_accuracy`, and where no query has a row of its label to find.

    Source: Jegou et al., "Product quantization for nearest neighbor search", 2011; in metric
    learning since Oh Song et al., arXiv 1511.06452. Queries without another member are left out
    as in Musgrave et al., arXiv 2003.08505.

    >>> recall_at_k([[0.0], [1.0], [3.0], [9.0]], [0, 0, 1, 1], k=1)
    0.75
    """
    queries, rows = _search_rows(embeddings, reference)
    codes, row_codes = _search_codes(labels, reference_labels, queries, rows)
    counts = np.full(len(queries), _checked_k(k, queries, rows))
    asked = _relevant(codes, row_codes, rows) > 0
    found = np.empty(len(queries), dtype=bool)
    for tile, nearest in _nearest(queries, rows, counts, metric):
        found[tile] = (row_codes[nearest] == codes[tile, None]).any(axis=1)
    return float(found[asked].mean())


def r_precision(
    embeddings: ArrayLike,
    labels: ArrayLike,
    reference: ArrayLike | None = None,
    reference_labels: ArrayLike | None = None,
    *,
    metric: str = "euclidean",
) -> float:
    """Share of a query's R nearest that have its label, mean over the queries.

    R is the number of rows of the query's label (other than itself), so that a perfect embedding
    gives 1. Queries with R = 0 are left out of the mean.

    Parameters
    ----------
    embeddings, labels : (n, d), (n,)
        The queries.
    reference, reference_labels : (m, d), (m,), optional
        Where neighbours are sought; without them, among the other queries (leave-one-out).
    metric : str
        See the module's docstring.

    Returns
    -------
    float in [0, 1]; chance level is the mean share of a query's label.

    Raises
    ------
    ValueError, TypeError
        For shapes that do not fit, NaN or infinity, a metric that does not exist, and where no
        query has a row of its label to find.

    Source: Musgrave et al., "A Metric Learning Reality Check", arXiv 2003.08505, section 3.2.

    >>> r_precision([[0.0], [1.0], [3.0], [9.0]], [0, 0, 1, 1])
    0.75
    """
    return _at_r(embeddings, labels, reference, reference_labels, metric, ranked=False)


def map_at_r(
    embeddings: ArrayLike,
    labels: ArrayLike,
    reference: ArrayLike | None = None,
    reference_labels: ArrayLike | None = None,
    *,
    metric: str = "euclidean",
) -> float:
    """Mean average precision at R: R-precision that also rewards right rows for standing first.

    For a query with R rows of its label (other than itself), MAP@R = 1/R sum_{i=1..R} P(i), P(i)
    the share of right rows among the i nearest where the i-th is right, else 0; then the mean over
    the queries. Queries with R = 0 are left out of the mean.

    Parameters
    ----------
    embeddings, labels : (n, d), (n,)
        The queries.
    reference, reference_labels : (m, d), (m,), optional
        Where neighbours are sought; without them, among the other queries (leave-one-out).
    metric : str
        See the module's docstring.

    Returns
    -------
    float in [0, 1], at most `r_precision`.

    Raises
    ------
    ValueError, TypeError
        As `r_precision`.

    Source: Musgrave et al., "A Metric Learning Reality Check", arXiv 2003.08505, section 3.2.

    >>> map_at_r([[0.0]], ["a"], [[1.0], [2.0], [3.0]], ["b", "a", "a"])
    0.25
    """
    return _at_r(embeddings, labels, reference, reference_labels, metric, ranked=True)


def alignment(embeddings: ArrayLike, other: ArrayLike, *, alpha: float = 2.0) -> float:
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
    x = _rows(embeddings, "embeddings")
    _positive(alpha, "alpha")
    if np.ndim(other) != 1:
        b = _rows(other, "other")
        if b.shape != x.shape:
            raise ValueError(
                f"other must be labels of shape ({len(x)},) or a second view of shape {x.shape}, "
                f"received shape {b.shape}"
            )
        return float((np.linalg.norm(_unit(x) - _unit(b), axis=1) ** alpha).mean())

    (codes,) = _codes({"labels": (other, len(x))})
    units = _unit(x)[np.argsort(codes, kind="stable")]
    sizes = np.bincount(codes)
    n_pairs = int((sizes * (sizes - 1) // 2).sum())
    if n_pairs == 0:
        raise ValueError(
            "alignment needs a positive pair, received labels that all differ: "
            "give some label to two rows"
        )
    total = 0.0
    for members in np.split(units, np.cumsum(sizes)[:-1]):
        if alpha == 2:
            total += len(members) * float(np.square(members - members.mean(axis=0)).sum())
        else:
            total += sum(float((block**alpha).sum()) for block in _pair_distances(members))
    return total / n_pairs


def uniformity(embeddings: ArrayLike, *, t: float = 2.0) -> float:
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
    x = _rows(embeddings, "embeddings")
    _positive(t, "t")
    n = len(x)
    if n < 2:
        raise ValueError("uniformity needs at least 2 embeddings, received 1")
    units = _unit(x)
    squares = np.square(units).sum(axis=1)
    # A running log-sum-exp: the largest exponent so far, and the sum relative to it.
    largest, total = -math.inf, 0.0
    for tile in _tiles(n, n):
        exponents = units[tile] @ units[tile.start :].T  # (b, n - start)
        exponents *= 2
        exponents -= squares[tile, None]
        exponents -= squares[tile.start :]
        np.minimum(exponents, 0, out=exponents)
        exponents *= t
        exponents[np.tril_indices(len(exponents), m=exponents.shape[1])] = -math.inf
        peak = max(largest, float(exponents.max()))
        if peak == -math.inf:  # the last row alone: no pair left
            break
        np.exp(np.subtract(exponents, peak, out=exponents), out=exponents)
        total = total * math.exp(largest - peak) + float(exponents.sum())
        largest = peak
    return min(0.0, largest + math.log(total / (n * (n - 1) / 2)))


def effective_rank(embeddings: ArrayLike) -> float:
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
    x = _rows(embeddings, "embeddings")
    peak = np.abs(x).max()
    if peak == 0:
        raise ValueError(
            "embeddings must have a nonzero entry: all-zero rows have no rank to share"
        )
    values = np.linalg.svd(x / peak, compute_uv=False)
    p = values[values > 0] / values.sum()
    return math.exp(-float((p * np.log(p)).sum()))


def _at_r(
    embeddings: ArrayLike,
    labels: ArrayLike,
    reference: ArrayLike | None,
    reference_labels: ArrayLike | None,
    metric: str,
    *,
    ranked: bool,
) -> float:
    """MAP@R, or R-precision where the order among the R nearest does not count."""
    queries, rows = _search_rows(embeddings, reference)
    codes, row_codes = _search_codes(labels, reference_labels, queries, rows)
    relevant = _relevant(codes, row_codes, rows)
    total = 0.0
    for tile, nearest in _nearest(queries, rows, relevant, metric):
        r = relevant[tile, None]
        place = np.arange(1, nearest.shape[1] + 1)
        right = (row_codes[nearest] == codes[tile, None]) & (place <= r)  # (b, largest R)
        gain = np.cumsum(right, axis=1) / place if ranked else 1.0
        # A query with R = 0 has nothing right: it adds 0 and is not counted below.
        total += float((right * gain / np.maximum(r, 1)).sum())
    return total / int(np.count_nonzero(relevant))


def _nearest(
    queries: Floats, reference: Floats | None, counts: Ints, metric: str
) -> Iterator[tuple[slice, Ints]]:
    """For one tile of queries after the other, the indices of the nearest rows, nearest first.

    counts : (n,) neighbours wanted by each query. A tile's indices are (b, largest count in it).

    For the Euclidean metrics a matrix product sorts the rows, and where two are closer than its
    rounding their differences decide: the speed of the product, the order of the differences.
    """
    from scipy.spatial.distance import cdist

    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, received {metric!r}")
    alone = reference is None
    rows = queries if reference is None else reference
    if metric == "cosine":
        queries, rows = _cosine_rows(queries, rows)
    # A power of two changes no digit, and keeps the squares of huge and tiny rows in range.
    exponent = np.frexp(max(np.abs(queries).max(), np.abs(rows).max()))[1]
    queries, rows = np.ldexp(queries, -exponent), np.ldexp(rows, -exponent)
    euclidean = metric in ("euclidean", "sqeuclidean", "cosine")
    room = np.zeros(len(queries))
    if euclidean:
        centre = rows.mean(axis=0)  # a product rounds relative to norms: keep them small
        a, b = queries - centre, rows - centre
        a_squares, b_squares = np.square(a).sum(axis=1), np.square(b).sum(axis=1)
        # Twice what rounding can do to a distance, by product and by difference together.
        room = 8 * (rows.shape[1] + 8) * np.finfo(float).eps * (a_squares + b_squares.max())

    for tile in _tiles(len(queries), len(rows)):
        if euclidean:
            distances = a[tile] @ b.T  # (b, m)
            distances *= -2
            distances += b_squares
            distances += a_squares[tile, None]
        else:
            distances = cdist(queries[tile], rows, metric)
        if alone:
            distances[np.arange(len(distances)), np.arange(tile.start, tile.stop)] = math.inf
        k = int(counts[tile].max())
        nearest = np.empty((len(distances), k), dtype=np.intp)
        if k:
            reach = np.partition(distances, k - 1, axis=1)[:, k - 1] + room[tile]
            for i, d in enumerate(distances):
                query = tile.start + i
                near = np.flatnonzero(d <= reach[i])
                order = np.argsort(d[near], kind="stable")  # equal ones stay in index order
                near, d = near[order], d[near[order]]
                if room[query] > 0:
                    near = _settled(near, d, room[query], queries[query], rows)
                nearest[i] = near[:k]
        yield tile, nearest


def _settled(near: Ints, d: Floats, room: float, query: Floats, rows: Floats) -> Ints:
    """Sorted rows, with those that rounding may have swapped sorted by their differences."""
    run = np.cumsum(np.diff(d, prepend=d[0]) > room)  # neighbours closer than room share a run
    if run[-1] == len(run) - 1:
        return near
    shared = np.flatnonzero(np.bincount(run)[run] > 1)
    exact = np.zeros(len(near))
    exact[shared] = np.square(rows[near[shared]] - query).sum(axis=1)
    return near[np.lexsort((near, exact, run))]


def _pair_distances(x: Floats) -> Iterator[Floats]:
    """The Euclidean distances of all pairs of distinct rows, each pair once, in blocks."""
    from scipy.spatial.distance import cdist, pdist

    for tile in _tiles(len(x), len(x)):
        yield pdist(x[tile])
        if tile.stop < len(x):
            yield cdist(x[tile], x[tile.stop :])


def _tiles(n_rows: int, n_columns: int) -> Iterator[slice]:
    step = max(1, TILE // max(1, n_columns))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def _unit(x: Floats) -> Floats:
    """Rows of norm 1; zero rows stay zero. Squares of huge and tiny entries never leave range."""
    peak = np.abs(x).max(axis=1, keepdims=True)
    x = x / np.where(peak > 0, peak, 1)
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.where(norm > 0, norm, 1))


def _cosine_rows(queries: Floats, rows: Floats) -> tuple[Floats, Floats]:
    """Rows whose Euclidean order is the order of the cosines.

    ||u - v||^2 = 2 - 2 cos for unit rows. A zero row becomes a unit row along an axis of its own,
    one for the queries and one for the rows: at right angles to all others, so its cosines are 0.
    """
    a, b = _unit(queries), _unit(rows)
    a_zero, b_zero = (~x.any(axis=1, keepdims=True) for x in (a, b))
    return (
        np.hstack([a, a_zero, np.zeros_like(a_zero)]),
        np.hstack([b, np.zeros_like(b_zero), b_zero]),
    )


def _relevant(codes: Ints, row_codes: Ints, rows: Floats | None) -> Ints:
    """How many rows of its label each query can find: (n,)."""
    n_classes = 1 + max(codes.max(), row_codes.max())
    relevant = np.bincount(row_codes, minlength=n_classes)[codes] - (1 if rows is None else 0)
    if not relevant.any():
        where = "another row of labels" if rows is None else "reference_labels"
        raise ValueError(
            f"labels must share a label with {where}, received none that do: no query has a row "
            "of its label to find"
        )
    return relevant


def _checked_k(k: int, queries: Floats, rows: Floats | None) -> int:
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        raise TypeError(f"k must be an integer, received {k!r}")
    most = len(queries) - 1 if rows is None else len(rows)
    if most == 0:
        raise ValueError("embeddings must have at least 2 rows, received 1: give a reference")
    if not 1 <= k <= most:
        rest = "embeddings, the query left out" if rows is None else "reference"
        raise ValueError(f"k must be from 1 to {most}, the rows of {rest}, received {k}")
    return int(k)


def _positive(value: float, name: str) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be a finite number above 0, received {value!r}")


def _both_or_none(reference: object, companion: object, name: str) -> None:
    if (reference is None) != (companion is None):
        given, missing = ("reference", name) if companion is None else (name, "reference")
        raise ValueError(
            f"reference and {name} go together, received {given} alone: give {missing} too"
        )


def _search_rows(
    embeddings: ArrayLike, reference: ArrayLike | None
) -> tuple[Floats, Floats | None]:
    queries = _rows(embeddings, "embeddings")
    if reference is None:
        return queries, None
    rows = _rows(reference, "reference")
    if rows.shape[1] != queries.shape[1]:
        raise ValueError(
            f"reference must have the {queries.shape[1]} columns of embeddings, "
            f"received shape {rows.shape}"
        )
    return queries, rows


def _search_codes(
    labels: ArrayLike, reference_labels: ArrayLike | None, queries: Floats, rows: Floats | None
) -> tuple[Ints, Ints]:
    _both_or_none(rows, reference_labels, "reference_labels")
    if rows is None:
        (codes,) = _codes({"labels": (labels, len(queries))})
        return codes, codes
    codes, row_codes = _codes(
        {"labels": (labels, len(queries)), "reference_labels": (reference_labels, len(rows))}
    )
    return codes, row_codes


def _rows(x: Any, name: str) -> Floats:
    array = _numbers(x, name)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(
            f"{name} must have shape (n, d) with n, d >= 1, received shape {array.shape}"
        )
    return _finite(array, name)


def _targets(y: Any, name: str, n: int) -> Floats:
    array = _numbers(y, name)
    if array.ndim not in (1, 2) or len(array) != n or 0 in array.shape:
        raise ValueError(
            f"{name} must have shape ({n},) or ({n}, t), one row for each embedding, "
            f"received shape {array.shape}"
        )
    return _finite(array, name)


def _numbers(x: Any, name: str) -> Floats:
    """A float64 array, or an error that names the argument."""
    try:
        array = np.asarray(x)
    except ValueError as error:  # rows of unequal length
        raise ValueError(f"{name} must be an array of numbers: {error}") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, received dtype {array.dtype}")
    return array.astype(np.float64)


def _finite(array: Floats, name: str) -> Floats:
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        raise ValueError(
            f"{name} must be finite, received NaN or infinity in row {bad[0, 0]}: "
            "drop or repair such rows"
        )
    return array


def _codes(named: dict[str, tuple[Any, int]]) -> list[Ints]:
    """Labels as numbers 0, 1, ... in sorted order, the same for all arrays given."""
    arrays = []
    for name, (labels, n) in named.items():
        array = np.asarray(labels)
        if array.shape != (n,):
            remedy = f": use {name}.ravel()" if array.shape in ((n, 1), (1, n)) else ""
            raise ValueError(
                f"{name} must have shape ({n},), one for each row, "
                f"received shape {array.shape}{remedy}"
            )
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise ValueError(
                f"{name} must not hold NaN, received one in row "
                f"{int(np.isnan(array).argmax())}: drop such rows"
            )
        arrays.append(array)
    # NumPy would turn numbers beside strings into strings: compare those as objects.
    numeric = {array.dtype.kind in "biuf" for array in arrays}
    joined = np.concatenate(arrays if len(numeric) == 1 else [a.astype(object) for a in arrays])
    try:
        codes = np.unique(joined, return_inverse=True)[1]
    except TypeError as error:
        raise TypeError(
            f"{' and '.join(named)} must hold labels of one kind that sort: {error}"
        ) from None
    return np.split(codes.astype(np.intp), np.cumsum([len(a) for a in arrays])[:-1])
